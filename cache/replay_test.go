package cache

import (
	"testing"
	"time"
)

// A standby is as of the newest heartbeat that it has replayed: never later, and not much earlier however far it is behind.
func TestReplayedAsOfIsNeverOverstated(t *testing.T) {
	t.Parallel()
	l := NewChangeLog("one")
	if got := l.ReplayedAsOf(1000); got != 0 {
		t.Errorf("before any heartbeat: %d; want 0", got)
	}
	at := func(i int) Instant { return Instant(time.Duration(i) * 100 * time.Millisecond) }
	const beats = 10_000
	for i := 1; i <= beats; i++ {
		l.Advance(at(i), Snapshot{Xmin: 3, Xmax: 3, Replayed: uint64(10 * i)})
	}
	for _, behind := range []int{0, 1, 5, 40, 300, 5000} {
		i := beats - behind
		got := l.ReplayedAsOf(uint64(10*i + 5))
		if got > at(i) {
			t.Errorf("%d beats behind: as of %d; the standby has no more than that of %d", behind, got, at(i))
		}
		if worst := at(i - behind/2 - 8); got < worst {
			t.Errorf("%d beats behind: as of %d; want no earlier than %d", behind, got, worst)
		}
	}
	l.NewEpoch("two")
	if got := l.ReplayedAsOf(1 << 40); got != 0 {
		t.Errorf("after a new epoch: %d; want 0", got)
	}
}
