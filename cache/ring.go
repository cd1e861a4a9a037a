package cache

import "slices"

// rowMark is one change to one row. It holds no pointers: there are many.
type rowMark struct {
	at      Position
	xid     uint64
	lsn     uint64
	visible Position
	applied Instant
}

// ring is what is remembered of the newest changes to rows of a relation, whether anybody held them or not:
// who holds a row for the first time starts from here, since its changes may have come while nobody did.
//
//	fill:   asks at position 3, reads row 42 in a snapshot that does not see xid 7
//	stream: applies xid 7 at position 4; no response holds row 42, so no node is there to be marked
//	fill:   stands on row 42; its new node must know of the mark at 4
//
// Changes that the ring had to forget go into its floors, and those into each node made from then on.
// Guarded by the log's lock.
type ring struct {
	rows  []uint64 // the hash of each mark's Row; apart, for that is what is searched
	marks []rowMark
	next  int     // the oldest, once the ring is full
	past  history // floors only
}

// add remembers the change of a row. Room says whether the ring may become larger than it is.
func (r *ring) add(m *mark, row uint64, room bool, settled *settlement) {
	entry := rowMark{at: m.at, xid: m.xid, lsn: m.lsn, visible: m.visible, applied: m.applied}
	if room {
		r.turn()
		r.rows, r.marks = append(r.rows, row), append(r.marks, entry)
		return
	}
	if m := r.marks[r.next].mark(); !r.past.forget(&m, settled) {
		r.past.settle(settled)
		r.past.doubtful.add(&m)
	}
	r.rows[r.next], r.marks[r.next] = row, entry
	r.next = (r.next + 1) % len(r.marks)
}

// turn puts the oldest first.
func (r *ring) turn() {
	if r.next != 0 {
		r.rows = append(slices.Clone(r.rows[r.next:]), r.rows[:r.next]...)
		r.marks = append(slices.Clone(r.marks[r.next:]), r.marks[:r.next]...)
		r.next = 0
	}
}

// start puts into a new node what is known of its row's changes.
func (r *ring) start(n *node, row uint64) {
	newest := max(r.past.forgotten.at, r.past.doubtful.at)
	var marks []mark
	for _, part := range [...]struct {
		rows []uint64
		from int
	}{{r.rows[r.next:], r.next}, {r.rows[:r.next], 0}} { // oldest first
		for i := range part.rows {
			if part.rows[i] == row {
				m := r.marks[part.from+i].mark()
				marks, newest = append(marks, m), max(newest, m.at)
			}
		}
	}
	if newest != 0 {
		n.events = &events{history: r.past}
		n.events.marks = marks
		n.marked.Store(uint64(newest))
	}
}

func (m *rowMark) mark() mark {
	return mark{at: m.at, xid: m.xid, lsn: m.lsn, visible: m.visible, applied: m.applied}
}
