package cache

const (
	marksPerRing = 4096    // row changes of one relation remembered one by one before its floor rises
	marksOfRings = 1 << 20 // the same of all rings together; beyond it a ring has marksPerRow
	maxRings     = 1 << 12 // relations told apart; the rest share a ring
)

// rowMark is one change to one row. It holds no pointers: there are many.
type rowMark struct {
	row     uint64 // hash of the Row
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
	marks []rowMark // next is the oldest once it is full
	next  int
	past  history // floors only
}

// add remembers the change of a row, and returns by how many marks the ring has grown.
func (r *ring) add(m *mark, row uint64, room int, settled *settlement) (grown int) {
	entry := rowMark{row: row, at: m.at, xid: m.xid, lsn: m.lsn, visible: m.visible, applied: m.applied}
	if len(r.marks) < cap(r.marks) {
		r.marks = append(r.marks, entry)
		return 0
	}
	if n := len(r.marks); n < marksPerRow || n < marksPerRing && n <= room {
		r.grow(max(n, marksPerRow))
		r.marks = append(r.marks, entry)
		return cap(r.marks) - n
	}
	oldest := &r.marks[r.next]
	if m := oldest.mark(); !r.past.forget(&m, settled) {
		r.past.settle(settled)
		r.past.doubtful.add(&m)
	}
	*oldest = entry
	r.next = (r.next + 1) % len(r.marks)
	return 0
}

// grow makes room for more marks, and puts the oldest first.
func (r *ring) grow(more int) {
	marks := make([]rowMark, 0, len(r.marks)+more)
	r.marks = append(append(marks, r.marks[r.next:]...), r.marks[:r.next]...)
	r.next = 0
}

// start puts into a new node what is known of its row's changes.
func (r *ring) start(n *node, row uint64) {
	e := events{history: r.past}
	newest := max(e.forgotten.at, e.doubtful.at)
	for i := range r.marks {
		if m := &r.marks[(r.next+i)%len(r.marks)]; m.row == row {
			e.marks = append(e.marks, m.mark())
			newest = max(newest, m.at)
		}
	}
	if newest != 0 {
		n.events = &e
		n.marked.Store(uint64(newest))
	}
}

func (m *rowMark) mark() mark {
	return mark{at: m.at, xid: m.xid, lsn: m.lsn, visible: m.visible, applied: m.applied}
}
