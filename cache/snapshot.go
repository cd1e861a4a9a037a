package cache

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Snapshot says which transactions a statement saw, in the terms of pg_current_snapshot(): all below
// Xmin, none from Xmax on, and between them all that Xip does not list. Xids are 64-bit and top-level.
// A Snapshot is a value; Xip is never written after parsing. Safe for concurrent use.
type Snapshot struct {
	Xmin uint64
	Xmax uint64
	Xip  []uint64 // ascending; the transactions still running when the snapshot was taken

	// Replayed is of a snapshot taken on a standby: the WAL position that was replayed before. Xids say nothing
	// there (a standby's list of running transactions is empty): it sees the changes that end at or before it.
	// 0: the snapshot is of the primary.
	Replayed uint64
}

// ParseSnapshot reads the text form of a pg_snapshot, "xmin:xmax:xip,xip…". It copies nothing from text.
func ParseSnapshot(text []byte) (Snapshot, error) {
	bad := func(what string) (Snapshot, error) {
		return Snapshot{}, fmt.Errorf("parse snapshot %q: %s", text, what)
	}
	parts := bytes.SplitN(text, []byte{':'}, 3)
	if len(parts) != 3 {
		return bad("want xmin:xmax:xip")
	}
	xmin, err := strconv.ParseUint(string(parts[0]), 10, 64)
	if err != nil || xmin == 0 {
		return bad("xmin is not a transaction id")
	}
	xmax, err := strconv.ParseUint(string(parts[1]), 10, 64)
	if err != nil || xmax < xmin {
		return bad("xmax is not a transaction id at or above xmin")
	}
	s := Snapshot{Xmin: xmin, Xmax: xmax}
	if len(parts[2]) == 0 {
		return s, nil
	}
	for part := range bytes.SplitSeq(parts[2], []byte{','}) {
		xid, err := strconv.ParseUint(string(part), 10, 64)
		if err != nil || xid < xmin || xid >= xmax {
			return bad("xip lists what is not between xmin and xmax")
		}
		if n := len(s.Xip); n > 0 && s.Xip[n-1] >= xid {
			return bad("xip is not ascending")
		}
		s.Xip = append(s.Xip, xid)
	}
	return s, nil
}

// IsZero reports whether the snapshot is missing: a response without one can prove nothing.
func (s Snapshot) IsZero() bool { return s.Xmax == 0 && s.Replayed == 0 }

// AllSeeing returns a snapshot that every transaction is visible in: that of a response which changes do
// not concern.
func AllSeeing() Snapshot { return Snapshot{Xmin: math.MaxUint64, Xmax: math.MaxUint64} }

// Sees reports whether the transaction's effects are visible in the snapshot, provided it committed. By its
// xid alone nothing can be said to be visible on a standby.
func (s Snapshot) Sees(xid uint64) bool {
	if s.Replayed != 0 {
		return false
	}
	return s.sees(xid)
}

// SeesAllOf reports whether every transaction that is visible in e is visible in s, too, by what the two
// say. An e that carries both xids and Replayed says the same in both ways.
func (s Snapshot) SeesAllOf(e Snapshot) bool {
	if e.IsZero() {
		return true
	}
	if s.Replayed != 0 {
		return e.Replayed != 0 && e.Replayed <= s.Replayed
	}
	if e.Xmax == 0 {
		return false
	}
	// What s says had not ended must not be visible in e: all from s.Xmax on, and what s.Xip lists.
	if first := max(s.Xmax, 1); first < e.Xmax && !e.seesNone(first, e.Xmax-1) {
		return false
	}
	for _, xid := range s.Xip {
		if e.sees(xid) {
			return false
		}
	}
	return true
}

// sees is Sees by xids alone.
func (s *Snapshot) sees(xid uint64) bool {
	if xid < s.Xmin {
		return xid != 0 // 0 is no transaction: nothing can be said to have seen it
	}
	if xid >= s.Xmax {
		return false
	}
	_, running := slices.BinarySearch(s.Xip, xid)
	return !running
}

// seesNone reports whether no transaction from lowest to highest is visible, by xids alone. Highest is below Xmax.
func (s *Snapshot) seesNone(lowest, highest uint64) bool {
	if lowest < s.Xmin {
		return false
	}
	from, _ := slices.BinarySearch(s.Xip, lowest)
	to, found := slices.BinarySearch(s.Xip, highest)
	if found {
		to++
	}
	return uint64(to-from) == highest-lowest+1 // Xip holds each once
}

// AppendText appends the form that ParseSnapshot reads.
func (s Snapshot) AppendText(dst []byte) []byte {
	dst = strconv.AppendUint(dst, s.Xmin, 10)
	dst = append(dst, ':')
	dst = strconv.AppendUint(dst, s.Xmax, 10)
	dst = append(dst, ':')
	for i, xid := range s.Xip {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, xid, 10)
	}
	return dst
}

// String returns the text form, as Postgres prints it, or of a standby the position that it had replayed.
func (s Snapshot) String() string {
	if s.Replayed != 0 && s.Xmax == 0 {
		return fmt.Sprintf("replayed %X/%X", s.Replayed>>32, uint32(s.Replayed))
	}
	return string(s.AppendText(nil))
}
