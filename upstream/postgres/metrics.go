package postgres

import (
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"forebay/rules"
)

// databaseMetrics are this package's metrics.
type databaseMetrics struct {
	// requests = the sum over outcomes: one for each attempt that got a connection, retries included.
	requests map[ErrorClass]*metrics.Counter
	ok       *metrics.Counter
	// duration is of the same attempts, without the wait for a connection.
	duration *metrics.PrometheusHistogram
	// refused by the open circuit, before anything was tried.
	refused *metrics.Counter
	retries *metrics.Counter
	// waits for a connection because all were in use, and those of them that ended without one.
	waits    *metrics.Counter
	timeouts *metrics.Counter
	// looks at what a fill depends on, and rules whose set grew by one.
	looks *metrics.Counter
	grown *metrics.Counter
	// late is own changes that the feed did not bring in time, and that were marked by their locks.
	late *metrics.Counter
	// unknown is commits whose outcome is unknown; catalogue is the changes noticed in it.
	unknown   *metrics.Counter
	catalogue *metrics.Counter
	waiting   atomic.Int64
	// standby is what became of fills that a standby was asked for, by result: answered, or refused, behind or failed
	// and then the primary's; and those that it answered instead of a primary that is away.
	standby map[string]*metrics.Counter
}

func newMetrics(set *metrics.Set, d *Database) *databaseMetrics {
	name := "postgres"
	if d.primary != nil {
		name = "standby"
	}
	m := &databaseMetrics{
		requests:  make(map[ErrorClass]*metrics.Counter),
		ok:        set.GetOrCreateCounter(`forebay_upstream_requests_total{upstream="` + name + `",outcome="ok"}`),
		duration:  set.GetOrCreatePrometheusHistogram(`forebay_upstream_duration_seconds{upstream="` + name + `"}`),
		refused:   set.GetOrCreateCounter(`forebay_upstream_requests_total{upstream="` + name + `",outcome="circuit_open"}`),
		retries:   set.GetOrCreateCounter(`forebay_upstream_retries_total{upstream="` + name + `"}`),
		waits:     set.GetOrCreateCounter(`forebay_db_pool_waits_total`),
		timeouts:  set.GetOrCreateCounter(`forebay_db_pool_timeouts_total`),
		looks:     set.GetOrCreateCounter(`forebay_db_dependency_looks_total`),
		grown:     set.GetOrCreateCounter(`forebay_db_dependency_changes_total`),
		late:      set.GetOrCreateCounter(`forebay_db_own_changes_late_total`),
		unknown:   set.GetOrCreateCounter(`forebay_db_unknown_outcomes_total`),
		catalogue: set.GetOrCreateCounter(`forebay_db_catalogue_changes_total`),
	}
	for c := Unavailable; c <= Fault; c++ {
		if c != CircuitOpen && c != PoolExhausted {
			m.requests[c] = set.GetOrCreateCounter(`forebay_upstream_requests_total{upstream="` + name + `",outcome="` + label(c) + `"}`)
		}
	}
	set.GetOrCreateGauge(`forebay_breaker_state{upstream="`+name+`"}`, func() float64 { return float64(d.breaker.state()) })
	if d.primary != nil {
		return m // what follows is of the primary's pool, and of all rules
	}
	m.standby = make(map[string]*metrics.Counter)
	for _, result := range []string{"answered", "refused", "behind", "failed", "instead"} {
		m.standby[result] = set.GetOrCreateCounter(`forebay_standby_fills_total{result="` + result + `"}`)
	}
	set.GetOrCreateGauge(`forebay_standby_lag_seconds`, d.standbyLag)
	set.GetOrCreateGauge(`forebay_db_pool_max`, func() float64 { return float64(d.Stats().Max) })
	set.GetOrCreateGauge(`forebay_db_pool_available`, func() float64 { return float64(d.Stats().Available) })
	set.GetOrCreateGauge(`forebay_db_pool_in_use`, func() float64 { return float64(d.Stats().InUse) })
	set.GetOrCreateGauge(`forebay_db_pool_waiting`, func() float64 { return float64(d.Stats().Waiting) })
	for _, by := range []string{ByRows, ByTables, ByFills, ByTTL} {
		set.GetOrCreateGauge(`forebay_db_rules{judged="`+by+`"}`, func() float64 { return d.judged(by) })
	}
	return m
}

// label returns the class as a label's value.
func label(c ErrorClass) string {
	b := []byte(c.String())
	for i := range b {
		if b[i] == ' ' {
			b[i] = '_'
		}
	}
	return string(b)
}

// judged returns how many of the known rules are judged so: by rows, by whole tables, by what each fill reads, or
// by time alone.
func (d *Database) judged(by string) float64 {
	n := 0
	d.known.Range(func(rule, _ any) bool {
		if r := rule.(*rules.Rule); r.Stores() && d.Classification(r).By == by {
			n++
		}
		return true
	})
	return float64(n)
}
