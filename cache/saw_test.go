package cache

import "testing"

// A flight that asked after a change was marked may still have read the row from before it.
func TestSawTellsWhoMayHaveWhatAJoinedFlightBrought(t *testing.T) {
	t.Parallel()
	clients := []Dependency{Relation(1)}
	log := NewChangeLog("test")
	before := log.Position()
	log.Commit(Change{Xid: 7, Dependencies: clients}) // decoded, and not visible yet
	arrived := log.Position()
	old := log.Stand([]byte("k"), log.Position(), Snapshot{Xmin: 7, Xmax: 8, Xip: []uint64{7}}, clients)
	if old.Saw(arrived) {
		t.Error("who came after the change was applied may have the row from before it")
	}
	if !old.Saw(before) {
		t.Error("who came before the change may not have the row that was there then")
	}

	fresh := log.Stand([]byte("k"), log.Position(), Snapshot{Xmin: 8, Xmax: 8}, clients)
	arrived = log.Position()
	log.Commit(Change{Xid: 9, Dependencies: clients})
	if fresh.Check() != Outdated || !fresh.Saw(arrived) || fresh.Saw(log.Position()) {
		t.Errorf("after a later change: %s, saw what was there on arrival %t, saw all %t; want outdated, true, false",
			fresh.Check(), fresh.Saw(arrived), fresh.Saw(log.Position()))
	}

	purged := log.Stand([]byte("k"), log.Position(), Snapshot{Xmin: 10, Xmax: 10}, clients)
	arrived = log.Position()
	log.Purge(Purge{Dependencies: clients})
	if purged.Saw(arrived) {
		t.Error("what an operator purged was given to somebody")
	}
}
