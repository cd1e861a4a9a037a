package cache

import "slices"

// rowMark is one change to one row. It holds no pointers: there are many.
type rowMark struct {
	row      uint64 // hash of the Row
	previous uint64 // the number of the mark before it in the same chain, plus 1; 0: there is none
	at       Position
	xid      uint64
	lsn      uint64
	visible  Position
	applied  Instant
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
	marks []rowMark // mark number n is at n modulo its length
	count uint64    // of all marks ever made
	heads []uint64  // of the chains, by hash: the number of the newest mark plus 1; a power of two
	past  history   // floors only
}

const fewHeads = 64

// add remembers the change of a row. Room says whether the ring may become larger than it is; once it may
// not, it never may again.
func (r *ring) add(m *mark, row uint64, room bool, settled *settlement) {
	entry := rowMark{row: row, at: m.at, xid: m.xid, lsn: m.lsn, visible: m.visible, applied: m.applied}
	if room {
		if len(r.marks) == len(r.heads) {
			r.rehash()
		}
		r.marks = append(r.marks, entry)
	} else {
		oldest := &r.marks[r.count%uint64(len(r.marks))]
		if m := oldest.mark(); !r.past.forget(&m, settled) {
			r.past.settle(settled)
			r.past.doubtful.add(&m)
		}
		*oldest = entry
	}
	r.link(r.count)
	r.count++
}

// link puts a mark before the others of its chain.
func (r *ring) link(number uint64) {
	m := &r.marks[number%uint64(len(r.marks))]
	head := &r.heads[m.row%uint64(len(r.heads))]
	m.previous, *head = *head, number+1
}

// rehash makes twice as many chains. The ring is not full yet.
func (r *ring) rehash() {
	r.heads = make([]uint64, max(2*len(r.heads), fewHeads))
	for number := range r.count {
		r.link(number)
	}
}

// start puts into a new node what is known of its row's changes.
func (r *ring) start(n *node, row uint64) {
	newest := max(r.past.forgotten.at, r.past.doubtful.at)
	var marks []mark
	var greatest uint64
	if len(r.heads) > 0 {
		// A chain ends where its marks have been written over.
		for next := r.heads[row%uint64(len(r.heads))]; next != 0 && r.count-(next-1) <= uint64(len(r.marks)); {
			m := &r.marks[(next-1)%uint64(len(r.marks))]
			if m.row == row {
				marks, newest, greatest = append(marks, m.mark()), max(newest, m.at), max(greatest, m.xid)
			}
			next = m.previous
		}
	}
	if newest == 0 {
		return
	}
	slices.Reverse(marks) // oldest first
	n.events = &events{history: history{marks: marks, greatest: greatest, forgotten: r.past.forgotten, doubtful: r.past.doubtful.loosely()}}
	n.marked.Store(uint64(newest))
}

func (m *rowMark) mark() mark {
	return mark{at: m.at, xid: m.xid, lsn: m.lsn, visible: m.visible, applied: m.applied}
}
