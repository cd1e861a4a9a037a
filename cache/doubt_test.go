package cache

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A doubt is a set of xids: what a settlement saw goes, and all else stays.
func TestDoubtIsTheSetOfItsXids(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var d doubt
		in := map[uint64]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			xid := rapid.Uint64Range(1, 400).Draw(t, "xid")
			if rapid.IntRange(0, 3).Draw(t, "settle") > 0 {
				d.add(&mark{at: Position(xid), xid: xid, lsn: xid})
				in[xid] = true
			} else {
				settled := settlement{at: d.settled + 1, snapshot: drawRunning(t, xid)}
				gone, greatest := false, uint64(0)
				for x := range in {
					if settled.snapshot.Sees(x) {
						delete(in, x)
						gone, greatest = true, max(greatest, x)
					}
				}
				if got := d.settle(&settled); (got != 0) != gone || got < greatest {
					t.Fatalf("settled %d, want at least %d, of %t", got, greatest, gone)
				}
			}
			for x := range uint64(420) {
				if d.max != 0 && d.has(x) != in[x] {
					t.Fatalf("%d is in doubt: %t; of %+v", x, d.has(x), d)
				}
			}
			if (d.max != 0) != (len(in) > 0) {
				t.Fatalf("%d in doubt, of %+v", len(in), d)
			}
		}
		s := drawRunning(t, rapid.Uint64Range(1, 410).Draw(t, "xmax"))
		want := true
		for x := range in {
			want = want && s.Sees(x)
		}
		if d.max != 0 && d.seenBy(&s) != want {
			t.Fatalf("%v sees all of %v: %t", s, in, !want)
		}
		if loose := d.loosely(); d.max != 0 && loose.seenBy(&s) && !want {
			t.Fatalf("%v sees all of %v, loosely", s, in)
		}
	})
}

func drawRunning(t *rapid.T, xmax uint64) Snapshot {
	s := Snapshot{Xmin: xmax, Xmax: xmax, Xip: rapid.SliceOfNDistinct(rapid.Uint64Range(1, xmax), 0, 4, rapid.ID).Draw(t, "running")}
	slices.Sort(s.Xip)
	if n := len(s.Xip); n > 0 && s.Xip[n-1] == xmax {
		s.Xip = s.Xip[:n-1]
	}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

// However far its xids lie apart, a doubt is bounded: then it stands for all between them.
func TestDoubtIsBounded(t *testing.T) {
	t.Parallel()
	for _, xids := range [][]uint64{{5, 5 + 2*maxDoubt}, {5 + 2*maxDoubt, 5}, {1, math.MaxUint64 - 9, 7}} {
		var d doubt
		for _, xid := range xids {
			d.add(&mark{at: 1, xid: xid})
		}
		if !d.loose || d.xids != nil || !d.has(xids[0]+1) && !d.has(xids[0]-1) {
			t.Errorf("of %v: %+v", xids, d)
		}
		if xid := d.settle(&settlement{at: 1, snapshot: Snapshot{Xmin: 100, Xmax: 100}}); xid != 0 {
			t.Errorf("of %v: settled %d", xids, xid)
		}
		if xid := d.settle(&settlement{at: 2, snapshot: AllSeeing()}); xid != slices.Max(xids) || d.max != 0 {
			t.Errorf("of %v: settled %d, left %+v", xids, xid, d)
		}
	}
	var d doubt
	for xid := uint64(1); xid < 10*maxDoubt; xid += 1000 { // with heartbeats between it never grows so far
		d.add(&mark{at: 1, xid: xid})
		d.settle(&settlement{at: d.settled + 1, snapshot: Snapshot{Xmin: xid, Xmax: xid}})
		if d.loose || len(d.xids) > 100 {
			t.Fatalf("%d words in doubt at %d, loose %t", len(d.xids), xid, d.loose)
		}
	}
}
