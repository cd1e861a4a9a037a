package cache_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"forebay/cache"
)

var clients = cache.Relation(16384)

// at returns a snapshot that sees everything below xid.
func at(xid uint64) cache.Snapshot { return cache.Snapshot{Xmin: xid, Xmax: xid} }

func stand(l *cache.ChangeLog, asked cache.Position, s cache.Snapshot) *cache.Standing {
	return l.Stand([]byte("key"), asked, s, []cache.Dependency{clients})
}

func commit(l *cache.ChangeLog, xid uint64, visible bool) {
	l.Commit(cache.Change{Xid: xid, Dependencies: []cache.Dependency{clients}, Visible: visible})
}

func check(t *testing.T, s *cache.Standing, want cache.Verdict) {
	t.Helper()
	for range 2 { // the second look must not forget what the first found
		if got := s.Check(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func TestAResponseIsCurrentUntilAChangeThatItDidNotSee(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	s := stand(l, l.Position(), at(100))
	check(t, s, cache.Current)
	commit(l, 99, true)
	check(t, s, cache.Current)
	l.Commit(cache.Change{Xid: 150, Dependencies: []cache.Dependency{cache.Relation(1)}})
	check(t, s, cache.Current)
	commit(l, 100, true)
	check(t, s, cache.Outdated)
	commit(l, 50, true)
	check(t, s, cache.Outdated)
}

// Decoding delivers some commits before new snapshots see them.
func TestAChangeMarkedBeforeItIsVisibleOutdatesWhatWasReadMeanwhile(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	commit(l, 100, false)
	between := stand(l, l.Position(), at(100)) // asked after the mark, in a snapshot that does not see it
	after := stand(l, l.Position(), at(101))
	check(t, between, cache.Outdated)
	check(t, after, cache.Current)
}

func TestAChangeThatCameWhileAFillWasInFlightOutdatesIt(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	asked := l.Position()
	commit(l, 100, true)
	check(t, stand(l, asked, at(100)), cache.Outdated)
	check(t, stand(l, asked, at(101)), cache.Current)
}

func TestWithoutASnapshotOnlyTheOrderOfAskingCounts(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	before := stand(l, l.Position(), cache.Snapshot{})
	commit(l, 7, true)
	after := stand(l, l.Position(), cache.Snapshot{})
	check(t, before, cache.Outdated)
	check(t, after, cache.Current)
	commit(l, 8, false)
	check(t, after, cache.Outdated)
	check(t, stand(l, l.Position(), cache.Snapshot{}), cache.Outdated) // 8 may still be invisible
	l.Settle(at(9))
	check(t, stand(l, l.Position(), cache.Snapshot{}), cache.Current)
}

func TestAnUnknownTransactionOutdatesWhatWasAskedForBefore(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	before := stand(l, l.Position(), at(1<<40))
	ttl := stand(l, l.Position(), cache.AllSeeing())
	for range 200 { // many of them, so that they would overflow what is remembered if each were
		commit(l, 0, false)
	}
	check(t, before, cache.Outdated)
	check(t, stand(l, l.Position(), at(5)), cache.Current)
	check(t, stand(l, l.Position()-1, at(1<<40)), cache.Outdated)
	check(t, ttl, cache.Current)
}

func TestPurgesReachWhatStandsAndWhatIsInFlight(t *testing.T) {
	t.Parallel()
	for _, p := range []cache.Purge{
		{Dependencies: []cache.Dependency{clients}},
		{Dependencies: []cache.Dependency{cache.Everything}},
		{KeyPrefixes: [][]byte{[]byte("ke")}},
		{KeyPrefixes: [][]byte{[]byte("other"), {}}},
	} {
		l := cache.NewChangeLog("e")
		asked := l.Position()
		standing := stand(l, asked, at(100))
		ttl := stand(l, asked, cache.AllSeeing())
		check(t, standing, cache.Current)
		l.Purge(p)
		check(t, standing, cache.Outdated)
		check(t, ttl, cache.Outdated)
		check(t, stand(l, asked, at(1<<40)), cache.Outdated)
		check(t, stand(l, l.Position(), at(100)), cache.Current)
	}
	l := cache.NewChangeLog("e")
	other := stand(l, 0, at(100))
	l.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Tag("t")}, KeyPrefixes: [][]byte{[]byte("keyx"), []byte("k2")}})
	check(t, other, cache.Current)
}

func TestASoftPurgeExpiresAndAHardOneAfterItOutdates(t *testing.T) {
	t.Parallel()
	for _, p := range []cache.Purge{{Dependencies: []cache.Dependency{clients}}, {KeyPrefixes: [][]byte{[]byte("k")}}} {
		l := cache.NewChangeLog("e")
		s := stand(l, 0, at(100))
		p.Soft = true
		l.Purge(p)
		inFlight := stand(l, 0, at(100))
		check(t, s, cache.Softened)
		check(t, inFlight, cache.Softened)
		check(t, stand(l, l.Position(), at(100)), cache.Current)
		commit(l, 3, true)
		check(t, s, cache.Softened)
		p.Soft = false
		l.Purge(p)
		check(t, s, cache.Outdated)
	}
}

func TestKeyPurgesThatAreForgottenStillHold(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	idle := stand(l, 0, at(100))
	asked := l.Position()
	l.Purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("key")}})
	after := stand(l, l.Position(), at(100))
	kept := l.Stand([]byte("looked at"), l.Position(), at(100), nil)
	for i := range 5000 {
		l.Purge(cache.Purge{KeyPrefixes: [][]byte{fmt.Appendf(nil, "other/%d", i)}})
		check(t, kept, cache.Current)
	}
	check(t, idle, cache.Outdated)
	check(t, stand(l, asked, at(100)), cache.Outdated) // in flight all the while
	check(t, after, cache.Outdated)                    // not purged, but nobody can say so any more
	check(t, stand(l, l.Position(), at(100)), cache.Current)
}

func TestForgottenChangesOutdateOnlyWhoMayNotHaveSeenThem(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	old := stand(l, 0, at(100))
	looked := stand(l, 0, cache.Snapshot{Xmin: 90, Xmax: 10_000, Xip: []uint64{90}}) // a long writer holds xmin back
	for xid := uint64(100); xid < 2200; xid++ {
		commit(l, xid, true)
		check(t, looked, cache.Current)
	}
	check(t, old, cache.Outdated)
	check(t, stand(l, 0, at(10_000)), cache.Current)
	check(t, stand(l, l.Position(), cache.Snapshot{Xmin: 90, Xmax: 2200, Xip: []uint64{90}}), cache.Current)
	check(t, stand(l, l.Position()-1100, cache.Snapshot{Xmin: 90, Xmax: 2200, Xip: []uint64{90}}), cache.Outdated) // a refill, never a guess
	check(t, stand(l, l.Position()-1, at(2199)), cache.Outdated)
	// Room was made at the 65th change and at each 48th from there on, each time of the oldest 48: the last of
	// them was 2163, applied at 2064. Who asked at 2063 may lack it, who asked at 2064 may not.
	all := cache.Snapshot{Xmin: 2163, Xmax: 10_000, Xip: []uint64{2163}}
	check(t, stand(l, 2063, all), cache.Outdated)
	check(t, stand(l, 2064, all), cache.Current)
}

func TestForgottenChangesInDoubtAreSettledByAHeartbeat(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	longWriter := func(xmax uint64) cache.Snapshot {
		return cache.Snapshot{Xmin: 150, Xmax: xmax, Xip: []uint64{150}}
	}
	for xid := uint64(100); xid < 2200; xid++ {
		if xid != 150 {
			commit(l, xid, false)
		}
	}
	beforeBeat := l.Position()
	check(t, stand(l, beforeBeat, longWriter(2200)), cache.Current) // 150 is none of the forgotten
	check(t, stand(l, beforeBeat, cache.Snapshot{Xmin: 151, Xmax: 2200, Xip: []uint64{151}}), cache.Outdated)
	check(t, stand(l, beforeBeat, at(2200)), cache.Current)
	l.Settle(longWriter(2200))
	check(t, stand(l, l.Position(), at(2200)), cache.Current)
	for xid := uint64(2200); xid < 3300; xid++ {
		commit(l, xid, false)
	}
	l.Settle(at(3300)) // the long writer ended
	check(t, stand(l, l.Position(), cache.Snapshot{}), cache.Current)
	check(t, stand(l, l.Position()-1, cache.Snapshot{}), cache.Outdated)
	check(t, stand(l, l.Position()-1, longWriter(3300)), cache.Current)
	check(t, stand(l, l.Position()-1, cache.Snapshot{Xmin: 2250, Xmax: 3300, Xip: []uint64{2250}}), cache.Outdated)
}

// A floor that was doubt holds for who asked before the heartbeat, and for nobody else.
func TestDoubtThatIsSettledBecomesAFloor(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	apply := func(from, to uint64) {
		for xid := from; xid < to; xid++ {
			commit(l, xid, false)
		}
	}
	apply(100, 2200) // the last 1024 are remembered, or fewer; the others are in doubt: 100 to 1379
	before := l.Position()
	l.Settle(at(1380)) // of those that are remembered none
	apply(2200, 3000)
	lacks150 := cache.Snapshot{Xmin: 150, Xmax: 3000, Xip: []uint64{150}}
	check(t, stand(l, before, lacks150), cache.Outdated)
	check(t, stand(l, before+1, lacks150), cache.Current) // it cannot be lacking it
	check(t, stand(l, before, at(3000)), cache.Current)
}

// What is in doubt is settled before more gets into doubt: a writer that begins later does not keep it there.
func TestDoubtIsSettledBeforeItGrows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dependencies func(xid uint64) []cache.Dependency
		stand        func(l *cache.ChangeLog, s cache.Snapshot) *cache.Standing
	}{
		"of a table": {
			func(uint64) []cache.Dependency { return []cache.Dependency{clients} },
			func(l *cache.ChangeLog, s cache.Snapshot) *cache.Standing { return stand(l, l.Position(), s) },
		},
		"of its rows": {
			func(xid uint64) []cache.Dependency { return row(int(xid))[:1] },
			func(l *cache.ChangeLog, s cache.Snapshot) *cache.Standing { return standOnRow(l, 5, l.Position(), s) },
		},
	} {
		l := cache.NewChangeLog("e")
		apply := func(from, to uint64) {
			for xid := from; xid < to; xid++ {
				l.Commit(cache.Change{Xid: xid, Dependencies: c.dependencies(xid)})
			}
		}
		apply(100, 10_000)
		l.Settle(at(10_000)) // and now 10 000 begins, which lives long
		apply(10_001, 20_000)
		if got := c.stand(l, cache.Snapshot{Xmin: 10_000, Xmax: 20_000, Xip: []uint64{10_000}}).Check(); got != cache.Current {
			t.Errorf("%s: %s, although it saw them all", name, got)
		}
		if got := c.stand(l, cache.Snapshot{Xmin: 10_005, Xmax: 20_000, Xip: []uint64{10_005}}).Check(); got != cache.Outdated {
			t.Errorf("%s: %s, although it may lack one", name, got)
		}
	}
}

func TestAHeartbeatSaysNothingOfWhoAskedBeforeIt(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	commit(l, 100, false)
	asked := l.Position() // a fill asks, and its snapshot does not see 100, which then becomes visible
	l.Settle(at(101))
	check(t, stand(l, asked, at(100)), cache.Outdated)
	check(t, stand(l, l.Position(), cache.Snapshot{}), cache.Current)
	// The same once the change has been forgotten.
	for xid := uint64(101); xid < 170; xid++ {
		commit(l, xid, true)
	}
	check(t, stand(l, asked, cache.Snapshot{Xmin: 100, Xmax: 1000, Xip: []uint64{100}}), cache.Outdated)
}

func TestANewEpochOutdatesEverythingAndForgetsItsTransactions(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("first")
	commit(l, 1000, true)
	asked := l.Position()
	s := stand(l, asked, at(2000))
	ttl := stand(l, asked, cache.AllSeeing())
	l.NewEpoch("second")
	check(t, s, cache.Outdated)
	check(t, ttl, cache.Outdated)
	check(t, stand(l, asked, at(1<<40)), cache.Outdated) // in flight
	if s.Epoch() != "first" || l.Epoch() != "second" {
		t.Errorf("epochs %q and %q", s.Epoch(), l.Epoch())
	}
	// xids are handed out again from below: what the ended epoch called 1000 is not waited for
	again := stand(l, l.Position(), at(500))
	check(t, again, cache.Current)
	if again.Epoch() != "second" {
		t.Errorf("stands in %q", again.Epoch())
	}
	commit(l, 501, true)
	check(t, again, cache.Outdated)
}

// Who learns late how a transaction of an ended epoch ended must not take its id from the one that has it now.
func TestAnEndedEpochsTransactionIsNotAnotherOfItsNumber(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("first")
	before := l.Epoch()
	l.NewEpoch("second")
	stored := stand(l, l.Position(), at(500))
	l.Commit(cache.Change{Xid: 501, Epoch: before, Visible: true, Dependencies: []cache.Dependency{clients}})
	check(t, stored, cache.Outdated) // it may have been visible
	stored = stand(l, l.Position(), at(500))
	check(t, stored, cache.Current)
	l.Commit(cache.Change{Xid: 501, Epoch: l.Epoch(), Dependencies: []cache.Dependency{clients}})
	check(t, stored, cache.Outdated)
}

func TestDependenciesBeyondTheBoundShareOneNode(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	const n = 1<<16 + 100
	tag := func(i int) cache.Dependency { return cache.Tag(fmt.Sprint(i)) }
	standings := make([]*cache.Standing, n)
	for i := range n {
		standings[i] = l.Stand([]byte("key"), l.Position(), at(100), []cache.Dependency{tag(i)})
	}
	l.Commit(cache.Change{Xid: 200, Dependencies: []cache.Dependency{tag(7)}})
	for i, s := range standings {
		want := cache.Current
		if i == 7 {
			want = cache.Outdated
		}
		check(t, s, want)
	}
	l.Commit(cache.Change{Xid: 201, Dependencies: []cache.Dependency{tag(n - 1)}})
	check(t, standings[n-1], cache.Outdated)
	check(t, standings[n-2], cache.Outdated) // shares the node: a refill, never a guess
	check(t, standings[8], cache.Current)
	l.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}})
	check(t, standings[8], cache.Outdated)
}

func TestTheLogKeepsNothingOfItsCallersBuffers(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	key, prefix := []byte("key/1"), []byte("key/")
	s := l.Stand(key, 0, at(100), nil)
	copy(key, "other")
	l.Purge(cache.Purge{KeyPrefixes: [][]byte{prefix}})
	clear(prefix)
	check(t, s, cache.Outdated)
	if s.Key() != "key/1" {
		t.Errorf("key %q", s.Key())
	}
}

// What a schedule of steps cannot show: readers, fillers, writers and purgers at once, on real memory.
func TestConcurrentFillsChangesAndLookups(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	var next, committed atomic.Uint64 // the database: one row, whose value is the last committed xid
	next.Store(1)
	var row sync.Mutex
	var stored atomic.Pointer[struct {
		*cache.Standing
		body uint64
	}]
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				known := committed.Load() // all that was acknowledged when the lookup began
				if r := stored.Load(); r != nil && r.Check() != cache.Outdated && r.body < known {
					t.Errorf("served %d after %d was acknowledged", r.body, known)
					return
				}
				asked := l.Position()
				row.Lock()
				body := next.Load() - 1
				row.Unlock()
				s := l.Stand([]byte("key"), asked, at(body+1), []cache.Dependency{clients})
				if s.Check() != cache.Outdated {
					stored.Store(&struct {
						*cache.Standing
						body uint64
					}{s, body})
				}
			}
		})
	}
	for i := range 20_000 {
		row.Lock()
		xid := next.Load()
		next.Store(xid + 1)
		row.Unlock()
		commit(l, xid, true)
		committed.Store(xid)
		if i%100 == 0 {
			l.Purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("key")}})
		}
	}
	close(done)
	wg.Wait()
}

func TestCheckAllocatesNothing(t *testing.T) {
	l := cache.NewChangeLog("e")
	s := l.Stand([]byte("key"), 0, cache.Snapshot{Xmin: 1, Xmax: 1 << 40}, []cache.Dependency{clients, cache.Tag("t"), cache.Rule("r")})
	xid := uint64(1)
	if n := testing.AllocsPerRun(1000, func() {
		if s.Check() != cache.Current {
			t.Fatal("not current")
		}
	}); n != 0 {
		t.Errorf("%v allocations a check", n)
	}
	change := cache.Change{Dependencies: []cache.Dependency{clients}, Visible: true}
	if n := testing.AllocsPerRun(1000, func() {
		change.Xid = xid
		xid++
		l.Commit(change)
		if s.Check() != cache.Current {
			t.Fatal("not current")
		}
	}); n != 0 {
		t.Errorf("%v allocations a change and a check", n)
	}
}

func BenchmarkCheckUntouched(b *testing.B) {
	l := cache.NewChangeLog("e")
	s := stand(l, 0, at(1<<40))
	b.ReportAllocs()
	for b.Loop() {
		s.Check()
	}
}

func BenchmarkCheckAfterAChangeElsewhere(b *testing.B) {
	l := cache.NewChangeLog("e")
	s := l.Stand([]byte("key"), 0, at(1<<40), []cache.Dependency{clients, cache.Tag("t"), cache.Rule("r")})
	elsewhere := cache.Change{Xid: 5, Dependencies: []cache.Dependency{cache.Relation(1)}, Visible: true}
	b.ReportAllocs()
	for b.Loop() {
		l.Commit(elsewhere)
		s.Check()
	}
}

func BenchmarkCheckAfterAChangeOfItsTable(b *testing.B) {
	l := cache.NewChangeLog("e")
	s := stand(l, 0, at(1<<60))
	change := cache.Change{Dependencies: []cache.Dependency{clients}, Visible: true}
	b.ReportAllocs()
	for b.Loop() {
		change.Xid++
		l.Commit(change)
		if s.Check() != cache.Current {
			b.Fatal("not current")
		}
	}
}

func BenchmarkStand(b *testing.B) {
	l := cache.NewChangeLog("e")
	for xid := uint64(1); xid < 100; xid++ {
		commit(l, xid, true)
	}
	b.ReportAllocs()
	for b.Loop() {
		stand(l, l.Position(), at(1000))
	}
}

// The cost of a change must not depend on how many responses hang on what it touched.
func BenchmarkCommit(b *testing.B) {
	for _, dependants := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(dependants), func(b *testing.B) {
			l := cache.NewChangeLog("e")
			standings := make([]*cache.Standing, dependants)
			for i := range standings {
				standings[i] = stand(l, 0, at(1<<60))
			}
			change := cache.Change{Dependencies: []cache.Dependency{clients}, Visible: true}
			b.ReportAllocs()
			for b.Loop() {
				change.Xid++
				l.Commit(change)
			}
			if standings[dependants-1].Check() != cache.Current {
				b.Fatal("not current")
			}
		})
	}
}
