package cache

import (
	"sync"
	"sync/atomic"
)

// node is what the log knows of one dependency: changes and purges. There may be a million, nearly all of
// them untouched: so it is small until something happens. Safe for concurrent use.
type node struct {
	marked atomic.Uint64 // position of the newest mark of any kind; read without the lock

	mu     sync.Mutex // guards all below
	events *events    // nil: nothing happened yet
}

// events are what happened to a dependency.
type events struct {
	history
	purged     Position // responses asked for before it are outdated
	softPurged Position // responses asked for before it are expired
}

// happened returns the node's events. Called with mu held.
func (n *node) happened() *events {
	if n.events == nil {
		n.events = new(events)
	}
	return n.events
}

// mark remembers the change. Called with the log's lock held for writing.
func (n *node) mark(m mark, most int, settled *settlement) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.happened().add(m, most, settled) {
		n.marked.Store(uint64(m.at))
	}
}

// purge notes that what was asked for before at is not wanted. Called with the log's lock held.
func (n *node) purge(at Position, soft bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.happened()
	if soft {
		e.softPurged = at
	} else {
		e.purged = at
	}
	n.marked.Store(uint64(at))
}

// forget drops what is known of an ended epoch's transactions; purges stay.
func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.events != nil {
		n.events.history = history{}
	}
}

// judge looks at what happened to the dependency after verified.
func (n *node) judge(s *Standing, verified Position) Verdict {
	settled := s.log.settled.Load()
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.events
	switch {
	case e == nil:
		return Current
	case s.asked < e.purged, e.forgotten.at > verified && !s.sawForgotten(&e.forgotten), e.doubtful.at > verified && !s.sawDoubtful(&e.doubtful, settled):
		return Outdated
	}
	for i := len(e.marks) - 1; i >= 0 && e.marks[i].at > verified; i-- {
		if !s.saw(&e.marks[i], settled) {
			return Outdated
		}
	}
	if s.asked < e.softPurged {
		return Softened
	}
	return Current
}

// purgedSince reports whether a purge of any kind came after asked.
func (n *node) purgedSince(asked Position) bool {
	if n.marked.Load() <= uint64(asked) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.events != nil && asked < max(n.events.purged, n.events.softPurged)
}

// cause returns what of the dependency's events outdates the response, the oldest of several, and where in
// the log it is; nil: nothing.
func (n *node) cause(s *Standing, verified Position) (Position, *Cause) {
	settled := s.log.settled.Load()
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.events
	switch {
	case e == nil:
		return 0, nil
	case s.asked < e.purged:
		return e.purged, &Cause{Reason: ReasonPurge}
	case e.forgotten.at > verified && !s.sawForgotten(&e.forgotten):
		return e.forgotten.at, &Cause{Reason: ReasonForgotten}
	case e.doubtful.at > verified && !s.sawDoubtful(&e.doubtful, settled):
		return e.doubtful.at, &Cause{Reason: ReasonForgotten}
	}
	for i := range e.marks {
		if m := &e.marks[i]; m.at > verified && !s.saw(m, settled) {
			c := &Cause{Reason: ReasonChange, Xid: m.xid, LSN: m.lsn, Applied: m.applied, Touched: m.touched}
			if c.Xid == unknownXid {
				c.Xid = 0
			}
			return m.at, c
		}
	}
	return 0, nil
}
