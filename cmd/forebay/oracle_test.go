package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/cache/cachetest"
)

const (
	oracleWriters = 4
	oracleReaders = 8
)

// effort is how much is checked: so many reads, or as many as the time allows. A value.
type effort struct {
	reads int64
	limit time.Duration
}

// run has writers write and readers read until enough is checked, with faults or without, and then compares
// everything with the database.
func (o *oracle) run(e effort, disturbed bool) {
	began := time.Now()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	defer stop()
	var tasks, reading, writing sync.WaitGroup
	writers, rest := context.WithCancel(ctx)
	defer rest()
	tasks.Go(func() { o.follow(ctx) })
	for n := range oracleWriters {
		writing.Go(func() { o.newWriter(n).run(writers) })
	}
	readers, enough := context.WithCancel(ctx)
	defer enough()
	for n := range oracleReaders {
		reading.Go(func() { o.newReader(n).run(readers) })
	}
	if disturbed {
		n := len(o.due()) + 1
		o.disturb(ctx, effort{e.reads / int64(n), e.limit / time.Duration(n)})
	}
	for o.hits.Load()+o.misses.Load() < e.reads && time.Since(began) < e.limit && !o.failed() && ctx.Err() == nil {
		<-time.After(5 * time.Millisecond)
	}
	rest()
	writing.Wait()
	enough()
	reading.Wait()
	if o.freshness == "exact" && ctx.Err() == nil {
		o.settled()
	}
	stop()
	tasks.Wait()
}

// settled waits until forebay knows of all that was written: then everything equals the database.
func (o *oracle) settled() {
	written := time.Now()
	o.awaitApplied()
	o.ledger.applied(written)
	for range 2 {
		r := o.newReader(0)
		for id := range oracleRows {
			for _, path := range []string{"/counters/", "/function/"} {
				if !r.row(path+strconv.Itoa(id), id) {
					o.fail(fmt.Sprintf("%s%d is not answered in quiet", path, id))
				}
			}
			r.group(id % oracleGroups)
			r.sum()
		}
	}
	conn, err := o.connect(context.Background())
	if err != nil {
		o.fail(err.Error())
		return
	}
	defer conn.Close(context.Background())
	versions, err := readVersions(context.Background(), conn, everyRow())
	for id := range oracleRows {
		if r := &o.ledger.rows[id]; err != nil || versions[id] != r.v || r.floor.Load() != r.v {
			o.fail(fmt.Sprintf("row %d is at %d in the database, %d in the ledger, floor %d: %v", id, versions[id], r.v, r.floor.Load(), err))
		}
	}
}

func (o *oracle) String() string {
	return fmt.Sprintf("seed %d: %d reads checked (%d served from the cache), %d not to be judged, %d refused, %d writes, %d versions lost in crashes, faults %v, stale: %d",
		o.seed, o.hits.Load()+o.misses.Load(), o.hits.Load(), o.unchecked.Load(), o.refused.Load(), o.commits.Load(), o.lost.Load(), o.faults, o.stale.Load())
}

// report fails the test with what was found.
func (o *oracle) report() {
	o.t.Helper()
	if len(o.wrong) == 0 {
		return
	}
	o.t.Errorf("%s\n%s\nreplay with FOREBAY_SEED=%d\nlogged:\n%s", o, strings.Join(o.wrong[:min(len(o.wrong), 10)], "\n"), o.seed, o.logged())
}

// logged returns forebay's log without the requests that failed while the database was away.
func (o *oracle) logged() string {
	var lines []string
	for line := range strings.SplitSeq(o.process.logText(), "\n") {
		if !strings.Contains(line, "request failed") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-100):], "\n")
}

// The real binary serves nothing that was outdated when the request began: while rows are written in all ways
// there are, and whatever else happens to Postgres, its standby, Redis, the stream and forebay itself.
func TestOracleOverHTTPFindsNothingStale(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes most of a minute")
	}
	seed := cachetest.Seed(t, uint64(time.Now().UnixNano()))
	for i := range uint64(2) {
		t.Run(fmt.Sprint(seed+i), func(t *testing.T) {
			t.Parallel()
			o := newOracle(t, seed+i, "exact")
			o.run(effort{reads: 60_000, limit: 35 * time.Second}, true)
			if o.hits.Load() < o.misses.Load()/10 {
				o.fail("next to nothing is served from the cache")
			}
			if strings.Contains(o.process.logText(), "DATA RACE") {
				o.fail("forebay has a data race")
			}
			t.Log(o)
			o.report()
		})
	}
}

// By lifetimes alone stale answers are found: the oracle sees what it claims to exclude.
func TestOracleOverHTTPSeesWhatTTLServes(t *testing.T) {
	t.Parallel()
	o := newOracle(t, cachetest.Seed(t, 0), "ttl")
	o.run(effort{reads: 200_000, limit: 30 * time.Second}, false)
	if o.stale.Load() == 0 {
		t.Errorf("nothing stale: %s", o)
	}
	t.Log(o)
}

// TestSoakOverHTTP checks as many reads as FOREBAY_SOAK_HTTP says, from the seed that FOREBAY_SEED says or a
// new one.
func TestSoakOverHTTP(t *testing.T) {
	total, err := strconv.ParseInt(os.Getenv("FOREBAY_SOAK_HTTP"), 10, 64)
	if err != nil {
		t.Skip("FOREBAY_SOAK_HTTP does not say how many reads")
	}
	seed := cachetest.Seed(t, uint64(time.Now().UnixNano()))
	const perWorld = 500_000
	began, done, served, commits := time.Now(), int64(0), int64(0), int64(0)
	for first := seed; done < total; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := newOracle(t, seed, "exact")
			o.run(effort{reads: min(perWorld, total-done), limit: 5 * time.Minute}, true)
			done, served, commits = done+o.hits.Load()+o.misses.Load(), served+o.hits.Load(), commits+o.commits.Load()
			o.report()
		})
		if t.Failed() {
			return
		}
		fmt.Printf("soak over HTTP: seeds %d to %d, %d reads checked (%d served from the cache), %d writes, stale: 0, %s\n",
			first, seed, done, served, commits, time.Since(began).Round(time.Second))
	}
}
