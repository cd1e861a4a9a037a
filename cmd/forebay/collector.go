package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"forebay/cache/memory"
)

const (
	// gcPercent is how much the heap may grow between two collections, of what a collection has to look into: hits
	// allocate nothing, so that collecting more often costs little, and the usual 100 of everything would double
	// the memory.
	gcPercent = 25

	// gcRoom is what it may grow by in any case, unless gcMost percent of everything are less: a process that stores
	// little has little to look into, and would be at it all the time: misses allocate. More percent would let a heap
	// that is being filled outgrow its share by too much before it is reckoned again.
	gcRoom = 16 << 20 // bytes
	gcMost = 160

	// gcEvery is how often the share is reckoned again. A tier is not filled faster than that matters.
	gcEvery = time.Second

	liveHeap = "/gc/heap/live:bytes"
)

// collector lets the heap grow by a share of what a collection has to look into, which is what it costs. Bodies
// are not: without it, a full tier would need room for garbage as if they were.
type collector struct {
	tier   *memory.Store
	live   [1]metrics.Sample
	set    int // percent
	silent bool
}

// newCollector tells the garbage collector how much is meant to be held, unless the environment does: a full
// memory tier would otherwise let the heap grow to twice its size before a collection.
func newCollector(tier *memory.Store, size int) *collector {
	c := &collector{tier: tier, set: gcMost, silent: os.Getenv("GOGC") != ""}
	c.live[0].Name = liveHeap
	if !c.silent {
		debug.SetGCPercent(gcMost)
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(memory.SuggestedMemoryLimit(size))
	}
	return c
}

// run reckons again and again until ctx ends.
func (c *collector) run(ctx context.Context) error {
	if c.silent {
		return nil
	}
	ticker := time.NewTicker(gcEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		metrics.Read(c.live[:])
		if percent := gcShare(int(c.live[0].Value.Uint64()), c.tier.Bodies()); percent != c.set { // setting it stops everything for a moment
			debug.SetGCPercent(percent)
			c.set = percent
		}
	}
}

// gcShare returns by how many percent a heap may grow of which so many bytes live, and no collection looks into
// so many of these.
func gcShare(live, opaque int) int {
	if live <= 0 {
		return gcMost
	}
	room := max(max(live-opaque, 0)*gcPercent/100, gcRoom)
	return min(max(int(math.Round(float64(room)*100/float64(live))), 1), gcMost)
}
