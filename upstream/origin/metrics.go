package origin

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// outcome is how a request to the service ended, one word of a closed list: a metric label.
type outcome uint8

const (
	answered    outcome = iota // with any status but the next
	unwell                     // with 502, 503 or 504
	unreachable                // no connection could be made
	timedOut                   // no answer in time
	broken                     // the answer is no HTTP, or was cut short
	limited                    // all connections were busy
	rejected                   // the breaker was open
	abandoned                  // by the client, or because of what it sent
	outcomes    = iota
)

// String returns the outcome as a metric label.
func (o outcome) String() string {
	return [...]string{"answered", "unwell", "unreachable", "timeout", "broken", "limited", "rejected", "abandoned"}[o]
}

// originMetrics are one service's. They outlive a reload, which makes a new Origin of the same name.
//
// forebay_upstream_requests_total{upstream,outcome} counts each request once, when it ended. A request that
// was repeated is counted once more in forebay_upstream_retries_total, and not here.
// forebay_upstream_duration_seconds{upstream} is the time from the request to the end of the answer's
// header, of those that had an answer.
type originMetrics struct {
	requests [outcomes]*metrics.Counter
	duration *metrics.PrometheusHistogram
	retries  *metrics.Counter
	breaker  *metrics.Gauge // 0 closed, 1 half-open, 2 open
	running  *metrics.Gauge
	limit    *metrics.Gauge
	tunnels  *metrics.Gauge
}

func newMetrics(set *metrics.Set, name string) *originMetrics {
	label := fmt.Sprintf("{upstream=%q}", name)
	m := &originMetrics{
		duration: set.GetOrCreatePrometheusHistogram("forebay_upstream_duration_seconds" + label),
		retries:  set.GetOrCreateCounter("forebay_upstream_retries_total" + label),
		breaker:  set.GetOrCreateGauge("forebay_breaker_state"+label, nil),
		running:  set.GetOrCreateGauge("forebay_upstream_requests_current"+label, nil),
		limit:    set.GetOrCreateGauge("forebay_upstream_connections_limit"+label, nil),
		tunnels:  set.GetOrCreateGauge("forebay_upstream_tunnels_current"+label, nil),
	}
	for o := range outcome(outcomes) {
		m.requests[o] = set.GetOrCreateCounter(fmt.Sprintf("forebay_upstream_requests_total{upstream=%q,outcome=%q}", name, o))
	}
	return m
}

func (m *originMetrics) answered(took time.Duration) { m.duration.Update(took.Seconds()) }
