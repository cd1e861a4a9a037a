package redis

import (
	"slices"

	"forebay/cache"
)

// stampExact says of a response of an exact rule at which position of the chain it was found current. Without
// that, only this process takes it.
//
// The position is read first: every change that ends there or before is in the log when the response is looked
// at, and it saw all of those that concern it.
func (s *Store) stampExact(at *stamp, r *cache.StoredResponse, now cache.Instant) {
	if s.exact == nil || r.TTLOnly || r.Kind != cache.Ordinary || r.Standing.Snapshot().IsZero() {
		return
	}
	id, server, ok := s.exact.chain.holds(now)
	lsn, ours, complete := s.exact.tap.complete()
	if !ok || !complete || ours != server {
		return
	}
	st := r.Standing
	if !s.heard(st.Asked(), st.Snapshot(), st.Dependencies(), server) || st.Epoch() != s.log.Epoch() || st.Check() == cache.Outdated {
		return
	}
	at.chain, at.position = id, lsn
}

// heard reports whether all changes to the dependencies that the snapshot does not see are in the log or will
// come, by the feed of this server.
func (s *Store) heard(asked cache.Position, snapshot cache.Snapshot, dependencies []cache.Dependency, server string) bool {
	f := s.log.Feed()
	if !f.Live || f.Mode != cache.FeedWAL || f.Server != server {
		return false
	}
	var tables []uint32
	for _, d := range dependencies {
		oid, ok := d.Table()
		if !ok {
			continue
		}
		if _, column, _, row := d.Row(); row && !slices.Contains(f.Covered[oid].Columns, column) {
			return false
		}
		if !slices.Contains(tables, oid) {
			tables = append(tables, oid)
		}
	}
	return s.log.Admit(asked, snapshot, tables) == cache.Storable
}

// admitExact judges a response of an exact rule that another process wrote, or this one in another epoch.
//
// The chain tells of every change up to through that concerns the value; this process's feed brings those after.
// It has to stand in this process's log as if it had been asked for when whatever was visible to everybody ended
// at or before through: what was known to be visible then it has seen, by the chain. The order of the steps is
// that of the doubts: the place in the log first, so that a purge, a narrower feed or a new epoch from then on
// outdates it, whether the next steps see that or not.
//
//	     value            begin of our feed      through        our feed now
//	───────┼──────────────────────┼─────────────────┼────────────────┼──── WAL
//	       └───────── judged by the chain ──────────┘
//	                              └──────── judged by our log ───────┴───
func (s *Store) admitExact(key []byte, v *value, now cache.Instant) *cache.StoredResponse {
	if s.exact == nil || v.chain == 0 || v.snapshot.IsZero() {
		s.metrics.getsEpoch.Inc()
		return nil
	}
	verdict, through, server := s.exact.chain.judge(v, now)
	switch verdict {
	case chainChanged:
		s.metrics.getsChanged.Inc()
		return nil
	case chainUnknown:
		s.metrics.getsChain.Inc()
		return nil
	case chainCurrent:
	}
	asked, ok := s.exact.tap.moment(through)
	purged := s.history.judge(v)
	switch {
	case purged == cache.Outdated:
		s.metrics.getsPurged.Inc()
		return nil
	case !ok, !s.heard(asked, cache.Snapshot{Replayed: through}, v.dependencies, server):
		s.metrics.getsChain.Inc()
		return nil
	}
	r := v.response
	r.Standing = s.log.Stand(key, asked, v.snapshot, append(v.dependencies, writtenBy(v.instance)))
	if purged == cache.Softened {
		r.Standing.Soften()
	}
	if r.Standing.Check() == cache.Outdated {
		s.metrics.getsChanged.Inc()
		return nil
	}
	s.metrics.getsHit.Inc()
	s.metrics.chainHits.Inc()
	return r
}
