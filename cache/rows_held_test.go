package cache

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"
)

// places counts the rows that the log has a node for, gone or not.
func (r *rows) places() int {
	n := 0
	for i := range r.shards {
		n += len(r.shards[i].nodes)
	}
	return n
}

func standOnRows(l *ChangeLog, from, to int) []*Standing {
	standings := make([]*Standing, 0, to-from)
	for i := from; i < to; i++ {
		standings = append(standings, l.Stand([]byte("key"), 0, Snapshot{Xmin: 9, Xmax: 9}, []Dependency{Row(1, 1, fmt.Sprint(i)), Whole(1)}))
	}
	return standings
}

// Not parallel: it waits for the collector.
func TestRowsThatNobodyHoldsAreGivenUp(t *testing.T) {
	const n = 10_000
	l := NewChangeLog("e")
	standings := standOnRows(l, 0, n)
	if got := l.rows.places(); got != n {
		t.Fatalf("%d places for %d rows", got, n)
	}
	kept := standings[7]
	clear(standings)
	runtime.GC()
	for range shards { // a round of heartbeats
		l.Settle(Snapshot{Xmin: 9, Xmax: 9})
	}
	if got := l.rows.places(); got != 1 {
		t.Errorf("%d places after all but one response are gone", got)
	}
	l.Commit(Change{Xid: 50, Dependencies: []Dependency{Relation(1), Row(1, 1, "7")}})
	if kept.Check() != Outdated {
		t.Error("the one that is left was not told")
	}
	// Without heartbeats, too, places are bounded by what is held.
	for i := range 10 {
		standOnRows(l, i*n, (i+1)*n)
		runtime.GC()
	}
	if got := l.rows.places(); got > 3*n {
		t.Errorf("%d places, and nothing is held", got)
	}
	runtime.KeepAlive(kept)
}

// Not parallel: it waits for the collector.
func TestARowOutlivesTheResponseThatCameFirst(t *testing.T) {
	const n = 1000
	l := NewChangeLog("e")
	stand := func(rows ...int) *Standing {
		dependencies := []Dependency{Whole(1)}
		for _, row := range rows {
			dependencies = append(dependencies, Row(1, 1, fmt.Sprint(row)))
		}
		return l.Stand([]byte("key"), 0, Snapshot{Xmin: 9, Xmax: 9}, dependencies)
	}
	places := func() int {
		runtime.GC()
		for range shards {
			l.Settle(Snapshot{Xmin: 9, Xmax: 9})
		}
		return l.rows.places()
	}
	stand(7)
	kept := stand(7)
	if got := places(); got != 1 {
		t.Errorf("%d places for the row of a response that came second", got)
	}
	l.Commit(Change{Xid: 50, Dependencies: []Dependency{Relation(1), Row(1, 1, "7")}})
	if kept.Check() != Outdated {
		t.Error("a response was not told of its row, which had been another's first")
	}
	// Nor do rows hold each other, of however many responses.
	for i := 100; i < 100+n; i++ {
		kept = stand(i, i+1)
	}
	if got := places(); got != 2 {
		t.Errorf("%d places for two rows", got)
	}
	for i := 100; i < 100+n; i++ {
		stand(i)
		kept = stand(i, i+1)
	}
	if got := places(); got > 3 {
		t.Errorf("%d places for two rows, which others had alone", got)
	}
	runtime.KeepAlive(kept)
}

func TestTwoResponsesOnARowShareItsNode(t *testing.T) {
	t.Parallel()
	l := NewChangeLog("e")
	one, two := standOnRows(l, 7, 8)[0], standOnRows(l, 7, 8)[0]
	if one.nodes[0] != two.nodes[0] || one.nodes[0] == standOnRows(l, 8, 9)[0].nodes[0] {
		t.Error("a node is not a row's")
	}
	if size := unsafe.Sizeof(node{}); size > 24 {
		t.Errorf("a node that nothing happened to takes %d bytes", size)
	}
}

// What row changes cost is bounded, however many relations have them.
func TestRingsAreBoundedTogether(t *testing.T) {
	t.Parallel()
	b := defaultBounds()
	b.marksPerRing, b.marksOfRings, b.marksPerRow, b.rings = 100, 1000, 10, 50
	l := newChangeLog("e", b)
	for xid := uint64(1); xid <= 20_000; xid++ {
		l.Commit(Change{Xid: xid, Dependencies: []Dependency{Row(uint32(xid%80), 1, fmt.Sprint(xid))}})
	}
	if len(l.rows.rings) != b.rings {
		t.Errorf("%d rings", len(l.rows.rings))
	}
	marks := len(l.rows.shared.marks)
	for oid, r := range l.rows.rings {
		marks += len(r.marks)
		if len(r.marks) < b.marksPerRow || len(r.marks) > b.marksPerRing {
			t.Errorf("relation %d has %d marks", oid, len(r.marks))
		}
	}
	if marks > b.marksOfRings+(b.rings+1)*b.marksPerRow || marks != l.rows.marks {
		t.Errorf("%d marks in all rings, %d counted", marks, l.rows.marks)
	}
	// Who lacks one of them is found out in each, remembered or not.
	for xid := uint64(1); xid <= 20_000; xid += 7 {
		row := []Dependency{Row(uint32(xid%80), 1, fmt.Sprint(xid))}
		if l.Stand(nil, 0, Snapshot{Xmin: xid, Xmax: 30_000, Xip: []uint64{xid}}, row).Check() != Outdated {
			t.Fatalf("a response that lacks %d is current", xid)
		}
		if l.Stand(nil, 0, Snapshot{Xmin: 30_000, Xmax: 30_000}, row).Check() != Current {
			t.Fatalf("a response that saw all is outdated")
		}
	}
}
