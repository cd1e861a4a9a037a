package cache

import "sync/atomic"

// Verdict is what the rule says of a stored response.
type Verdict uint8

const (
	// Current: every known change to its dependencies is visible in its snapshot.
	Current Verdict = iota
	// Softened: current, but an operator declared it expired.
	Softened
	// Outdated: a change to a dependency is not visible in its snapshot, or may not be.
	Outdated
)

// String returns the verdict in lower case.
func (v Verdict) String() string { return [...]string{"current", "softened", "outdated"}[v] }

// Standing ties a stored response to its dependencies. Its facts never change; what it has verified so
// far moves forward as the log does. Safe for concurrent use.
//
// Each stored response has one, so a test holds it to a line of the processor's cache.
type Standing struct {
	*era
	key      string
	asked    Position
	snapshot *Snapshot
	*ties

	verified atomic.Uint64 // the log position up to which Check found nothing unseen, or outdated; and the bit softened
	cause    atomic.Pointer[Cause]
}

// ties are what a response hangs on: for all responses that hang on the same there is one, unless that is rows.
// Immutable.
type ties struct {
	dependencies []Dependency
	nodes        []*node // Everything's last: see ChangeLog.NewEpoch
	shared       bool
}

// Key returns the key that the response stands under: purges by key concern it by this one. A store may
// keep its entry under the same string instead of a copy.
func (s *Standing) Key() string { return s.key }

// Epoch returns the epoch that the snapshot and the position are of.
func (s *Standing) Epoch() string { return s.epoch }

// Snapshot returns what the response saw.
func (s *Standing) Snapshot() Snapshot { return *s.snapshot }

// Dependencies returns what the response depends on, beside Everything. Not to be written.
func (s *Standing) Dependencies() []Dependency { return s.dependencies }

// Asked returns the log's position before the response's snapshot was asked for.
func (s *Standing) Asked() Position { return s.asked }

// Soften declares the response expired, for good.
func (s *Standing) Soften() { s.verified.Or(softened) }

// Softened reports whether the response was declared expired.
func (s *Standing) Softened() bool { return s.verified.Load()&softened != 0 }

// Check judges the response by everything the log knows. It allocates nothing, and costs one
// comparison while nothing at all has changed since the last check.
func (s *Standing) Check() Verdict {
	position := s.log.marked.Load()
	if s.verified.Load() == position {
		return Current
	}
	return s.verify(position)
}

// verify compares with each node, and moves verified forward to position when nothing unseen is found.
//
// Position was read before the nodes, so a mark made meanwhile is looked at again next time:
//
//	lookup: reads position 7
//	change: marks clients at 8, moves position to 8
//	lookup: finds clients unmarked or marked at 8; stores verified = 7 at most
//	next lookup: 7 ≠ 8, looks at clients again
func (s *Standing) verify(position uint64) Verdict {
	was := s.verified.Load()
	verified := was &^ softened
	if verified == outdated {
		return Outdated
	}
	if s.log.keys.marked.Load() > verified && s.turns(s.log.keys.judge(s.key, max(Position(verified), s.asked))) {
		return s.outdate(Position(verified))
	}
	for _, n := range s.nodes {
		if n.marked.Load() > verified && s.turns(n.judge(s, Position(verified))) {
			return s.outdate(Position(verified))
		}
	}
	if position > verified {
		s.verified.CompareAndSwap(was, position|was&softened) // lost: another lookup was as thorough, or it was softened
	}
	return s.expiry()
}

// turns takes a verdict in and reports whether it is the last.
func (s *Standing) turns(v Verdict) bool {
	if v == Softened {
		s.Soften()
	}
	return v == Outdated
}

func (s *Standing) expiry() Verdict {
	if s.Softened() {
		return Softened
	}
	return Current
}

// saw reports whether the response saw the change.
func (s *Standing) saw(m *mark, settled *settlement) bool {
	if s.snapshot.Replayed != 0 { // what is visible on the primary may not be replayed yet, whoever asks
		return m.lsn != 0 && m.lsn <= s.snapshot.Replayed
	}
	if s.snapshot.sees(m.xid) {
		return true
	}
	from := m.seenFrom(settled)
	return from != 0 && s.asked >= from
}

// sawForgotten reports whether the response saw every change that the floor stands for.
func (s *Standing) sawForgotten(f *floor) bool {
	if s.snapshot.Replayed != 0 {
		return f.lsn <= s.snapshot.Replayed
	}
	return s.asked >= f.from || f.xid < s.snapshot.Xmin
}

// sawDoubtful reports whether the response saw every change that is in doubt.
func (s *Standing) sawDoubtful(d *doubt, settled *settlement) bool {
	if s.snapshot.Replayed != 0 {
		return d.lsn <= s.snapshot.Replayed
	}
	return d.seenBy(s.snapshot) || s.asked >= settled.at && d.seenBy(&settled.snapshot)
}
