package cache

import (
	"slices"
	"sync"
	"sync/atomic"
)

const marksPerNode = 64 // changes remembered one by one before the floor rises

// node is what the log knows of one dependency: purges, changes one by one, and floors for the changes
// that it no longer remembers. Safe for concurrent use.
type node struct {
	marked atomic.Uint64 // position of the newest mark of any kind; read without the lock

	mu         sync.Mutex // guards all below
	marks      []mark     // oldest first, at most marksPerNode
	forgotten  floor
	doubtful   doubt
	purged     Position // responses asked for before it are outdated
	softPurged Position // responses asked for before it are expired
}

// mark is one change to the dependency.
type mark struct {
	at      Position
	xid     uint64
	visible Position // who asked from here on saw it; 0: only snapshots tell
}

// floor stands for forgotten changes that all who asked from some position on have seen.
type floor struct {
	at   Position // of the newest of them: who was judged up to here was judged by all of them
	xid  uint64   // the greatest of them
	from Position // who asked from here on saw them
}

// doubt stands for forgotten changes of which it was not known that they are visible to everybody.
type doubt struct {
	at       Position
	min, max uint64 // xids; max 0: there are none
}

// mark remembers the change. Called with the log's lock held for writing.
func (n *node) mark(m mark, settled *settlement) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.again(&m) {
		return
	}
	if len(n.marks) == marksPerNode {
		n.makeRoom(settled)
	}
	n.marks = append(n.marks, m)
	n.marked.Store(uint64(m.at))
}

// again reports whether the transaction was marked before and there is nothing new in this mark of it:
// a write is applied by whoever made it, and then comes in with the stream. Unknown transactions are all
// the same one, of which the newest mark says everything: its older mark makes way.
func (n *node) again(m *mark) bool {
	i := slices.IndexFunc(n.marks, func(old mark) bool { return old.xid == m.xid })
	switch {
	case i < 0:
		return false
	case m.xid == unknownXid:
		n.marks = slices.Delete(n.marks, i, i+1)
		return false
	}
	if old := &n.marks[i]; old.visible == 0 {
		old.visible = m.visible
	}
	return true
}

// makeRoom forgets a mark: the oldest that everybody who asks now has seen, or else the oldest.
func (n *node) makeRoom(settled *settlement) {
	if n.doubtful.max != 0 && settled.snapshot.seesAll(n.doubtful.min, n.doubtful.max) {
		n.forgotten.raise(n.doubtful.at, n.doubtful.max, settled.at)
		n.doubtful = doubt{}
	}
	for i, m := range n.marks {
		if from := m.seenFrom(settled); from != 0 {
			n.forgotten.raise(m.at, m.xid, from)
			n.marks = slices.Delete(n.marks, i, i+1)
			return
		}
	}
	n.doubtful.add(n.marks[0])
	n.marks = slices.Delete(n.marks, 0, 1)
}

// seenFrom returns the position from which on all who asked have seen the change; 0: not known.
func (m mark) seenFrom(settled *settlement) Position {
	if m.visible == 0 && settled.snapshot.Sees(m.xid) {
		return settled.at
	}
	return m.visible
}

func (f *floor) raise(at Position, xid uint64, from Position) {
	f.at, f.xid, f.from = max(f.at, at), max(f.xid, xid), max(f.from, from)
}

func (d *doubt) add(m mark) {
	if d.max == 0 {
		d.min = m.xid
	}
	d.at, d.min, d.max = max(d.at, m.at), min(d.min, m.xid), max(d.max, m.xid)
}

// purge notes that what was asked for before at is not wanted. Called with the log's lock held.
func (n *node) purge(at Position, soft bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if soft {
		n.softPurged = at
	} else {
		n.purged = at
	}
	n.marked.Store(uint64(at))
}

// forget drops what is known of an ended epoch's transactions; purges stay.
func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.marks, n.forgotten, n.doubtful = nil, floor{}, doubt{}
}

// judge looks at what happened to the dependency after verified.
func (n *node) judge(s *Standing, verified Position) Verdict {
	settled := s.log.settled.Load()
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.asked < n.purged {
		return Outdated
	}
	if f := n.forgotten; f.at > verified && s.asked < f.from && s.snapshot.Xmin <= f.xid {
		return Outdated
	}
	if d := n.doubtful; d.max != 0 && d.at > verified && !s.sawAll(d.min, d.max, settled) {
		return Outdated
	}
	for i := len(n.marks) - 1; i >= 0 && n.marks[i].at > verified; i-- {
		if m := n.marks[i]; !s.snapshot.Sees(m.xid) {
			if from := m.seenFrom(settled); from == 0 || s.asked < from {
				return Outdated
			}
		}
	}
	if s.asked < n.softPurged {
		return Softened
	}
	return Current
}
