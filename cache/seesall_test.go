package cache

import (
	"math"
	"testing"
)

// smallSnapshots are all that there are of transactions 1 to 5, the missing one and the all-seeing one.
func smallSnapshots() []Snapshot {
	const end = 6
	list := []Snapshot{{}, AllSeeing()}
	for xmin := uint64(1); xmin <= end; xmin++ {
		for xmax := xmin; xmax <= end; xmax++ {
			for running := range 1 << (xmax - xmin) {
				s := Snapshot{Xmin: xmin, Xmax: xmax}
				for i := range xmax - xmin {
					if running>>i&1 == 1 {
						s.Xip = append(s.Xip, xmin+i)
					}
				}
				list = append(list, s)
			}
		}
	}
	return list
}

func TestSeesAllOfIsThatNothingIsSeenByTheOtherOnly(t *testing.T) {
	t.Parallel()
	all := smallSnapshots()
	for _, s := range all {
		for _, e := range all {
			want := true
			for _, xid := range []uint64{1, 2, 3, 4, 5, 6, 7, 1 << 40, math.MaxUint64 - 1} {
				want = want && (s.Sees(xid) || !e.Sees(xid))
			}
			if s.SeesAllOf(e) != want {
				t.Fatalf("%v sees all that %v sees: %t", s, e, !want)
			}
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d snapshots", len(all))
	}
}

func TestSeesAllOfOnStandbys(t *testing.T) {
	t.Parallel()
	exported := Snapshot{Xmin: 3, Xmax: 5, Xip: []uint64{3}, Replayed: 100}
	for _, c := range []struct {
		s, e Snapshot
		want bool
	}{
		{Snapshot{Replayed: 100}, exported, true},
		{Snapshot{Replayed: 99}, exported, false},
		{Snapshot{Xmin: 5, Xmax: 5}, exported, true},
		{Snapshot{Xmin: 4, Xmax: 9, Xip: []uint64{4}}, exported, false},
		{Snapshot{Replayed: 100}, Snapshot{Xmin: 3, Xmax: 3}, false}, // nobody says where that is in the log
		{Snapshot{Xmin: 9, Xmax: 9}, Snapshot{Replayed: 1}, false},   // nor which transactions that is
		{Snapshot{Replayed: 7}, Snapshot{}, true},
	} {
		if c.s.SeesAllOf(c.e) != c.want {
			t.Errorf("%v sees all that %v sees: %t", c.s, c.e, !c.want)
		}
	}
	standby := Snapshot{Replayed: 1<<32 + 0xab}
	if standby.IsZero() || standby.Sees(1) || standby.String() != "replayed 1/AB" {
		t.Errorf("%v of a standby: missing %t, sees 1 %t", standby, standby.IsZero(), standby.Sees(1))
	}
}
