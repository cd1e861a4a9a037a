package memory

import (
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	"github.com/maypok86/otter/v2"

	"forebay/cache"
)

// storeMetrics are the tier's metrics.
//
// Entries that were set and are there no more were deleted or replaced by their owners, or counted in
// forebay_cache_evictions_total: size (no room, or not likely enough to be asked for again), expired.
type storeMetrics struct {
	evictedSize     *metrics.Counter
	evictedExpired  *metrics.Counter
	refusedSize     *metrics.Counter
	refusedLifetime *metrics.Counter
	replaced        atomic.Uint64
	deletedByOwner  atomic.Uint64
}

func newMetrics(set *metrics.Set, s *Store) *storeMetrics {
	set.NewGauge(`forebay_cache_entries{tier="memory"}`, func() float64 { return float64(s.entries.EstimatedSize()) })
	set.NewGauge(`forebay_cache_bytes{tier="memory"}`, func() float64 { return float64(s.entries.WeightedSize()) })
	set.NewGauge(`forebay_cache_limit_bytes{tier="memory"}`, func() float64 { return float64(s.max) })
	return &storeMetrics{
		evictedSize:     set.NewCounter(`forebay_cache_evictions_total{tier="memory",reason="size"}`),
		evictedExpired:  set.NewCounter(`forebay_cache_evictions_total{tier="memory",reason="expired"}`),
		refusedSize:     set.NewCounter(`forebay_cache_store_rejected_total{tier="memory",reason="too-large"}`),
		refusedLifetime: set.NewCounter(`forebay_cache_store_rejected_total{tier="memory",reason="no-lifetime"}`),
	}
}

// deleted counts an entry that went. It runs under a lock of the cache and must not call it.
func (m *storeMetrics) deleted(e otter.DeletionEvent[string, *cache.StoredResponse]) {
	switch e.Cause {
	case otter.CauseOverflow:
		m.evictedSize.Inc()
	case otter.CauseExpiration:
		m.evictedExpired.Inc()
	case otter.CauseReplacement:
		m.replaced.Add(1)
	case otter.CauseInvalidation:
		m.deletedByOwner.Add(1)
	}
}

// Stats is how the store stands.
type Stats struct {
	Entries        int    // stored now
	Bytes          int    // that they occupy
	MaxBytes       int    // that they may occupy
	Expired        int    // of Entries: past their lifetime, kept for stale-while-revalidate and stale-if-error
	EvictedSize    uint64 // since the start: for want of room
	EvictedExpired uint64 // since the start: nothing could be done with them any more
	Deleted        uint64 // since the start: by a purge or their owner
	Rejected       uint64 // since the start: not stored, too large or without lifetime
}

// Stats returns how the store stands. It goes through all entries: not for the hit path.
func (s *Store) Stats() Stats {
	st := Stats{
		Entries:        s.entries.EstimatedSize(),
		Bytes:          int(s.entries.WeightedSize()),
		MaxBytes:       s.max,
		EvictedSize:    s.metrics.evictedSize.Get(),
		EvictedExpired: s.metrics.evictedExpired.Get(),
		Deleted:        s.metrics.deletedByOwner.Load(),
		Rejected:       s.metrics.refusedSize.Get() + s.metrics.refusedLifetime.Get(),
	}
	now := s.clock.Now()
	for _, r := range s.entries.All() {
		if r.FreshnessAt(now) != cache.Fresh {
			st.Expired++
		}
	}
	return st
}
