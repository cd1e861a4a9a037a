package cache_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"forebay/cache"
)

func TestRowsAllocateNothing(t *testing.T) {
	l := cache.NewChangeLog("e")
	relations := []uint32{clientsOid}
	l.SetFeed(&cache.Feed{Mode: cache.FeedWAL, Live: true, Exported: at(5), Covered: map[uint32]cache.Coverage{clientsOid: {Writers: []uint64{4}}}})
	s := standOnRow(l, 7, l.Position(), at(1<<40))
	held := cache.Change{Dependencies: append([]cache.Dependency{clients}, row(7)[:1]...)}
	other := cache.Change{Dependencies: append([]cache.Dependency{clients}, row(8)[:1]...)}
	xid := uint64(10)
	apply := func(c cache.Change) {
		c.Xid = xid
		xid++
		l.Commit(c)
	}
	for range 10_000 { // as much as is ever remembered
		apply(held)
		apply(other)
	}
	settled := at(1 << 30)
	for what, f := range map[string]func(){
		"a check":                     func() { s.Check() },
		"a change and a check":        func() { apply(held); s.Check() },
		"a change of a row not held":  func() { apply(other); s.Check() },
		"a heartbeat and a check":     func() { l.Settle(cache.Snapshot{Xmin: 5, Xmax: 5}); s.Check() },
		"a question for admission":    func() { l.Admit(9, settled, relations) },
		"the lag":                     func() { l.Lag(5) },
		"the cause of what's current": func() { s.Cause() },
	} {
		want := 0.0
		if what == "a heartbeat and a check" {
			want = 1 // the settlement itself, ten times a second
		}
		if n := testing.AllocsPerRun(1000, f); n > want {
			t.Errorf("%v allocations for %s, want %v", n, what, want)
		}
	}
	if s.Check() != cache.Current {
		t.Fatal("not current")
	}
}

// rowsHeld makes responses on so many rows.
func rowsHeld(l *cache.ChangeLog, n int) []*cache.Standing {
	standings := make([]*cache.Standing, n)
	for i := range standings {
		standings[i] = standOnRow(l, i, 0, at(1<<60))
	}
	return standings
}

func BenchmarkCheckRowUntouched(b *testing.B) {
	l := cache.NewChangeLog("e")
	s := standOnRow(l, 7, 0, at(1<<60))
	b.ReportAllocs()
	for b.Loop() {
		s.Check()
	}
}

// What one change costs the lookups after it: of what it touched, and of all else.
func BenchmarkCheckRowAfterAChangeOf(b *testing.B) {
	const lookups = 1000
	for name, changed := range map[string]func(i uint64) []cache.Dependency{
		"each":     nil,
		"one":      func(i uint64) []cache.Dependency { return []cache.Dependency{clients, row(int(i % lookups))[0]} },
		"another":  func(uint64) []cache.Dependency { return []cache.Dependency{clients, row(lookups)[0]} },
		"no table": func(uint64) []cache.Dependency { return []cache.Dependency{cache.Relation(1)} },
	} {
		b.Run(name, func(b *testing.B) {
			l := cache.NewChangeLog("e")
			standings := rowsHeld(l, lookups)
			if changed == nil {
				changed = func(uint64) []cache.Dependency { return []cache.Dependency{clients, cache.Whole(clientsOid)} }
			}
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				if n%lookups == 0 {
					l.Commit(cache.Change{Xid: n + 1, Dependencies: changed(n / lookups), Visible: true})
				}
				standings[n%lookups].Check()
				n++
			}
		})
	}
}

// A heartbeat is no change, and gives up the places of rows that are gone, some at a time.
func BenchmarkHeartbeat(b *testing.B) {
	for _, rows := range []int{0, 1_000_000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			l := cache.NewChangeLog("e")
			standings := rowsHeld(l, rows)
			b.ReportAllocs()
			for b.Loop() {
				l.Advance(1, at(1<<40))
			}
			runtime.KeepAlive(standings)
		})
	}
}

// The cost of a row's change must not depend on how many rows are held, nor its memory on more than that.
func BenchmarkCommitRow(b *testing.B) {
	for _, dependants := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(dependants), func(b *testing.B) {
			l := cache.NewChangeLog("e")
			standings := rowsHeld(l, dependants)
			changed := make([][]cache.Dependency, min(dependants, 4096))
			for i := range changed {
				changed[i] = append([]cache.Dependency{clients}, row(i * (dependants / len(changed)))[:1]...)
			}
			c := cache.Change{Visible: true}
			b.ReportAllocs()
			for b.Loop() {
				c.Xid++
				c.Dependencies = changed[c.Xid%uint64(len(changed))]
				l.Commit(c)
			}
			if standings[dependants-1].Check() != cache.Current {
				b.Fatal("not current")
			}
		})
	}
}

// Many rows of one transaction cost each as much as few.
func BenchmarkCommitManyRows(b *testing.B) {
	const rows = 10_000
	l := cache.NewChangeLog("e")
	standings := rowsHeld(l, rows)
	c := cache.Change{Dependencies: []cache.Dependency{clients}}
	for i := range rows {
		c.Dependencies = append(c.Dependencies, row(i)[0])
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Xid++
		l.Commit(c)
		l.Settle(at(c.Xid + 1))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
	runtime.KeepAlive(standings)
}

// A fill on a row that nobody holds, beside a full ring.
func BenchmarkStandOnRow(b *testing.B) {
	l := cache.NewChangeLog("e")
	for xid := uint64(1); xid < 10_000; xid++ {
		commitRow(l, xid, int(xid))
	}
	l.Settle(at(10_000))
	deps := make([][]cache.Dependency, 1<<16)
	for i := range deps {
		deps[i] = row(i)
	}
	key := []byte("row/1")
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		l.Stand(key, l.Position(), at(10_000), deps[i%len(deps)])
	}
}

// BenchmarkRowDependants tells what a million rows that are held cost: memory, and the collector's time.
func BenchmarkRowDependants(b *testing.B) {
	const rows = 1_000_000
	measure := func() (size uint64, collection time.Duration) {
		runtime.GC()
		began := time.Now()
		runtime.GC()
		collection = time.Since(began)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.OtherSys + m.MSpanInuse, collection
	}
	for b.Loop() {
		dependencies := make([][]cache.Dependency, rows)
		for i := range dependencies {
			dependencies[i] = row(i)
		}
		l := cache.NewChangeLog("e")
		key := []byte("row/1")
		standings := make([]*cache.Standing, rows)
		empty, _ := measure()
		for i := range standings {
			standings[i] = l.Stand(key, 0, at(1<<60), dependencies[i][1:])
		}
		without, fast := measure()
		clear(standings)
		runtime.GC()
		for i := range standings {
			standings[i] = l.Stand(key, 0, at(1<<60), dependencies[i])
		}
		with, slow := measure()
		b.ReportMetric(float64(without-empty)/rows, "B/standing")
		b.ReportMetric(float64(with-without)/rows, "B/row")
		b.ReportMetric(float64(fast.Microseconds())/1000, "ms/GC-without")
		b.ReportMetric(float64(slow.Microseconds())/1000, "ms/GC-with")
		runtime.KeepAlive(standings)
		runtime.KeepAlive(dependencies)
		runtime.KeepAlive(l)
	}
}
