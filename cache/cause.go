package cache

import "math"

// Cause is what outdated a response. Immutable.
type Cause struct {
	Reason     Reason
	Dependency Dependency // what it happened to; empty for a purge by key
	Xid        uint64     // of a change; 0: not known
	LSN        uint64     // of a change; 0: not known
	Applied    Instant    // when this process learned of the change; 0: not known
	earliest   Position   // of all unseen changes; 0: not known, or something else happened as well
	Touched    []Touch    // what the change did, as far as it was told; not to be written
}

// Reason is the kind of a Cause, in one word.
type Reason string

const (
	// ReasonChange : a change that the response did not see.
	ReasonChange Reason = "change"
	// ReasonForgotten : changes that the log no longer knows one by one, and that the response may not have seen.
	ReasonForgotten Reason = "forgotten"
	// ReasonPurge : an operator's word.
	ReasonPurge Reason = "purge"
	// ReasonEpoch : the log's transactions are not comparable with the response's any more.
	ReasonEpoch Reason = "epoch"
)

// rank orders causes by how little may still be done with what they outdated.
func (c *Cause) rank() int {
	switch c.Reason {
	case ReasonEpoch:
		return 3
	case ReasonPurge:
		return 2
	case ReasonForgotten:
		return 1
	case ReasonChange:
	}
	return 0
}

// Cause returns what outdated the response, as the first Check to find it out found it; nil while it is
// current. Of several changes it is the one that was applied first.
func (s *Standing) Cause() *Cause { return s.cause.Load() }

// Saw reports whether the response saw every change to its dependencies that was in the log at the position:
// whoever came when the log stood there may have it, although later changes outdate it by now.
//
//	stream: applies xid 7 at position 3; its commit is not visible yet
//	fill:   asks at position 3, reads the old row
//	writer: is answered; a reader arrives at position 3, and must not have the old row
func (s *Standing) Saw(at Position) bool {
	if s.Check() != Outdated {
		return true
	}
	c := s.cause.Load()
	return c != nil && c.earliest > at
}

// OutdatedSince returns when this process learned of the change that outdated the response. False: the
// response is current, or nobody can say when that came, or a purge or the end of the epoch forbids it anyway,
// be it before the change or after. It allocates nothing.
func (s *Standing) OutdatedSince() (Instant, bool) {
	c := s.cause.Load()
	if c == nil || c.Reason != ReasonChange || c.Applied == 0 || s.Softened() {
		return 0, false
	}
	for _, n := range s.nodes {
		if n.purgedSince(s.asked) {
			return 0, false
		}
	}
	if uint64(s.asked) < s.log.keys.marked.Load() && s.log.keys.judge(s.key, s.asked) != Current {
		return 0, false
	}
	return c.Applied, true
}

// outdate keeps the cause, and then the verdict: who reads outdated finds the cause.
func (s *Standing) outdate(verified Position) Verdict {
	var found *Cause
	first, earliest := Position(0), Position(math.MaxUint64)
	for i, n := range s.nodes {
		at, c := n.cause(s, verified)
		if c == nil {
			continue
		}
		c.Dependency = Everything
		if i < len(s.dependencies) {
			c.Dependency = s.dependencies[i]
		}
		if earliest = min(earliest, at); c.Reason != ReasonChange {
			earliest = 0
		}
		if found == nil || c.rank() > found.rank() || c.rank() == found.rank() && at < first {
			found, first = c, at
		}
	}
	switch {
	case found == nil: // a purge by key
		found, earliest = &Cause{Reason: ReasonPurge}, 0
	case found.Reason == ReasonPurge && uint64(s.asked) < s.log.began.Load():
		found.Reason = ReasonEpoch
	}
	found.earliest = earliest
	s.cause.CompareAndSwap(nil, found)
	s.verified.Or(outdated)
	return Outdated
}
