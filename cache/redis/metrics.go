package redis

import (
	"errors"

	"github.com/VictoriaMetrics/metrics"
	"github.com/sony/gobreaker/v2"
)

// storeMetrics are the tier's metrics.
//
// forebay_redis_gets_total{result} sums to all calls of Get that were not stopped by the breaker:
//
//	hit      returned
//	miss     nothing there, or another key with the same hash
//	expired  no lifetime left
//	epoch    of another process or epoch, and not on TTL
//	purged   an instance purged it, or may have
//	changed  an exact rule's, and a change that it did not see is in the chain
//	chain    an exact rule's, and the chain of changes does not reach from it to now
//	garbage  not a value of this version of forebay, or damaged
//	unknown  what other instances purged is not known
//	error    Redis could not be asked, or not in time
type storeMetrics struct {
	getsHit, getsMiss, getsExpired, getsEpoch, getsPurged, getsGarbage, getsUnknown, getsError *metrics.Counter

	invalidVersion, invalidDamaged *metrics.Counter // garbage, by what it is

	refusedSize, refusedLifetime, refusedFull, refusedUnknown, refusedError *metrics.Counter

	getsChanged, getsChain                                           *metrics.Counter // nil where exact rules are not shared
	chainHits, chainEntries, chainBreaks, chainBegins, chainFailures *metrics.Counter
	chainOwned                                                       *metrics.Gauge

	sets                      *metrics.Counter // responses that Redis took
	purgesHeard, changesHeard *metrics.Counter
	unknown, gaps, breaks     *metrics.Counter
	lastSuccess               *metrics.Gauge
}

func newMetrics(set *metrics.Set, s *Store) *storeMetrics {
	get := func(result string) *metrics.Counter {
		return set.NewCounter(`forebay_redis_gets_total{result="` + result + `"}`)
	}
	refused := func(reason string) *metrics.Counter {
		return set.NewCounter(`forebay_cache_store_rejected_total{tier="redis",reason="` + reason + `"}`)
	}
	set.NewGauge(`forebay_breaker_state{upstream="redis"}`, func() float64 { return breakerNumber(s.breaker.State()) })
	set.NewGauge(`forebay_shared_log_pending_purges`, func() float64 { return float64(s.outbox.pending()) })
	return &storeMetrics{
		getsHit: get("hit"), getsMiss: get("miss"), getsExpired: get("expired"), getsEpoch: get("epoch"),
		getsPurged: get("purged"), getsGarbage: get("garbage"), getsUnknown: get("unknown"), getsError: get("error"),
		invalidVersion: set.NewCounter(`forebay_redis_invalid_values_total{reason="version"}`),
		invalidDamaged: set.NewCounter(`forebay_redis_invalid_values_total{reason="damaged"}`),
		refusedSize:    refused("too-large"), refusedLifetime: refused("no-lifetime"), refusedFull: refused("full"),
		refusedUnknown: refused("log-unknown"), refusedError: refused("error"),
		sets:         set.NewCounter(`forebay_redis_sets_total`),
		purgesHeard:  set.NewCounter(`forebay_shared_log_entries_total{kind="purge"}`),
		changesHeard: set.NewCounter(`forebay_shared_log_entries_total{kind="change"}`),
		unknown:      set.NewCounter(`forebay_shared_log_entries_total{kind="unknown"}`),
		gaps:         set.NewCounter(`forebay_shared_log_gaps_total`),
		breaks:       set.NewCounter(`forebay_shared_log_breaks_total`),
		lastSuccess:  set.NewGauge(`forebay_shared_log_last_success_timestamp_seconds`, nil),
	}
}

// share adds what there is only where the values of exact rules are shared.
func (m *storeMetrics) share(set *metrics.Set, s *Store) {
	m.getsChanged = set.NewCounter(`forebay_redis_gets_total{result="changed"}`)
	m.getsChain = set.NewCounter(`forebay_redis_gets_total{result="chain"}`)
	m.chainHits = set.NewCounter(`forebay_chain_hits_total`)
	m.chainEntries = set.NewCounter(`forebay_chain_entries_total`)
	m.chainBreaks = set.NewCounter(`forebay_chain_breaks_total`)
	m.chainBegins = set.NewCounter(`forebay_chain_begins_total`)
	m.chainFailures = set.NewCounter(`forebay_chain_write_failures_total`)
	m.chainOwned = set.NewGauge(`forebay_chain_owned`, nil)
	set.NewGauge(`forebay_chain_followed`, func() float64 {
		if s.judges(s.clock.Now()) {
			return 1
		}
		return 0
	})
}

// invalid counts bytes that are not a value of ours.
func (m *storeMetrics) invalid(err error) {
	m.getsGarbage.Inc()
	if errors.Is(err, errVersion) {
		m.invalidVersion.Inc()
	} else {
		m.invalidDamaged.Inc()
	}
}

// breakerNumber is 0 closed, 1 half-open, 2 open.
func breakerNumber(state gobreaker.State) float64 {
	switch state {
	case gobreaker.StateHalfOpen:
		return 1
	case gobreaker.StateOpen:
		return 2
	case gobreaker.StateClosed:
	}
	return 0
}
