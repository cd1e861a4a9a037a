package changes

import (
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/rules"
)

// Modes of Config.
const (
	ModeAuto   = "auto" // wal where the server allows it, else off until it does; once it was live it stays wal
	ModeWAL    = cache.FeedWAL
	ModeNotify = cache.FeedNotify
	ModeOff    = cache.FeedOff
)

// Defaults of Config, for what is zero.
const (
	defaultName      = "forebay"
	defaultHeartbeat = 100 * time.Millisecond
	defaultProbe     = 50 * time.Millisecond
	defaultPoll      = time.Second
	defaultConnect   = 5 * time.Second
	defaultMaxRows   = 10_000
)

// Config says whose changes are followed, and how.
type Config struct {
	URL             rules.Secret  // of the primary itself: replication does not pass a pooler
	Mode            string        // ModeAuto, ModeWAL, ModeNotify or ModeOff; empty: ModeAuto
	ApplicationName string        // of its connections; empty: forebay
	Publication     string        // its name; another instance's taken one gets a number; empty: forebay
	Slot            string        // what its slots' names begin with; they are temporary; empty: forebay
	Heartbeat       time.Duration // how often the primary's position is asked for; 0: 100 ms
	Probe           time.Duration // how long the stream may take to reach it before it is pushed; 0: 50 ms
	Poll            time.Duration // how often the catalogue is compared; 0: 1 s
	ConnectTimeout  time.Duration // of one attempt; 0: 5 s
	MaxRows         int           // of one transaction and relation, told apart before they collapse; 0: 10 000
}

// ConfigOf maps the configuration file's section.
func ConfigOf(p *rules.Postgres, mode string) Config {
	return Config{URL: p.URL, Mode: mode, ApplicationName: p.ApplicationName, ConnectTimeout: p.ConnectTimeout}
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	text := func(value *string, otherwise string) {
		if *value == "" {
			*value = otherwise
		}
	}
	span := func(value *time.Duration, otherwise time.Duration) {
		if *value <= 0 {
			*value = otherwise
		}
	}
	text(&c.Mode, ModeAuto)
	text(&c.ApplicationName, defaultName)
	text(&c.Publication, defaultName)
	text(&c.Slot, defaultName)
	span(&c.Heartbeat, defaultHeartbeat)
	span(&c.Probe, defaultProbe)
	span(&c.Poll, defaultPoll)
	span(&c.ConnectTimeout, defaultConnect)
	if c.MaxRows <= 0 {
		c.MaxRows = defaultMaxRows
	}
	return c
}

// Deps are what a Feed works with.
type Deps struct {
	Log     *cache.ChangeLog
	Clock   cache.Clock
	Logger  *slog.Logger
	Metrics *metrics.Set
	// DDL is called when a transaction that changed the catalogue has been marked, from the goroutine that
	// receives: it must not block. nil: nobody wants to know.
	DDL func()
}
