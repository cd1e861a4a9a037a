package performance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"forebay/cache"
	"forebay/rules"
)

func TestAPeriodCountsItsWholeMinutesAndNothingOlder(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	h := f.read("GET /a", "find", "public.a")
	f.record(h, 1, time.Millisecond, false) // 11:40
	f.advance(9 * time.Minute)
	f.record(h, 10, time.Millisecond, true) // 11:49
	f.advance(51 * time.Minute)
	f.record(h, 100, time.Millisecond, true) // 12:40

	want := func(minutes int, queries uint64) {
		t.Helper()
		var m metricsReport
		f.get(fmt.Sprintf("metrics?minutes=%d", minutes), &m)
		if m.QueryPerformance.TotalQueries != queries {
			t.Errorf("%d minutes: %d queries, want %d", minutes, m.QueryPerformance.TotalQueries, queries)
		}
	}
	want(1, 100)
	want(50, 100)
	want(51, 110)
	want(59, 110)
	want(60, 111)
	want(1440, 111)
	f.advance(23 * time.Hour)
	want(1440, 111)
	f.advance(time.Minute)
	want(1440, 110)
	f.advance(2 * time.Hour)
	want(1440, 0)
}

func TestAMinuteOfYesterdayGivesItsPlaceToTodaysAndIsNotMixedWithIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	h := f.read("GET /a", "find", "a")
	f.record(h, 7, 3*time.Second, false)
	f.advance(keptHours * time.Hour) // the same place in the ring
	f.record(h, 2, time.Second, false)
	sum := f.total(f.minutesBack(maxMinutes))
	if sum.queries() != 2 || sum.slow != 0 || sum.missTime != 2*time.Second {
		t.Errorf("got %d queries, %d slow, %s; want 2, 0, 2s", sum.queries(), sum.slow, sum.missTime)
	}
	// A query that took so long to be recorded that its minute is gone is not counted as today's.
	f.Record(Query{Rule: h, Duration: time.Second, At: 0})
	if sum := f.total(f.minutesBack(maxMinutes)); sum.queries() != 2 {
		t.Errorf("after a late query: %d queries, want 2", sum.queries())
	}
}

func TestAStepOfTheWallClockMovesTimestampsAndLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	f.advance(1500 * time.Millisecond)
	f.record(f.read("GET /a", "find", "a"), 1, time.Second, false)
	f.advance(time.Minute)
	f.step = -3 * time.Hour
	var m metricsReport
	f.get("metrics", &m)
	if got, want := m.QueryPerformance.SlowestQueries[0].Timestamp, "2026-03-01T08:40:21.500Z"; got != want {
		t.Errorf("timestamp %s, want %s", got, want)
	}
}

// model is the plain list of queries that the history stands for.
type model []struct {
	rule   int
	minute uint32
	took   time.Duration
}

func TestTheSlowestAndTheirNumberAreThoseOfThePlainListOfQueries(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t, config())
		handles := []*RuleHandle{f.read("GET /a", "find", "a"), f.read("GET /b", "find", "b"), f.read("GET /ab", "find", "a", "b")}
		all := model{}
		n := rapid.IntRange(1, 300).Draw(rt, "queries")
		spread := rapid.IntRange(0, 3).Draw(rt, "minutes")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for range n {
			rule, minute := random.IntN(3), random.IntN(spread+1)
			took := time.Duration(1+random.Int64N(5_000_000)) * time.Microsecond
			at := cache.Instant(time.Duration(minute) * time.Minute)
			f.Record(Query{Rule: handles[rule], Duration: took, At: at})
			all = append(all, struct {
				rule   int
				minute uint32
				took   time.Duration
			}{rule, uint32(minute), took})
		}
		f.advance(3 * time.Minute)
		of := f.minutesBack(60)

		of.threshold = rapid.SampledFrom([]time.Duration{0, time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second}).Draw(rt, "threshold")
		want, wantCount := all.slowest(of.threshold, keptSlowest)
		var got []time.Duration
		for _, l := range f.slowestOf(of, keptSlowest) {
			got = append(got, l.event.duration())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("slowest at %s: %s", of.threshold, diff)
		}
		if sum := f.total(of); sum.slow != wantCount {
			rt.Fatalf("at %s: %d slow, want %d", of.threshold, sum.slow, wantCount)
		}

		// Between the steps the number is never too high, and right while few are above it.
		of.threshold = time.Duration(rapid.Int64Range(1, 6_000_000).Draw(rt, "between")) * time.Microsecond
		_, wantCount = all.slowest(of.threshold, keptSlowest)
		sum := f.total(of)
		if sum.slow > wantCount || wantCount <= keptPerMinute && sum.slow != wantCount {
			rt.Fatalf("at %s: %d slow, want %d", of.threshold, sum.slow, wantCount)
		}
	})
}

func (m model) slowest(threshold time.Duration, limit int) (list []time.Duration, count uint64) {
	for _, q := range m {
		if q.took >= threshold {
			list = append(list, q.took)
		}
	}
	slices.SortFunc(list, func(a, b time.Duration) int { return int(b - a) })
	return list[:min(limit, len(list))], uint64(len(list))
}

func TestTheFourSlowestOfEachRuleAreKnownThoughOthersAreSlower(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	f.record(f.read("GET /loud", "find", "loud"), 100, 10*time.Second, false)
	quiet := f.read("GET /quiet", "find", "public.quiet")
	for i := range 10 {
		f.record(quiet, 1, time.Duration(i+1)*100*time.Millisecond, false)
	}
	var m analyticsReport
	f.get("analytics?table_name=quiet", &m)
	var got []float64
	for _, s := range m.QueryPerformance.SlowestQueries {
		got = append(got, s.ExecutionTime)
	}
	if diff := cmp.Diff([]float64{1, 0.9, 0.8, 0.7}, got); diff != "" {
		t.Error(diff)
	}
}

func TestQuantilesAreAtMostTwoAndAHalfTimesTooHigh(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t, config())
		h := f.read("GET /a", "find")
		var all []time.Duration
		for _, micros := range rapid.SliceOfN(rapid.Int64Range(100, 40_000_000), 1, 200).Draw(rt, "micros") {
			all = append(all, time.Duration(micros)*time.Microsecond)
			f.record(h, 1, all[len(all)-1], false)
		}
		slices.Sort(all)
		q := rapid.SampledFrom([]float64{0.5, 0.95, 0.99}).Draw(rt, "q")
		sum := f.total(f.minutesBack(1))
		exact := all[max(int(float64(len(all))*q+0.999999)-1, 0)]
		if got := sum.quantile(q); got < exact || float64(got) > 2.5*float64(exact)+1 {
			rt.Fatalf("quantile %g: %s, exact %s", q, got, exact)
		}
	})
}

func TestConcurrentRecordsAllCountWhileOthersReadAndMinutesTurn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	handles := []*RuleHandle{f.read("GET /a", "find", "a"), f.read("GET /b", "search", "b")}
	const goroutines, each = 8, 20_000
	var recorders, readers sync.WaitGroup
	done := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				f.usage(question{minutes: 60})
				f.slowestOf(f.minutesBack(60), 20)
				f.sample()
				handles[0].Tables([]string{"a", "c"})
			}
		}
	})
	for g := range goroutines {
		recorders.Go(func() {
			for i := range each {
				at := cache.Instant(time.Duration(i) * 10 * time.Millisecond) // 200 s: three minutes turn
				f.Record(Query{Rule: handles[g%2], Duration: time.Duration(i) * time.Microsecond, At: at, Hit: i%2 == 0})
			}
		})
	}
	recorders.Wait()
	close(done)
	readers.Wait()
	f.advance(4 * time.Minute)
	sum := f.total(f.minutesBack(10))
	if sum.queries() != goroutines*each || sum.hits != goroutines*each/2 {
		t.Errorf("%d queries, %d hits; want %d, %d", sum.queries(), sum.hits, goroutines*each, goroutines*each/2)
	}
	slowest := f.slowestOf(f.minutesBack(10), 8)
	for _, l := range slowest {
		if got, want := l.event.duration(), (each-1)*time.Microsecond; got != want {
			t.Errorf("one of the slowest eight took %s, want %s", got, want)
		}
	}
}

func TestTenMillionQueriesLeaveTheHeapAsItWas(t *testing.T) {
	queries := 10_000_000
	if raceDetector {
		queries /= 20 // each of them costs a hundred times as much, and would prove no more
	}
	f := newFixture(t, config())
	h := f.read("GET /a", "find", "a")
	f.record(h, 1, time.Second, false)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range queries {
		f.Record(Query{Rule: h, Duration: time.Duration(i%100_000) * time.Microsecond, At: cache.Instant(time.Duration(i) * 300 * time.Microsecond), Hit: i%3 > 0})
	}
	after := heap()
	if grown := int64(after) - int64(before); grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	runtime.KeepAlive(f)
}

func TestManyRulesShareOneHistoryFromABoundOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	for i := range 10 * maxHistories {
		f.record(f.read(fmt.Sprintf("GET /%d", i), "find"), 1, time.Millisecond, false)
	}
	if n := len(*f.handles.Load()); n != maxHistories {
		t.Errorf("%d histories, want %d", n, maxHistories)
	}
	if sum := f.total(f.minutesBack(1)); sum.queries() != 10*maxHistories {
		t.Errorf("%d queries, want all %d", sum.queries(), 10*maxHistories)
	}
	for range keptHours {
		for _, h := range *f.handles.Load() {
			f.record(h, 1, time.Millisecond, false)
		}
		f.advance(time.Hour)
	}
	if size, documented := f.historySize(), 59_000_000; size > documented {
		t.Errorf("a full history is %d bytes, documented are at most %d", size, documented)
	}
}

func TestAReloadGoesOnWithTheHistoryOfTheSameRule(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	h := f.read("GET /a", "find", "declared")
	h.Tables([]string{"found"})
	f.record(h, 5, time.Millisecond, false)
	again := f.Rule(&rules.Rule{Name: "GET /a", Method: "GET", Kind: "search", Query: new(rules.Query)})
	if again != h {
		t.Fatal("another handle, want the same")
	}
	var a analyticsReport
	f.get("analytics", &a)
	if diff := cmp.Diff(map[string]uint64{"search": 5}, a.QueryPerformance.QueryTypeDistribution); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]uint64{"declared": 5, "found": 5}, a.QueryPerformance.TableAccessDistribution); diff != "" {
		t.Error(diff)
	}
}

func TestARulesKindIsItsOwnOrWhatItDoes(t *testing.T) {
	t.Parallel()
	f := func(want string, r rules.Rule) {
		t.Helper()
		if got := kindOf(&r); got != want {
			t.Errorf("%s: %q, want %q", r.Method, got, want)
		}
	}
	f("count", rules.Rule{Method: "GET", Kind: "count"})
	f("read", rules.Rule{Method: "GET"})
	f("read", rules.Rule{Method: "POST", Reads: true})
	f("insert", rules.Rule{Method: "POST"})
	f("update", rules.Rule{Method: "PUT"})
	f("update", rules.Rule{Method: "PATCH"})
	f("delete", rules.Rule{Method: "DELETE"})
	f("batch", rules.Rule{Method: "POST", Batch: new(rules.Batch)})
	f("write", rules.Rule{})
}

func TestRecordingAllocatesNothing(t *testing.T) {
	f := newFixture(t, config())
	h := f.read("GET /a", "find", "a")
	tables := []string{"a"}
	n := 0
	if allocs := testing.AllocsPerRun(1000, func() {
		n++
		h.Tables(tables)
		f.Record(Query{Rule: h, Duration: time.Duration(n) * time.Microsecond, Hit: n%2 == 0})
	}); allocs != 0 {
		t.Errorf("%v allocations a query, want none", allocs)
	}
}

func TestRunSamplesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := f.samples.sum(f.minutesBack(1)); got.count != 1 {
		t.Errorf("%d samples, want the one at its start", got.count)
	}
}

func BenchmarkRecordHit(b *testing.B) { benchmarkRecord(b, true, 8*time.Microsecond) }

func BenchmarkRecordMiss(b *testing.B) { benchmarkRecord(b, false, 3*time.Millisecond) }

func benchmarkRecord(b *testing.B, hit bool, took time.Duration) {
	clock := cache.NewClock(time.Now())
	p := New(config(), Deps{Clock: clock.Now, Now: time.Now})
	h := p.Rule(&rules.Rule{Name: "GET /a", Method: "GET", Kind: "find", Query: new(rules.Query)})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var i time.Duration
		for pb.Next() {
			i = (i + 7) % 1000
			p.Record(Query{Rule: h, Duration: took + i*time.Nanosecond, At: 0, Hit: hit})
		}
	})
}
