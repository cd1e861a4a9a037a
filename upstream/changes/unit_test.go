package changes

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"forebay/cache"
)

func TestArrivalsAreRememberedAndForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a arrivals
		if a.wait(t.Context(), 1) {
			t.Error("one came in before anything could")
		}
		a.reset(true)
		for xid := uint64(1); xid <= maxArrivals+1; xid++ {
			a.add(xid)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1)
		defer cancel()
		if !a.wait(t.Context(), 2) || a.wait(ctx, 1) {
			t.Error("want the last remembered, and those before forgotten")
		}
		if len(a.waiters) != 0 {
			t.Error("who went away is still waited with")
		}
		lost := make(chan bool)
		go func() { lost <- a.wait(t.Context(), 1<<40) }()
		synctest.Wait()
		a.reset(false)
		if <-lost {
			t.Error("an end is no arrival")
		}
	})
}

func TestMessagesOfTheEventTriggersAreRead(t *testing.T) {
	t.Parallel()
	f := func(content string, want int, ok bool) {
		t.Helper()
		if got, read := readDDL(content); len(got) != want || read != ok {
			t.Errorf("readDDL(%q) = %v, %v", content, got, read)
		}
	}
	f("ALTER TABLE:16385,16390", 2, true)
	f("CREATE INDEX:", 0, true)
	f("CREATE FUNCTION:*", 0, false)
	f("nonsense", 0, false)
	f("ALTER TABLE:1,x", 0, false)
	f("", 0, false)
}

// Each packet of ours sets back the timer by which a server sends whose segments are larger than our window.
func TestASilentServerIsNotAskedAgainAndAgain(t *testing.T) {
	t.Parallel()
	var a asks
	for i, step := range []struct {
		at    time.Duration
		heard bool
		due   bool
	}{
		{0, false, true},
		{10 * time.Millisecond, true, true},
		{20 * time.Millisecond, true, true},
		{30 * time.Millisecond, false, false},
		{100 * time.Millisecond, false, false},
		{900 * time.Millisecond, false, false},
		{1020 * time.Millisecond, false, true},
		{1030 * time.Millisecond, false, false},
		{1040 * time.Millisecond, true, true},
	} {
		if step.heard {
			a.heard()
		}
		if got := a.due(cache.Instant(step.at)); got != step.due {
			t.Errorf("step %d: at %v asked %v; want %v", i, step.at, got, step.due)
		}
	}
}
