package proxy

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// proxyMetrics are the metrics of the request's door that no rule owns.
//
// forebay_requests_total{rule,outcome} sums to all requests that were answered: hits (hit, stale),
// forwarded (miss, collapsed, bypass, write, failed) and refused, the latter under rule="" where no rule
// matched. hits are in no upstream's count.
type proxyMetrics struct {
	set *metrics.Set

	unmatched  *metrics.Counter
	waiters    atomic.Int64     // requests that wait for a flight now
	coalesced  *metrics.Counter // answered by another request's flight
	repeated   *metrics.Counter // joined a flight, and asked again because it had not seen a change they had to
	refreshes  *metrics.Counter
	outdated   *metrics.Counter // lookups that found a response which a change had outdated
	needless   *metrics.Counter // of them, those whose refill saw the change and brought the same body again
	panics     *metrics.Counter
	sharedHit  *metrics.Counter
	sharedMiss *metrics.Counter
	discarded  map[string]*metrics.Counter // by reason

	audited    *metrics.Counter // hits compared with their source
	mismatches *metrics.Counter // of them, those that differed although no change was heard of
	unstable   *metrics.Counter // of them, those whose source does not say the same twice

	compressed  *metrics.Counter
	compressing *metrics.Counter // refused for want of room in the queue

	reloads      *metrics.Counter
	reloadOK     *metrics.Gauge
	reloadedAt   *metrics.Gauge
	purges       *metrics.Counter
	invalidated  *metrics.Counter // targets of unsafe requests that an HTTP service accepted
	connections  *metrics.Gauge
	connectLimit *metrics.Gauge
}

func newMetrics(set *metrics.Set) *proxyMetrics {
	m := &proxyMetrics{
		set:          set,
		unmatched:    set.NewCounter(`forebay_requests_total{rule="",outcome="refused"}`),
		coalesced:    set.NewCounter(`forebay_coalesced_total{result="success"}`),
		repeated:     set.NewCounter(`forebay_coalesced_total{result="outdated"}`),
		refreshes:    set.NewCounter(`forebay_refreshes_total`),
		outdated:     set.NewCounter(`forebay_outdated_total`),
		needless:     set.NewCounter(`forebay_refills_needless_total`),
		panics:       set.NewCounter(`forebay_panics_total`),
		sharedHit:    set.NewCounter(`forebay_shared_lookups_total{result="hit"}`),
		sharedMiss:   set.NewCounter(`forebay_shared_lookups_total{result="miss"}`),
		discarded:    make(map[string]*metrics.Counter),
		audited:      set.NewCounter(`forebay_audits_total`),
		mismatches:   set.NewCounter(`forebay_audit_mismatches_total`),
		unstable:     set.NewCounter(`forebay_audit_unstable_total`),
		compressed:   set.NewCounter(`forebay_encodings_total{result="stored"}`),
		compressing:  set.NewCounter(`forebay_encodings_total{result="refused"}`),
		reloads:      set.NewCounter(`forebay_config_reloads_total`),
		reloadOK:     set.NewGauge(`forebay_config_last_reload_successful`, nil),
		reloadedAt:   set.NewGauge(`forebay_config_last_reload_success_timestamp_seconds`, nil),
		purges:       set.NewCounter(`forebay_purges_total`),
		invalidated:  set.NewCounter(`forebay_invalidations_total`),
		connections:  set.NewGauge(`forebay_connections_current`, nil),
		connectLimit: set.NewGauge(`forebay_connections_limit`, nil),
	}
	set.NewGauge(`forebay_flight_waiters`, func() float64 { return float64(m.waiters.Load()) })
	for _, reason := range refusals {
		m.discarded[string(reason)] = set.NewCounter(fmt.Sprintf(`forebay_fills_discarded_total{reason=%q}`, reason))
	}
	return m
}

// ruleMetrics are one rule's, made when its rule set is put in place.
type ruleMetrics struct {
	requests [results]*metrics.Counter
	duration *metrics.PrometheusHistogram // of requests that went forward; hits are counted, not timed
}

func (m *proxyMetrics) ofRule(name string) ruleMetrics {
	var rm ruleMetrics
	for r := range Result(results) {
		rm.requests[r] = m.set.GetOrCreateCounter(fmt.Sprintf(`forebay_requests_total{rule=%s,outcome=%q}`, strconv.Quote(name), r))
	}
	rm.duration = m.set.GetOrCreatePrometheusHistogram(fmt.Sprintf(`forebay_request_duration_seconds{rule=%s}`, strconv.Quote(name)))
	return rm
}
