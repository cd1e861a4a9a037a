package cache

import (
	"math/bits"
	"slices"
)

// maxDoubt bounds the span of xids that a doubt tells apart: 128 KiB of bits.
const maxDoubt = 1 << 20

// doubt stands for forgotten changes of which it was not known that they are visible to everybody. It knows
// their xids, for a snapshot that lists others as running has seen them all: with nothing but the least and
// the greatest, one long writer between them would keep them in doubt for as long as it lives.
type doubt struct {
	at       Position
	min, max uint64 // xids; max 0: there are none
	lsn      uint64 // the greatest of them; MaxUint64: one is not known
	loose    bool   // any xid between min and max may be one of them
	first    uint64 // the xid of the first bit; a multiple of 64
	xids     []uint64
	settled  Position // of the settlement that was used last
}

func (d *doubt) add(m *mark) {
	if d.max == 0 {
		d.min, d.first = m.xid, m.xid&^63
	}
	d.at, d.min, d.max, d.lsn = max(d.at, m.at), min(d.min, m.xid), max(d.max, m.xid), max(d.lsn, known(m.lsn))
	if d.loose || d.max-d.min >= maxDoubt {
		d.loose, d.xids = true, nil
		return
	}
	if m.xid < d.first { // it ran for long
		first := m.xid &^ 63
		d.xids = slices.Concat(make([]uint64, (d.first-first)/64), d.xids)
		d.first = first
	}
	word := (m.xid - d.first) / 64
	for uint64(len(d.xids)) <= word {
		d.xids = append(d.xids, 0)
	}
	d.xids[word] |= 1 << (m.xid % 64)
}

// has reports whether the xid may be one of them.
func (d *doubt) has(xid uint64) bool {
	if xid < d.min || xid > d.max {
		return false
	}
	return d.loose || d.xids[(xid-d.first)/64]>>(xid%64)&1 == 1
}

// seenBy reports whether every change that is in doubt is visible in the snapshot.
func (d *doubt) seenBy(s *Snapshot) bool {
	if d.max >= s.Xmax { // a standby's is 0
		return false
	}
	i, _ := slices.BinarySearch(s.Xip, d.min)
	for _, running := range s.Xip[i:] {
		if running > d.max {
			break
		}
		if d.has(running) {
			return false
		}
	}
	return true
}

// settle takes out of doubt what the settlement saw, and reports the greatest xid of that; 0: nothing.
func (d *doubt) settle(settled *settlement) (xid uint64) {
	s := &settled.snapshot
	switch {
	case d.max == 0 || d.settled == settled.at:
		return 0
	case d.seenBy(s):
		xid = d.max
		*d = doubt{}
		return xid
	}
	d.settled = settled.at
	if d.loose || s.Xmax <= d.min {
		return 0
	}
	xid = min(s.Xmax-1, d.max)
	var running []uint64
	i, _ := slices.BinarySearch(s.Xip, d.min)
	for _, r := range s.Xip[i:] {
		if r <= xid && d.has(r) {
			running = append(running, r)
		}
	}
	if d.drop(xid) == len(running) {
		xid = 0
	}
	for _, r := range running {
		d.xids[(r-d.first)/64] |= 1 << (r % 64)
	}
	d.trim()
	return xid
}

// drop takes out of doubt all up to xid, and returns how many there were.
func (d *doubt) drop(xid uint64) (dropped int) {
	for i := range d.xids {
		from := d.first + uint64(i)*64
		if from > xid {
			break
		}
		kept := uint64(0)
		if n := xid + 1 - from; n < 64 {
			kept = d.xids[i] &^ (1<<n - 1)
		}
		dropped += bits.OnesCount64(d.xids[i] &^ kept)
		d.xids[i] = kept
	}
	return dropped
}

// trim finds the least and the greatest that are left, and gives up the room of what is gone.
func (d *doubt) trim() {
	held := func(w uint64) bool { return w != 0 }
	from := slices.IndexFunc(d.xids, held)
	if from < 0 {
		*d = doubt{settled: d.settled}
		return
	}
	d.xids = slices.Clone(d.xids[from:])
	d.first += uint64(from) * 64
	d.min = d.first + uint64(bits.TrailingZeros64(d.xids[0]))
	last := len(d.xids) - 1
	for d.xids[last] == 0 {
		last--
	}
	d.max = d.first + uint64(last)*64 + 63 - uint64(bits.LeadingZeros64(d.xids[last]))
}

// loosely returns a copy that shares nothing.
func (d *doubt) loosely() doubt {
	c := *d
	c.loose, c.xids = c.max != 0, nil
	return c
}
