package cache

import (
	"math"
	"slices"
)

// mark is one change to the dependency.
type mark struct {
	at      Position
	xid     uint64
	lsn     uint64   // 0: not known
	visible Position // who asked on the primary from here on saw it; 0: only snapshots tell
	applied Instant
	touched []Touch
}

// history is what is remembered of the changes to one dependency: the newest one by one, and floors for
// those that it no longer remembers.
type history struct {
	marks     []mark // oldest first
	greatest  uint64 // the greatest xid ever marked, but for unknown ones
	room      int    // how many marks there may be before some are forgotten; 0: a sixteenth of the most
	forgotten floor
	doubtful  doubt
}

// floor stands for forgotten changes that all who asked on the primary from some position on have seen.
type floor struct {
	at   Position // of the newest of them: who was judged up to here was judged by all of them
	xid  uint64   // the greatest of them
	lsn  uint64   // the greatest of them; MaxUint64: one is not known
	from Position // who asked from here on saw them
}

// add remembers the change, and reports whether there was anything new in it. Most is how many it remembers.
func (h *history) add(m mark, most int, settled *settlement) bool {
	if h.again(&m) {
		return false
	}
	if h.room == 0 {
		h.room = max(most/fewMarks, 1)
	}
	if len(h.marks) >= h.room {
		h.makeRoom(most, settled)
	}
	h.marks = append(h.marks, m)
	return true
}

// again reports whether the transaction was marked before and there is nothing new in this mark of it:
// a write is applied by whoever made it, and then comes in with the stream, which knows its LSN. Unknown
// transactions are all the same one, of which the newest mark says everything: its older mark makes way.
func (h *history) again(m *mark) bool {
	if m.xid > h.greatest && m.xid != unknownXid {
		h.greatest = m.xid
		return false
	}
	i := len(h.marks) - 1
	for i >= 0 && h.marks[i].xid != m.xid { // newest first: what comes twice comes soon
		i--
	}
	if i < 0 {
		return false
	}
	old := &h.marks[i]
	if m.xid == unknownXid {
		if old.lsn == 0 || m.lsn != 0 && m.lsn < old.lsn {
			m.lsn = old.lsn // a standby must have replayed them all
		}
		h.marks = slices.Delete(h.marks, i, i+1)
		return false
	}
	if old.visible == 0 {
		old.visible = m.visible
	}
	if old.lsn == 0 {
		old.lsn = m.lsn
	}
	if len(old.touched) == 0 {
		old.touched = m.touched
	}
	return true
}

// makeRoom forgets of the older three quarters the marks that everybody who asks now has seen. The newer
// stay, for fills in flight may have asked between them. If that was less than a quarter there may be twice
// as many, up to most; from there on the oldest are forgotten in doubt. So going through all of them pays.
func (h *history) makeRoom(most int, settled *settlement) {
	h.settle(settled)
	quarter := max(len(h.marks)/4, 1)
	older := len(h.marks) - len(h.marks)/4
	kept := h.marks[:0]
	for i := range h.marks {
		if m := &h.marks[i]; i >= older || !h.forget(m, settled) {
			kept = append(kept, *m)
		}
	}
	wanting := quarter - (len(h.marks) - len(kept))
	switch {
	case wanting <= 0:
		h.room = max(min(2*len(kept), most), most/fewMarks, 1)
	case h.room < most:
		h.room = min(2*h.room, most)
	default:
		for i := range kept[:wanting] {
			h.doubtful.add(&kept[i])
		}
		kept = slices.Delete(kept, 0, wanting)
	}
	clear(h.marks[len(kept):])
	h.marks = kept
}

// settle turns doubt into a floor as far as everybody who asks now has seen what it stands for.
func (h *history) settle(settled *settlement) {
	at, lsn := h.doubtful.at, h.doubtful.lsn
	if xid := h.doubtful.settle(settled); xid != 0 {
		h.forgotten.raise(at, xid, lsn, settled.at)
	}
}

// forget raises the floor by the mark if all who ask now have seen its change.
func (h *history) forget(m *mark, settled *settlement) bool {
	from := m.seenFrom(settled)
	if from == 0 {
		return false
	}
	h.forgotten.raise(m.at, m.xid, known(m.lsn), from)
	return true
}

// seenFrom returns the position from which on all who asked on the primary have seen the change; 0: not known.
func (m *mark) seenFrom(settled *settlement) Position {
	if m.visible == 0 && settled.snapshot.Sees(m.xid) {
		return settled.at
	}
	return m.visible
}

// known returns the LSN as floors reckon it: one that is not known is beyond all.
func known(lsn uint64) uint64 {
	if lsn == 0 {
		return math.MaxUint64
	}
	return lsn
}

func (f *floor) raise(at Position, xid, lsn uint64, from Position) {
	f.at, f.xid, f.lsn, f.from = max(f.at, at), max(f.xid, xid), max(f.lsn, lsn), max(f.from, from)
}
