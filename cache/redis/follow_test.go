package redis

import (
	"log/slog"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
)

func TestWhoWasAwayForTooLongForgetsEverythingWhenTheLogBeginsAnew(t *testing.T) {
	t.Parallel()
	for away, want := range map[time.Duration]cache.Verdict{resendFor - time.Minute: cache.Current, resendFor + time.Minute: cache.Outdated} {
		log, clock := cache.NewChangeLog("test"), cache.NewClock(time.Now())
		s, err := New(Config{URL: "redis://localhost:1"}, Deps{Log: log, Clock: clock, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
		if err != nil {
			t.Fatal(err)
		}
		held := log.Stand([]byte("k"), log.Position(), cache.AllSeeing(), nil)
		f := &follower{Store: s, knownAt: clock.Now() - cache.Instant(away)}
		f.breakOff()
		if got := held.Check(); got != want {
			t.Errorf("away for %s: what is held is %s, want %s", away, got, want)
		}
		_, _, _ = s.client.Close(), s.control.Close(), s.tail.Close()
	}
}
