package cache

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// everything is a world in which all that the oracle knows of may happen.
var everything = plan{outages: true, tables: true, standby: true}

// visibly judges by what users can see: a change counts once it was applied and is visible. It is for those
// who are to be found wrong; the rule keeps to every change that was applied.
func visibly(p plan) plan {
	p.lenient = true
	return p
}

// drawBounds makes a log forget early, in most worlds.
func drawBounds(rng *rand.Rand) bounds {
	b := defaultBounds()
	if rng.IntN(8) == 0 {
		return b
	}
	draw := func(max int) int { return 1 + rng.IntN(max) }
	b.marksPerNode, b.marksPerRow, b.marksPerRing, b.marksOfRings = draw(40), draw(6), draw(40), draw(80)
	if rng.IntN(4) == 0 {
		b.nodes, b.rings = draw(8), rng.IntN(3)
	}
	return b
}

func exactly(without removed) func(*rand.Rand) keeper {
	return func(rng *rand.Rand) keeper { return newExact(drawBounds(rng), without) }
}

// What is served holds every change that had been applied when it was asked for, whatever happens when.
func TestOracleFindsNothingStale(t *testing.T) {
	t.Parallel()
	const worlds, hits = 20, 60_000
	fresh := uint64(time.Now().UnixNano()) // one that nobody has tried; it is named if it fails
	for i := range uint64(worlds) {
		seed := i
		if i == worlds-1 {
			seed = fresh
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(seed, everything, exactly(removed{}))
			w.run(hits)
			if w.stale != "" {
				t.Fatal(w.stale)
			}
			if w.counts.hits < hits {
				t.Fatalf("seed %d: only %v", seed, w.counts)
			}
			t.Logf("seed %d: %v", seed, w.counts)
		})
	}
}

// The oracle sees what it claims to exclude: without any one piece of the rule it finds a stale response.
func TestOracleNeedsEachPieceOfTheRule(t *testing.T) {
	t.Parallel()
	for name, without := range map[string]removed{
		"visibility": {visibility: true}, "admission": {admission: true}, "writers": {writers: true}, "after": {after: true},
		"epoch": {epoch: true}, "floor": {floor: true}, "ring": {ring: true}, "whole": {whole: true}, "old value": {oldValue: true},
		"order of heartbeats": {order: true}, "standby": {standby: true}, "snapshot first": {first: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findsStale(t, visibly(everything), exactly(without))
		})
	}
}

// What most caches do, in the same worlds but without outages, standbys and late tables.
func TestOracleSeesWhatOthersServe(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]func(*rand.Rand) keeper{
		"delete on change": func(*rand.Rand) keeper { return &generations{of: map[Dependency]uint64{}} },
		"leases":           func(*rand.Rand) keeper { return &generations{of: map[Dependency]uint64{}, leases: true} },
		"LSN watermark":    func(*rand.Rand) keeper { return &watermark{of: map[Dependency]uint64{}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findsStale(t, visibly(plan{}), keep)
		})
	}
	t.Run("the rule", func(t *testing.T) {
		t.Parallel()
		for seed := range uint64(4) {
			w := newWorld(seed, visibly(plan{}), exactly(removed{}))
			w.run(20_000)
			if w.stale != "" || w.counts.hits < 20_000 {
				t.Fatalf("seed %d: %s %v", seed, w.stale, w.counts)
			}
		}
	})
}

func findsStale(t *testing.T, p plan, keep func(*rand.Rand) keeper) {
	t.Helper()
	reads := 0
	for seed := range uint64(40) {
		w := newWorld(seed, p, keep)
		w.run(50_000)
		reads += w.counts.hits
		if w.stale != "" {
			t.Logf("after %d checked reads: %s", reads, w.stale)
			return
		}
	}
	t.Fatalf("nothing stale in %d checked reads of seeds 0 to 39", reads)
}

// TestSoak runs the oracle over as many checked reads as FOREBAY_SOAK says, from the seed that FOREBAY_SEED
// says or a new one.
func TestSoak(t *testing.T) {
	total, err := strconv.Atoi(os.Getenv("FOREBAY_SOAK"))
	if err != nil {
		t.Skip("FOREBAY_SOAK does not say how many reads")
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("FOREBAY_SEED"), 10, 64); err == nil {
		seed = s
	}
	const perWorld = 1_000_000
	var sum counts
	began := time.Now()
	for first := seed; sum.hits < total; seed++ {
		w := newWorld(seed, everything, exactly(removed{}))
		w.run(min(perWorld, total-sum.hits))
		sum.add(w.counts)
		if w.stale != "" {
			t.Fatalf("soak from seed %d: %s", first, w.stale)
		}
		if w.counts.hits == 0 {
			t.Fatalf("soak from seed %d: nothing is served in world %d: %v", first, seed, w.counts)
		}
		if seed%16 == 0 || sum.hits >= total {
			fmt.Printf("soak: seeds %d to %d, %v, stale: 0, %s\n", first, seed, sum, time.Since(began).Round(time.Second))
		}
	}
}

func (c *counts) add(o counts) {
	c.reads, c.hits, c.fills, c.stored, c.refused = c.reads+o.reads, c.hits+o.hits, c.fills+o.fills, c.stored+o.stored, c.refused+o.refused
	c.outdated, c.needless, c.commits, c.crashes = c.outdated+o.outdated, c.needless+o.needless, c.commits+o.commits, c.crashes+o.crashes
	c.epochs, c.steps = c.epochs+o.epochs, c.steps+o.steps
}
