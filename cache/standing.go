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
type Standing struct {
	log          *ChangeLog
	asked        Position
	snapshot     Snapshot
	dependencies []Dependency
	nodes        []*node

	verified atomic.Uint64 // the log position up to which Check found nothing unseen, or outdated
	softened atomic.Bool
}

// Snapshot returns what the response saw.
func (s *Standing) Snapshot() Snapshot { return s.snapshot }

// Dependencies returns what the response depends on, beside Everything. Not to be written.
func (s *Standing) Dependencies() []Dependency { return s.dependencies }

// Asked returns the log's position before the response's snapshot was asked for.
func (s *Standing) Asked() Position { return s.asked }

// Soften declares the response expired, for good.
func (s *Standing) Soften() { s.softened.Store(true) }

// Check judges the response by everything the log knows. It allocates nothing, and costs one
// comparison while nothing at all has changed since the last check.
func (s *Standing) Check() Verdict {
	position := s.log.position.Load()
	if s.verified.Load() == position {
		return s.expiry()
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
	verified := s.verified.Load()
	if verified == outdated {
		return Outdated
	}
	for _, n := range s.nodes {
		if n.marked.Load() <= verified {
			continue
		}
		switch n.judge(s, Position(verified)) {
		case Outdated:
			s.verified.Store(outdated)
			return Outdated
		case Softened:
			s.softened.Store(true)
		case Current:
		}
	}
	if position > verified {
		s.verified.CompareAndSwap(verified, position) // lost: another lookup was as thorough
	}
	return s.expiry()
}

func (s *Standing) expiry() Verdict {
	if s.softened.Load() {
		return Softened
	}
	return Current
}

// judge looks at the node's marks after verified.
func (n *node) judge(s *Standing, verified Position) Verdict {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.asked < n.purged {
		return Outdated
	}
	if verified < n.forgotAt && n.forgotXid >= s.snapshot.Xmin {
		return Outdated // what was forgotten may be unseen
	}
	for i := len(n.marks) - 1; i >= 0 && n.marks[i].at > verified; i-- {
		if !s.snapshot.Sees(n.marks[i].xid) {
			return Outdated
		}
	}
	if s.asked < n.softPurged {
		return Softened
	}
	return Current
}
