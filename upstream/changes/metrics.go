package changes

import (
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// feedMetrics are this package's metrics.
type feedMetrics struct {
	// commits that touched something published; rows are the rows in them, rolled back ones included.
	commits *metrics.Counter
	rows    *metrics.Counter
	// collapsed is those of commits whose rows were not told apart although somebody watched them.
	collapsed *metrics.Counter
	// epochs that began: each outdated all that was stored before.
	epochs *metrics.Counter
	// probes is the transactions of forebay's own that pushed the stream past an idle writer.
	probes *metrics.Counter
	// drifts of the publication or the catalogue that uncovered a relation.
	drifts *metrics.Counter
	polled atomic.Int64 // unix seconds
}

func newMetrics(set *metrics.Set, f *Feed) *feedMetrics {
	m := &feedMetrics{
		commits:   set.GetOrCreateCounter(`forebay_stream_commits_total`),
		rows:      set.GetOrCreateCounter(`forebay_stream_rows_total`),
		collapsed: set.GetOrCreateCounter(`forebay_stream_collapsed_total`),
		epochs:    set.GetOrCreateCounter(`forebay_stream_epochs_total`),
		probes:    set.GetOrCreateCounter(`forebay_stream_probes_total`),
		drifts:    set.GetOrCreateCounter(`forebay_stream_drifts_total`),
	}
	set.GetOrCreateGauge(`forebay_stream_live`, func() float64 {
		if f.face.live() {
			return 1
		}
		return 0
	})
	set.GetOrCreateGauge(`forebay_stream_lag_seconds`, f.lagSeconds)
	set.GetOrCreateGauge(`forebay_stream_lag_bytes`, func() float64 { return float64(f.lagBytes()) })
	set.GetOrCreateGauge(`forebay_stream_covered`, func() float64 { return float64(f.Status().Covered) })
	set.GetOrCreateGauge(`forebay_stream_uncovered`, func() float64 {
		n := 0
		for _, u := range f.Status().Uncovered {
			if !u.Rows {
				n++
			}
		}
		return float64(n)
	})
	set.GetOrCreateGauge(`forebay_stream_poll_last_success_timestamp_seconds`, func() float64 { return float64(m.polled.Load()) })
	return m
}

func (m *feedMetrics) pollSucceeded() { m.polled.Store(time.Now().Unix()) }
