package cache

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSeesAllIsSeesOfEach(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := Snapshot{Xmin: rapid.Uint64Range(0, 20).Draw(t, "xmin")}
		s.Xmax = s.Xmin + rapid.Uint64Range(0, 12).Draw(t, "span")
		for xid := s.Xmin; xid < s.Xmax; xid++ {
			if xid > 0 && rapid.IntRange(0, 3).Draw(t, "running") == 0 {
				s.Xip = append(s.Xip, xid)
			}
		}
		lowest := rapid.Uint64Range(1, 30).Draw(t, "lowest")
		highest := lowest + rapid.Uint64Range(0, 8).Draw(t, "more")
		want := true
		for xid := lowest; xid <= highest; xid++ {
			want = want && s.Sees(xid)
		}
		if s.seesAll(lowest, highest) != want {
			t.Fatalf("%v sees all of %d to %d: %t", s, lowest, highest, !want)
		}
	})
}
