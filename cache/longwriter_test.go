package cache_test

import (
	"math/rand/v2"
	"testing"

	"forebay/cache"
)

// A writer that lives for ever holds xmin back, and others commit more often than is remembered between two heartbeats,
// the news of which comes late. Still everything can be stored, and nothing is outdated but by a change that
// it did not see.
func TestALongWriterKeepsNothingFromBeingStored(t *testing.T) {
	t.Parallel()
	const (
		ids        = 2000
		perBeat    = 1600
		longWriter = 50_000
	)
	rng := rand.New(rand.NewPCG(1, 2))
	l := cache.NewChangeLog("e")
	next := uint64(47_000) // what is forgotten lies on both sides of the long writer's xid
	snapshot := func() cache.Snapshot {
		if next <= longWriter {
			return at(next)
		}
		return cache.Snapshot{Xmin: longWriter, Xmax: next, Xip: []uint64{longWriter}}
	}
	var stored [ids]*cache.Standing
	var all *cache.Standing
	var lastChanged [ids]uint64
	for id := range lastChanged {
		lastChanged[id] = 1
	}
	late := snapshot()
	for range 20_000 {
		xid := next
		next++
		if xid == longWriter {
			continue
		}
		id := rng.IntN(ids)
		commitRow(l, xid, id)
		lastChanged[id] = xid
		if xid%perBeat == 0 {
			l.Advance(cache.Instant(xid), late)
			late = snapshot()
		}
		for _, id := range []int{id, rng.IntN(ids)} {
			s := stored[id]
			if s != nil && s.Check() == cache.Current {
				if !s.Snapshot().Sees(lastChanged[id]) {
					t.Fatalf("row %d is current, and lacks %d", id, lastChanged[id])
				}
				continue
			}
			if s != nil && s.Snapshot().Sees(lastChanged[id]) {
				t.Fatalf("row %d is outdated by %+v, and was changed by %d last, which it saw", id, s.Cause(), lastChanged[id])
			}
			stored[id] = standOnRow(l, id, l.Position(), snapshot())
			if stored[id].Check() != cache.Current {
				t.Fatalf("row %d cannot be stored after %d: %+v", id, xid, stored[id].Cause())
			}
			if rng.IntN(10) == 0 {
				stored[id] = nil
			}
		}
		if xid%8 == 0 && (all == nil || all.Check() == cache.Outdated) {
			if all = stand(l, l.Position(), snapshot()); all.Check() != cache.Current {
				t.Fatalf("the list cannot be stored after %d: %+v", xid, all.Cause())
			}
		}
	}
}
