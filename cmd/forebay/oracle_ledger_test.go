package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	oracleRows   = 40
	oracleGroups = 4
	groupSpan    = 8         // versions before a row goes to the next group
	neverCommits = 1_000_000 // what is added to a version that is rolled back
)

// groupOf is the group of a row's version; the statements that write have the same formula.
func groupOf(id int, v int64) int { return int((v/groupSpan + int64(id)) % oracleGroups) }

// ledger knows of every row which versions may be served. Safe for concurrent use.
type ledger struct {
	mu   sync.Mutex // guards the rows' acks
	rows [oracleRows]ledgerRow
}

// ledgerRow is one row, whose version counts up.
type ledgerRow struct {
	turn sync.Mutex // held by whoever writes the row
	v    int64      // the version that is committed; guarded by turn

	floor atomic.Int64 // nothing older may be served: forebay has applied this one
	acked atomic.Int64 // nothing older may be read: its commit was acknowledged
	begun atomic.Int64 // nothing newer may be seen: nobody has begun to write it
	acks  []ack        // acknowledged, and not known to be applied yet; oldest first
}

// ack is a commit that was acknowledged. A value.
type ack struct {
	v  int64
	at time.Time
}

func raise(a *atomic.Int64, v int64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}

// begin notes that the next version of each row is about to be written. The caller has their turns.
func (l *ledger) begin(ids []int) {
	for _, id := range ids {
		raise(&l.rows[id].begun, l.rows[id].v+1)
	}
}

// commit notes that the rows were acknowledged at these versions. Through forebay means that it may not serve
// an older one from now on.
func (l *ledger) commit(versions map[int]int64, throughForebay bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, v := range versions {
		r := &l.rows[id]
		r.v = v
		raise(&r.begun, v)
		raise(&r.acked, v)
		r.acks = append(r.acks, ack{v, now})
		if throughForebay {
			raise(&r.floor, v)
		}
	}
}

// applied raises the floors to all that was acknowledged before the moment.
func (l *ledger) applied(asOf time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows {
		r := &l.rows[i]
		n := 0
		for n < len(r.acks) && r.acks[n].at.Before(asOf) {
			raise(&r.floor, r.acks[n].v)
			n++
		}
		r.acks = append(r.acks[:0], r.acks[n:]...)
	}
}

// restart takes what a crash has left for all there ever was, and returns how many versions it took back. The
// caller has all turns.
func (l *ledger) restart(versions map[int]int64) (lost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, v := range versions {
		r := &l.rows[id]
		lost += r.v - v
		r.v, r.acks = v, nil
		r.floor.Store(v)
		r.acked.Store(v)
		r.begun.Store(v)
	}
	return lost
}

// span is the versions of a row that an answer may show. A value.
type span struct{ from, to int64 }

// look notes what must be seen by a request that begins now: of what is served, and of what is read.
func (l *ledger) look(id int) (served, read int64) {
	r := &l.rows[id]
	return r.floor.Load(), r.acked.Load()
}

// within returns what is wrong with a version of the row; "" if nothing is.
func (s span) within(id int, v int64) string {
	switch {
	case v < s.from:
		return fmt.Sprintf("STALE: row %d is served at version %d; %d had been applied", id, v, s.from)
	case v > s.to:
		return fmt.Sprintf("UNREAL: row %d is served at version %d, and nobody has written more than %d", id, v, s.to)
	}
	return ""
}

// mayBeIn reports whether one of the versions is in the group, or outside of it.
func (s span) mayBeIn(id, group int, inside bool) bool {
	for v := s.from; v <= s.to && v < s.from+2*groupSpan; v++ {
		if (groupOf(id, v) == group) == inside {
			return true
		}
	}
	return false
}
