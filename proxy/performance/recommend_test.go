package performance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/rules"
)

// advice asks for the recommendations and returns the one with the words in its title, if any.
func (f *fixture) advice(words string) (recommendation, bool) {
	f.t.Helper()
	var r recommendationsReport
	f.get("optimization/recommendations", &r)
	if r.TotalRecommendations != len(r.Recommendations) {
		f.t.Errorf("total %d of %d", r.TotalRecommendations, len(r.Recommendations))
	}
	for _, one := range r.Recommendations {
		if strings.Contains(one.Title, words) {
			return one, true
		}
	}
	return recommendation{}, false
}

// wantAdvice asks for the recommendation, and that it quotes each of the figures.
func (f *fixture) wantAdvice(words, category, priority string, figures ...string) {
	f.t.Helper()
	r, ok := f.advice(words)
	if !ok {
		f.t.Fatalf("no recommendation %q", words)
	}
	if r.Category != category || r.Priority != priority || r.Impact == "" {
		f.t.Errorf("%q: %s %s, impact %q; want %s %s", words, r.Category, r.Priority, r.Impact, category, priority)
	}
	for _, figure := range figures {
		if !strings.Contains(r.Description+r.Impact, figure) {
			f.t.Errorf("%q does not quote %q: %s %s", words, figure, r.Description, r.Impact)
		}
	}
}

func (f *fixture) wantNoAdvice(words string) {
	f.t.Helper()
	if r, ok := f.advice(words); ok {
		f.t.Errorf("unexpected: %+v", r)
	}
}

func TestALowHitRateIsSpokenOfWhileItLasts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	h := f.read("GET /a", "find", "public.a")
	f.record(h, 69, 10*time.Millisecond, false)
	f.record(h, 30, 10*time.Microsecond, true)
	f.wantNoAdvice("Few reads") // 99 reads are too few to say so
	f.record(h, 1, 10*time.Millisecond, false)
	f.wantAdvice("Few reads", "cache", "medium", "30.0 % of 100 reads", "30 hits", "threshold is 50 %", "20 of the 70 misses")
	f.wantAdvice("GET /a is seldom", "cache", "high", "30.0 % of its 100 reads", "70 misses", "10ms each", "700ms in all", "ttl is 1m0s", "20 misses and 200ms")
	f.record(h, 100, 10*time.Microsecond, true) // now 65 %
	f.wantNoAdvice("Few reads")
	f.wantNoAdvice("seldom")
}

func TestAdviceVanishesWhenItsFiguresAreOld(t *testing.T) {
	t.Parallel()
	f := busy(t)
	if _, ok := f.advice("are slow"); !ok {
		t.Fatal("no advice to begin with")
	}
	f.advance(62 * time.Minute)
	var r recommendationsReport
	f.get("optimization/recommendations", &r)
	if len(r.Recommendations) != 0 {
		t.Errorf("an hour later: %+v", r.Recommendations)
	}
}

func TestSlowRulesAreSpokenOfFromTheThirdTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	h := f.read("GET /slow", "search", "public.clients")
	f.record(h, 20, 100*time.Millisecond, false)
	f.record(h, 2, 3*time.Second, false)
	f.wantNoAdvice("are slow")
	f.record(h, 1, 4210*time.Millisecond, false)
	f.wantAdvice("GET /slow are slow", "query", "high", "3 of its 23 queries", "2s or longer", "slowest 4.21s", "clients", "100 % of the time")
}

// A statement is not called slow for the time that its requests waited for a connection; the pool is.
func TestWaitingForAConnectionIsNoTimeOfAStatement(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	h := f.read("GET /fast", "search", "public.clients")
	for range 20 {
		f.Record(Query{Rule: h, Duration: 5 * time.Second, Waited: 4990 * time.Millisecond, At: cache.Instant(f.now.Load())})
	}
	f.wantNoAdvice("are slow")
	f.record(h, 10, 3*time.Second, false)
	f.wantAdvice("GET /fast are slow", "query", "high", "10 of its 30 queries", "slowest 3s", "took 1.01s each, beside 3.33s of waiting for a connection")
	f.pool = PoolStats{Max: 10, Active: 10, Waits: 20}
	for range minSamples {
		f.sample()
		f.advance(sampleEvery)
	}
	f.wantAdvice("pool is nearly used up", "connection", "high", "requests waited 1m39.8s in all")
	var slow slowReport
	f.get("slow-queries?threshold=4", &slow)
	if slow.TotalSlowQueries != 0 {
		t.Errorf("%d queries took four seconds", slow.TotalSlowQueries)
	}
	var health struct {
		PerformanceSummary recentSummary `json:"performance_summary"`
	}
	f.get("health", &health)
	if got := health.PerformanceSummary.AverageResponseTime; got != 4.333333 {
		t.Errorf("requests took %v seconds on average", got)
	}
}

func TestUnstoredRulesAreSpokenOfWhenTheyCostMuch(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	h := f.Rule(&rules.Rule{Name: "GET /never", Method: "GET", Query: new(rules.Query)})
	f.record(h, 200, 50*time.Millisecond, false)
	f.wantAdvice("GET /never are never stored", "cache", "high", "200 times", "50ms each", "10s in all", "100 %")
	f.record(f.read("GET /b", "find"), 10, time.Minute, false)
	f.wantNoAdvice("never stored") // 1.6 % of the time now
}

func TestWritesAreNotAskedToBeCached(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	f.record(f.Rule(&rules.Rule{Name: "POST /a", Method: "POST"}), 1000, 10*time.Millisecond, false)
	f.wantNoAdvice("")
}

func TestFailuresAreSpokenOf(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	h := f.read("GET /a", "find", "a")
	for range 5 {
		f.Record(Query{Rule: h, Duration: time.Millisecond, Failed: true})
	}
	f.wantAdvice("GET /a fail", "query", "high", "5 of its 5 queries (100.0 %)")
	f.record(h, 96, time.Millisecond, false)
	f.wantNoAdvice("fail")
}

func TestAFullPoolIsSpokenOfOnAMinuteOfSamples(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	f.pool = PoolStats{Max: 10, Active: 10}
	for i := range minSamples - 1 {
		f.pool.Waits = uint64(i)
		f.sample()
		f.advance(sampleEvery)
	}
	f.wantNoAdvice("pool is nearly used up")
	f.pool.Timeouts = 4
	f.sample()
	f.wantAdvice("pool is nearly used up", "connection", "high", "12 samples", "100.0 % of its 10 connections", "threshold is 90 %", "10 acquisitions had to wait")
	f.wantAdvice("gave up waiting", "connection", "high", "4 acquisitions", "10 connections")
	f.pool.Active = 1
	for range 3 {
		f.sample()
		f.advance(sampleEvery)
	}
	f.wantNoAdvice("pool is nearly used up") // 82 % on average
	f.advance(62 * time.Minute)
	f.wantNoAdvice("gave up waiting")
}

func TestAFullMemoryTierIsSpokenOfWhenItGivesEntriesUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	f.memory = MemoryStats{Entries: 5000, Bytes: 60 << 20, MaxBytes: 64 << 20}
	f.sample()
	f.wantNoAdvice("memory tier is full") // full is what it is for
	f.memory.Evictions = 250
	f.sample()
	f.wantAdvice("memory tier is full", "memory", "medium", "5000 entries in 60.0 MB", "94 % of its bound of 64.0 MB", "gave up 250")
	f.memory.Bytes = 30 << 20
	f.wantNoAdvice("memory tier is full")
}

func TestTheMostPressingAdviceComesFirst(t *testing.T) {
	t.Parallel()
	var r recommendationsReport
	busy(t).get("optimization/recommendations", &r)
	rank := map[string]int{high: 0, medium: 1, low: 2}
	for i := 1; i < len(r.Recommendations); i++ {
		if rank[r.Recommendations[i-1].Priority] > rank[r.Recommendations[i].Priority] {
			t.Errorf("%+v comes before %+v", r.Recommendations[i-1], r.Recommendations[i])
		}
	}
	if len(r.Recommendations) < 3 {
		t.Errorf("got %d, want several", len(r.Recommendations))
	}
}

func TestAlertsAreShownInHealthAndAsGauges(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	set := metrics.NewSet()
	f.register(set)
	check := func(active ...string) {
		t.Helper()
		var text strings.Builder
		set.WritePrometheus(&text)
		for _, name := range []string{alertSlowQuery, alertHitRate, alertPoolUse, alertCacheMemory} {
			want := 0
			for _, a := range active {
				if a == name {
					want = 1
				}
			}
			if line := fmt.Sprintf("forebay_alert_active{alert=%q} %d\n", name, want); !strings.Contains(text.String(), line) {
				t.Errorf("want %s in\n%s", line, text.String())
			}
		}
		var r healthReport
		f.get("health", &r)
		if len(r.Alerts) != len(active) {
			t.Errorf("health shows %+v, want %v", r.Alerts, active)
		}
	}
	check()
	h := f.read("GET /a", "find")
	f.record(h, 200, 10*time.Millisecond, false)
	check(alertHitRate)
	f.record(h, 1, 2*time.Second, false)
	check(alertSlowQuery, alertHitRate)
	f.advance(10 * time.Minute)
	check()
	f.memory.Bytes = f.memory.MaxBytes + 1
	f.pool.Active = 10
	for range minSamples {
		f.sample()
	}
	check(alertPoolUse, alertCacheMemory)
	f.pool.Active, f.memory.Bytes = 0, 0
	f.advance(10 * time.Minute)
	check()
}
