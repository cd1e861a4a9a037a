package postgres

import (
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/rules"
)

// Config says which database, and what may be asked of it.
type Config struct {
	URL                rules.Secret
	Standby            rules.Secret // of servers that follow it, for reads; empty: none
	ApplicationName    string
	PreparedStatements bool          // false behind a transaction pooler
	MaxConnections     int           // of the one pool
	AcquireTimeout     time.Duration // to wait for a free connection; then 503
	ConnectTimeout     time.Duration // of one attempt to connect
	StatementTimeout   time.Duration // of one statement, set on the server; exports have ExportStall instead
	Retry              Retry
	Breaker            rules.Breaker
	ExportStall        time.Duration // an export ends when no byte moved for this long; 0: one minute
}

// Retry is how often, and how soon, what is safe to repeat is tried.
type Retry struct {
	Attempts int           // in all; 1 never repeats
	Base     time.Duration // the first wait; doubled each time, with jitter
}

// ConfigOf maps the configuration file's section.
func ConfigOf(p *rules.Postgres) Config {
	return Config{
		URL:                p.URL,
		Standby:            p.Standby,
		ApplicationName:    p.ApplicationName,
		PreparedStatements: p.PreparedStatements,
		MaxConnections:     p.MaxConnections,
		AcquireTimeout:     p.AcquireTimeout,
		ConnectTimeout:     p.ConnectTimeout,
		StatementTimeout:   p.StatementTimeout,
		Retry:              Retry{Attempts: p.RetryAttempts, Base: p.RetryBase},
		Breaker:            p.Breaker,
	}
}

// Deps are what a Database works with.
type Deps struct {
	Log     *cache.ChangeLog
	Clock   cache.Clock
	Logger  *slog.Logger
	Metrics *metrics.Set
	Observe func(Observation) // called after each statement, from any goroutine; nil: nobody looks

	// Feed hears of the changes that others make; nil: nobody does, and the log's own Feed stays off.
	Feed Feed
	// Uncovered returns why the feed will not bring the changes of a relation, and "" if it does or may yet.
	// nil: nobody knows more than the relation's kind tells.
	Uncovered func(oid uint32) string
	// FeedServer returns the server whose changes the feed brings, while it knows; nil: it is the pool's.
	FeedServer func() (Server, bool)
}
