package cache_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"forebay/cache"
)

const clientsOid = 16384

// row is the dependency of a response on one client, and what it depends on beside it.
func row(id int) []cache.Dependency {
	return []cache.Dependency{cache.Row(clientsOid, 1, fmt.Sprint(id)), cache.Whole(clientsOid)}
}

func standOnRow(l *cache.ChangeLog, id int, asked cache.Position, s cache.Snapshot) *cache.Standing {
	return l.Stand(fmt.Appendf(nil, "row/%d", id), asked, s, row(id))
}

// commitRow applies a change to one client.
func commitRow(l *cache.ChangeLog, xid uint64, id int) {
	l.Commit(cache.Change{Xid: xid, Dependencies: []cache.Dependency{clients, cache.Row(clientsOid, 1, fmt.Sprint(id))}})
}

func TestAChangeOfARowOutdatesWhatHoldsIt(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	seven, eight := standOnRow(l, 7, 0, at(100)), standOnRow(l, 8, 0, at(100))
	list := l.Stand([]byte("list"), 0, at(100), []cache.Dependency{cache.Row(clientsOid, 3, "ACTIVE"), cache.Whole(clientsOid)})
	all := stand(l, 0, at(100))
	commitRow(l, 99, 7) // they saw it
	check(t, seven, cache.Current)
	commitRow(l, 100, 7)
	check(t, seven, cache.Outdated)
	check(t, eight, cache.Current)
	check(t, list, cache.Current)
	check(t, all, cache.Outdated)
	l.Commit(cache.Change{Xid: 101, Dependencies: []cache.Dependency{clients, cache.Row(clientsOid, 3, "ENDED"), cache.Row(clientsOid, 3, "ACTIVE")}})
	check(t, list, cache.Outdated)
	check(t, eight, cache.Current)
	l.Commit(cache.Change{Xid: 102, Dependencies: []cache.Dependency{clients, cache.Whole(clientsOid)}})
	check(t, eight, cache.Outdated)
	check(t, standOnRow(l, 8, l.Position(), at(103)), cache.Current)
}

func TestAPurgeOfATableReachesItsRows(t *testing.T) {
	t.Parallel()
	for _, d := range []cache.Dependency{clients, cache.Whole(clientsOid), cache.Row(clientsOid, 1, "7"), cache.Everything} {
		l := cache.NewChangeLog("e")
		asked := l.Position()
		s := standOnRow(l, 7, asked, at(100))
		l.Purge(cache.Purge{Dependencies: []cache.Dependency{d}, Soft: true})
		check(t, s, cache.Softened)
		l.Purge(cache.Purge{Dependencies: []cache.Dependency{d}})
		check(t, s, cache.Outdated)
		check(t, standOnRow(l, 7, asked, at(100)), cache.Outdated) // in flight
		check(t, standOnRow(l, 7, l.Position(), at(100)), cache.Current)
	}
}

// Nobody holds the row when its change comes: the fill that is on its way must learn of it all the same.
func TestAFillInFlightLearnsOfChangesToARowThatNobodyHeld(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	asked := l.Position()
	commitRow(l, 100, 7)
	check(t, standOnRow(l, 7, asked, at(100)), cache.Outdated)
	check(t, standOnRow(l, 8, asked, at(100)), cache.Current)
	check(t, standOnRow(l, 7, asked, at(101)), cache.Current)
	check(t, standOnRow(l, 7, l.Position(), at(100)), cache.Outdated) // decoded before it was visible
	l.Settle(at(101))
	check(t, standOnRow(l, 7, l.Position(), cache.Snapshot{}), cache.Current)
}

func TestChangesOfRowsThatAreForgottenOutdateWhoMayNotHaveSeenThem(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	asked := l.Position()
	held := standOnRow(l, 9_999_999, asked, at(100))
	for xid := uint64(100); xid < 10_100; xid++ {
		commitRow(l, xid, int(xid))
	}
	check(t, held, cache.Current)                                   // a row's own node knows that nothing happened to it
	check(t, standOnRow(l, 5, asked, at(100)), cache.Outdated)      // row 5 was never changed, but nobody can say so any more
	check(t, standOnRow(l, 5, asked, at(10_100)), cache.Current)    // it saw all that was forgotten
	check(t, standOnRow(l, 6, asked, at(7000)), cache.Current)      // of the last 4096 each is remembered
	check(t, standOnRow(l, 9000, asked, at(9000)), cache.Outdated)  // in doubt, and its own
	check(t, standOnRow(l, 9001, asked, at(10_000)), cache.Current) // saw its own
	longWriter := cache.Snapshot{Xmin: 150, Xmax: 10_100, Xip: []uint64{150}}
	check(t, standOnRow(l, 4, l.Position(), longWriter), cache.Outdated) // 150 may be one of the forgotten
	l.Settle(at(10_100))
	for xid := uint64(10_100); xid < 10_200; xid++ {
		commitRow(l, xid, int(xid))
	}
	check(t, standOnRow(l, 3, l.Position(), longWriter), cache.Current) // all who ask now saw what was forgotten
}

func TestAStandbyIsJudgedByWhatItReplayed(t *testing.T) {
	t.Parallel()
	replayed := func(lsn uint64) cache.Snapshot { return cache.Snapshot{Replayed: lsn} }
	l := cache.NewChangeLog("e")
	before := stand(l, 0, replayed(400))
	later := stand(l, 0, replayed(600))
	l.Commit(cache.Change{Xid: 7, LSN: 500, Dependencies: []cache.Dependency{clients}, Visible: true})
	check(t, before, cache.Outdated)
	check(t, later, cache.Current)
	check(t, stand(l, l.Position(), replayed(499)), cache.Outdated) // asked later, and the standby is behind
	check(t, stand(l, l.Position(), replayed(500)), cache.Current)
	l.Settle(at(100)) // what is visible on the primary may not be replayed
	check(t, stand(l, l.Position(), replayed(499)), cache.Outdated)
	// Of an own write the LSN is not known until the stream brings it.
	commit(l, 8, true)
	check(t, stand(l, l.Position(), replayed(1<<40)), cache.Outdated)
	l.Commit(cache.Change{Xid: 8, LSN: 700, Dependencies: []cache.Dependency{clients}})
	check(t, stand(l, l.Position(), replayed(700)), cache.Current)
	// The same once the changes are forgotten.
	for xid := uint64(100); xid < 300; xid++ {
		l.Commit(cache.Change{Xid: xid, LSN: xid * 10, Dependencies: []cache.Dependency{clients}, Visible: true})
	}
	check(t, stand(l, l.Position(), replayed(2000)), cache.Outdated)
	check(t, stand(l, l.Position(), replayed(2990)), cache.Current)
	// Of unknown transactions only the newest is remembered: it stands for those of which the LSN is not known, too.
	unknown := func(lsn uint64) {
		l.Commit(cache.Change{LSN: lsn, Dependencies: []cache.Dependency{clients}})
	}
	unknown(4000)
	unknown(3500)
	check(t, stand(l, l.Position(), replayed(3999)), cache.Outdated)
	check(t, stand(l, l.Position(), replayed(4000)), cache.Current)
	unknown(0)
	unknown(5000)
	check(t, stand(l, l.Position(), replayed(1<<40)), cache.Outdated)
}

// What is forgotten at an unknown LSN is beyond all that a standby may have replayed.
func TestAStandbyIsNotKnownToHaveReplayedWhatIsForgotten(t *testing.T) {
	t.Parallel()
	for _, visible := range []bool{true, false} {
		l := cache.NewChangeLog("e")
		for xid := uint64(100); xid < 5000; xid++ {
			c := cache.Change{Xid: xid, LSN: xid, Dependencies: []cache.Dependency{clients}, Visible: visible}
			if xid < 200 {
				c.LSN = 0
			}
			l.Commit(c)
		}
		check(t, stand(l, l.Position(), cache.Snapshot{Replayed: 1 << 40}), cache.Outdated)
		check(t, stand(l, l.Position(), at(5000)), cache.Current)
		l.Settle(at(5000)) // the primary's, all the same
		for xid := uint64(5000); xid < 8000; xid++ {
			l.Commit(cache.Change{Xid: xid, LSN: xid, Dependencies: []cache.Dependency{clients}})
		}
		check(t, stand(l, l.Position(), cache.Snapshot{Replayed: 1 << 40}), cache.Outdated)
	}
}

func TestDependenciesReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		oid, column, value := rapid.Uint32().Draw(t, "oid"), rapid.Int16().Draw(t, "column"), rapid.String().Draw(t, "value")
		d := cache.Row(oid, column, value)
		if o, c, v, ok := d.Row(); !ok || o != oid || c != column || v != value {
			t.Fatalf("%q reads as %d %d %q %t", d, o, c, v, ok)
		}
		for _, d := range []cache.Dependency{d, cache.Relation(oid), cache.Whole(oid)} {
			if o, ok := d.Table(); !ok || o != oid {
				t.Fatalf("%q is of table %d, %t", d, o, ok)
			}
		}
	})
	for _, d := range []cache.Dependency{"", cache.Everything, cache.Tag("row:1:2:3"), cache.Rule("whole:1"), "row:", "row:1", "row:x:1:2", "row:99999999999:1:2", "relation:", "whole:-1"} {
		if oid, ok := d.Table(); ok {
			t.Errorf("%q is of table %d", d, oid)
		}
		if _, _, _, ok := d.Row(); ok {
			t.Errorf("%q is a row", d)
		}
	}
	for _, d := range []cache.Dependency{"row:1:", "row:1:x:3", "row:1:99999:3", cache.Relation(1), cache.Whole(1)} {
		if _, _, _, ok := d.Row(); ok {
			t.Errorf("%q is a row", d)
		}
	}
}

// rowsDatabase has rows that hold the xid of whoever wrote them last, and at most one writer at a time.
type rowsDatabase struct {
	mu      sync.Mutex
	next    uint64
	running uint64 // 0: nobody writes
	rows    [16]uint64
}

func (d *rowsDatabase) begin() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = d.next
	d.next++
	return d.running
}

func (d *rowsDatabase) end(xid uint64, id int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows[id], d.running = xid, 0
}

func (d *rowsDatabase) snapshot() cache.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running != 0 {
		return cache.Snapshot{Xmin: d.running, Xmax: d.next, Xip: []uint64{d.running}}
	}
	return at(d.next)
}

func (d *rowsDatabase) read(id int) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rows[id]
}

// On real memory: rows are written, stored, read and evicted at once, and their nodes come and go. Some
// changes are applied before they are visible.
func TestConcurrentRows(t *testing.T) {
	t.Parallel()
	type response struct {
		*cache.Standing
		body uint64
	}
	l, db := cache.NewChangeLog("e"), rowsDatabase{next: 1}
	const ids = len(db.rows)
	var applied [ids]atomic.Uint64
	var stored [ids]atomic.Pointer[response]
	var wg sync.WaitGroup
	done := make(chan struct{})
	for worker := range uint64(4) {
		rng := rand.New(rand.NewPCG(worker, 1))
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				id := rng.IntN(ids)
				known := applied[id].Load()
				if r := stored[id].Load(); r != nil && r.Check() == cache.Current {
					if r.body < known {
						t.Errorf("served %d of row %d after %d was applied", r.body, id, known)
						return
					}
					if rng.IntN(4) == 0 {
						stored[id].Store(nil)
					}
					continue
				}
				asked := l.Position()
				s := db.snapshot()
				body := db.read(id)
				stored[id].Store(&response{standOnRow(l, id, asked, s), body})
			}
		})
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range 20_000 {
		id := rng.IntN(ids)
		xid := db.begin()
		c := cache.Change{Xid: xid, Dependencies: []cache.Dependency{clients, row(id)[rng.IntN(50)/49]}} // Whole, once in 50
		early := rng.IntN(2) == 0
		if early {
			l.Commit(c)
		}
		db.end(xid, id)
		if !early {
			l.Commit(c)
		}
		applied[id].Store(xid)
		switch {
		case i%2000 == 0:
			l.NewEpoch(fmt.Sprint(i))
		case i%100 == 0:
			l.Advance(cache.Instant(i), at(xid+1))
		}
	}
	close(done)
	wg.Wait()
}
