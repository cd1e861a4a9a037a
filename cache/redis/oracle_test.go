package redis

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"forebay/cache/cachetest"
)

const oracleInstances = 3

// inModel runs a world over a model of Redis, in a time of its own, until so many reads are checked.
func inModel(t *testing.T, seed uint64, without oracleRemoved, only, reads int) *oracleWorld {
	t.Helper()
	var w *oracleWorld
	synctest.Test(t, func(*testing.T) {
		w = newOracleWorld(seed, without)
		w.only = only
		unchecked := without.last || without.passed
		w.people(oracleInstances, newModelServer(unchecked), newModelServer(unchecked))
		defer w.end()
		w.run(reads)
	})
	return w
}

// What an instance takes from another holds every change that the instance itself knows of, whatever becomes of
// Redis, of the chain's owner and of the database.
func TestOracleOverTheChainFindsNothingStale(t *testing.T) {
	t.Parallel()
	const worlds, reads = 20, 25_000
	fresh := uint64(time.Now().UnixNano()) // one that nobody has tried; it is named if it fails
	for i := range uint64(worlds) {
		seed := i
		if i == worlds-1 {
			seed = fresh
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := inModel(t, seed, oracleRemoved{}, 0, reads)
			if w.stale != "" {
				t.Fatal(w.stale)
			}
			if w.counts.shared < reads/50 {
				t.Fatalf("seed %d: only %v", seed, w.counts)
			}
			t.Logf("seed %d: %v", seed, w.counts)
		})
	}
}

// The oracle sees what it claims to exclude: without any one piece of the chain's rule it finds a stale response.
//
// Two pieces are second walls, and not here: that a head behind what was read breaks the chain, and that a chain which
// broke so, ended, forked or cannot be read is not believed again. Whatever Redis shows, an answer to a question comes from
// an owner that appended it behind the last entry that it wrote; an owner of whose entries Redis has lost one, or
// may have taken one that the owner does not know of, appends nothing any more. So no fault of Redis brings an answer
// behind a hole, and while none comes the chain is no longer believed. TestAChainThatIsNotWholeIsNotBelieved holds both, by
// an owner that goes on all the same.
func TestOracleOverTheChainNeedsEachPieceOfTheRule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		without oracleRemoved
		days    int    // in which it is looked for
		seed    uint64 // from which on: from 0 each is found within a minute
	}{
		"predecessor":       {oracleRemoved{predecessor: true}, cuttingDays, 70},
		"trimmed":           {oracleRemoved{trimmed: true}, trimmingDays, 3},
		"memory":            {oracleRemoved{memory: true}, mixedDays, 0},
		"number":            {oracleRemoved{number: true}, crashingDays, 0},
		"present epoch":     {oracleRemoved{present: true}, crashingDays, 17},
		"answer":            {oracleRemoved{answer: true}, crashingDays, 0},
		"coverage":          {oracleRemoved{coverage: true}, mixedDays, 2},
		"columns":           {oracleRemoved{columns: true}, mixedDays, 0},
		"found current":     {oracleRemoved{found: true}, mixedDays, 2},
		"position":          {oracleRemoved{position: true}, mixedDays, 14},
		"process":           {oracleRemoved{process: true}, mixedDays, 0},
		"moment":            {oracleRemoved{moment: true}, mixedDays, 0},
		"begin of the feed": {oracleRemoved{begin: true}, mixedDays, 12},
		"last entry":        {oracleRemoved{last: true}, turningDays, 10},
		"failed write":      {oracleRemoved{passed: true}, failingDays, 22},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reads, shared, first := 0, 0, cachetest.Seed(t, c.seed)
			for seed := first; seed < first+100; seed++ {
				w := inModel(t, seed, c.without, c.days, 50_000)
				reads, shared = reads+w.counts.reads, shared+w.counts.shared
				if w.stale != "" {
					t.Logf("after %d checked reads (%d of them another instance's): %s", reads, shared, w.stale)
					return
				}
			}
			t.Fatalf("nothing stale in %d checked reads (%d of them another instance's)", reads, shared)
		})
	}
}

// TestSoakOverTheChain runs the oracle over as many checked reads as FOREBAY_SOAK_CHAIN says, from the seed that
// FOREBAY_SEED says or a new one.
func TestSoakOverTheChain(t *testing.T) {
	total, err := strconv.Atoi(os.Getenv("FOREBAY_SOAK_CHAIN"))
	if err != nil {
		t.Skip("FOREBAY_SOAK_CHAIN does not say how many reads")
	}
	seed := cachetest.Seed(t, uint64(time.Now().UnixNano()))
	const perWorld = 500_000
	var sum oracleCounts
	began := time.Now()
	for first := seed; sum.reads < total; seed++ {
		w := inModel(t, seed, oracleRemoved{}, 0, min(perWorld, total-sum.reads))
		sum.add(w.counts)
		if w.stale != "" {
			t.Fatalf("soak of the chain from seed %d: %s", first, w.stale)
		}
		if w.counts.shared == 0 {
			t.Fatalf("soak of the chain from seed %d: nothing is shared in world %d: %v", first, seed, w.counts)
		}
		if seed%16 == 0 || sum.reads >= total {
			fmt.Printf("soak of the chain: seeds %d to %d, %v, stale: 0, %s\n", first, seed, sum, time.Since(began).Round(time.Second))
		}
	}
}
