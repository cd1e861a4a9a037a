package cache

import "testing"

func TestXidsAreWidenedToTheNearest(t *testing.T) {
	t.Parallel()
	f := func(xid uint32, near, want uint64) {
		t.Helper()
		if got := Widen(xid, near); got != want {
			t.Errorf("Widen(%d, %d) = %d; want %d", xid, near, got, want)
		}
	}
	f(700, 700, 700)
	f(699, 700, 699)
	f(705, 700, 705)
	// Just after the counter has turned, transactions of before still commit.
	f(0xFFFFFFF0, 1<<32+10, 0xFFFFFFF0)
	f(3, 1<<32-5, 1<<32+3)
	f(3, 5<<32-5, 5<<32+3)
	f(0xFFFFFFF0, 5<<32+10, 4<<32+0xFFFFFFF0)
	f(0x7FFFFFFF, 3<<32, 3<<32+0x7FFFFFFF)
	// Before the first turn there is nothing below.
	f(0xFFFFFFF0, 10, 0xFFFFFFF0)
}
