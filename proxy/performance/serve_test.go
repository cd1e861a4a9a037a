package performance

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"forebay/proxy/health"
	"forebay/rules"
)

// shape lists the members of a JSON value, each with its type; an array is what its first item is, and a
// member of one of the open objects is a *.
func shape(v any, at string, open *regexp.Regexp, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		into[at+" {}"] = true
		for name, member := range v {
			if open.MatchString(at) {
				name = "*"
			}
			shape(member, at+"."+name, open, into)
		}
	case []any:
		into[at+" []"] = true
		for _, item := range v {
			shape(item, at+"[]", open, into)
		}
	case string:
		into[at+" text"] = true
	case float64:
		into[at+" number"] = true
	case bool:
		into[at+" bool"] = true
	case nil:
		into[at+" null"] = true
	}
}

// wantShape compares an answer with the contract's shape: names apart by spaces, {…} and […] nested.
func wantShape(t *testing.T, body []byte, open string, want ...string) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	got := make(map[string]bool)
	shape(v, "", regexp.MustCompile("^("+open+")$"), got)
	var list []string
	for at := range got {
		if at = strings.TrimPrefix(at, "."); at != " {}" {
			list = append(list, at)
		}
	}
	want = append(want, "status text", "data {}", "timestamp text")
	slices.Sort(list)
	slices.Sort(want)
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("shape (-contract +answer):\n%s", diff)
	}
}

func members(at, types string) (list []string) {
	for member := range strings.SplitSeq(types, ", ") {
		list = append(list, at+member)
	}
	return list
}

func queryPerformanceShape() []string {
	list := members("data.query_performance", " {}, .period_minutes number, .total_queries number, .total_execution_time number, .average_execution_time number, "+
		".cache_hit_rate number, .query_type_distribution {}, .query_type_distribution.* number, .table_access_distribution {}, .table_access_distribution.* number, "+
		".slowest_queries [], .slowest_queries[] {}, .slowest_queries[].query_type text, .slowest_queries[].table text, .slowest_queries[].execution_time number, .slowest_queries[].timestamp text")
	list = append(list, cacheStatisticsShape("data.cache_statistics")...)
	list = append(list, poolShape()...)
	return append(list, "data.period_minutes number")
}

func cacheStatisticsShape(at string) []string {
	return members(at, " {}, .total_entries number, .active_entries number, .expired_entries number, .cache_size_mb number")
}

func poolShape() []string {
	return members("data.connection_pool", " {}, .max_connections number, .active_connections number, .available_connections number, .pool_utilization number")
}

func recommendationsShape(at string) []string {
	return members(at, " [], [] {}, [].category text, [].priority text, [].title text, [].description text, [].impact text")
}

// busy is a fixture with traffic of every sort: hits, misses, writes, slow ones, and cause for advice.
func busy(t *testing.T) *fixture {
	t.Helper()
	cfg := config()
	cfg.Dashboard, cfg.ClientMetrics, cfg.Activity = "GET /api/v1/dash", "/data/metrics", "/data/recent_activity"
	cfg.Benchmark = []rules.Operation{{Name: "dashboard", Method: "GET", Target: "/api/v1/dash"}, {Name: "search", Method: "POST", Target: "/s", Body: `{"query":"ann"}`}}
	f := newFixture(t, cfg)
	find := f.read("GET /clients/{id}", "find", "public.clients")
	f.record(find, 30, 5*time.Millisecond, false)
	f.record(find, 70, 10*time.Microsecond, true)
	search := f.read("GET /search", "search", "public.clients", "public.training_sessions")
	f.record(search, 100, 300*time.Millisecond, false)
	f.record(search, 5, 4*time.Second, false)
	f.record(search, 45, 10*time.Microsecond, true)
	f.record(f.Rule(&rules.Rule{Name: "POST /clients", Method: "POST", DependsOn: []string{"public.clients"}}), 10, 8*time.Millisecond, false)
	f.do = func(context.Context, string, string, string) (Answer, error) {
		f.advance(120 * time.Millisecond)
		return Answer{Status: 200, Body: []byte(`{"status":"success","data":{"metrics":{"total_clients":7},"recent_activity":[{"client_name":"Ann"},{"client_name":"Bo"}]}}`)}, nil
	}
	f.clear = func(context.Context, string) (int, error) { return 12, nil }
	return f
}

func TestEveryRouteHasTheContractsShape(t *testing.T) {
	t.Parallel()
	open := `\.data\.query_performance\.(query_type|table_access)_distribution`

	t.Run("health", func(t *testing.T) {
		t.Parallel()
		f := busy(t)
		f.parts = append(f.parts, health.Part{Name: health.Upstreams, Of: "legacy"})
		want := members("data", ".status text, .response_time number, .performance_summary {}, .performance_summary.recent_queries number, "+
			".performance_summary.average_response_time number, .performance_summary.cache_hit_rate number, .cache_status.memory_limit_mb number, .cache_status.memory_utilization number, "+
			".parts {}, .alerts [], .alerts[] {}, .alerts[].alert text, .alerts[].value number, .alerts[].threshold number, .alerts[].description text, "+
			".parts.upstreams.each [], .parts.upstreams.each[] {}, .parts.upstreams.each[].name text, .parts.upstreams.each[].state text, .parts.upstreams.each[].reason text")
		for _, part := range []string{"postgres", "redis", "upstreams", "breaker", "change_feed"} {
			want = append(want, members("data.parts."+part, " {}, .state text, .reason text")...)
		}
		want = append(append(want, cacheStatisticsShape("data.cache_status")...), poolShape()...)
		wantShape(t, f.send("GET", "/api/v1/performance/health").Body(), "none", want...)
	})
	t.Run("metrics", func(t *testing.T) {
		t.Parallel()
		wantShape(t, busy(t).send("GET", "/api/v1/performance/metrics").Body(), open, queryPerformanceShape()...)
	})
	t.Run("analytics", func(t *testing.T) {
		t.Parallel()
		const sums = ".total_queries number, .cache_hit_rate number, .total_execution_time number, .average_execution_time number"
		want := slices.Concat(queryPerformanceShape(), recommendationsShape("data.optimization_recommendations"), []string{"data.table_name null", "data.usage {}"},
			members("data.usage.by_route", " [], [] {}"), members("data.usage.by_route[]", ".route text, .query_type text, .tables [], .tables[] text, .p95_execution_time number, .slow_queries number, .by_hour [], .by_hour[] {}, "+sums),
			members("data.usage.by_route[].by_hour[]", ".hour text, "+sums),
			members("data.usage.by_hour", " [], [] {}"), members("data.usage.by_hour[]", ".hour text, "+sums),
			members("data.usage.timeline", " [], [] {}"), members("data.usage.timeline[]", ".start text, "+sums))
		wantShape(t, busy(t).send("GET", "/api/v1/performance/analytics").Body(), open, want...)
	})
	t.Run("slow-queries", func(t *testing.T) {
		t.Parallel()
		wantShape(t, busy(t).send("GET", "/api/v1/performance/slow-queries").Body(), "none", members("data", ".slow_queries [], .slow_queries[] {}, .slow_queries[].query_type text, "+
			".slow_queries[].table_name text, .slow_queries[].execution_time number, .slow_queries[].timestamp text, .slow_queries[].cache_hit bool, "+
			".total_slow_queries number, .threshold_seconds number, .period_minutes number")...)
	})
	t.Run("cache/stats", func(t *testing.T) {
		t.Parallel()
		wantShape(t, busy(t).send("GET", "/api/v1/performance/cache/stats").Body(), "none", append(cacheStatisticsShape("data.cache_statistics"), recommendationsShape("data.recommendations")...)...)
	})
	t.Run("cache/clear", func(t *testing.T) {
		t.Parallel()
		wantShape(t, busy(t).send("POST", "/api/v1/performance/cache/clear?table_name=clients", "Authorization", "Bearer s3cret").Body(), "none", "data.cleared_entries number", "data.table_name text")
	})
	t.Run("optimization/recommendations", func(t *testing.T) {
		t.Parallel()
		wantShape(t, busy(t).send("GET", "/api/v1/performance/optimization/recommendations").Body(), "none",
			append(recommendationsShape("data.recommendations"), "data.total_recommendations number", "data.generated_at text")...)
	})
	t.Run("benchmark", func(t *testing.T) {
		t.Parallel()
		wantShape(t, busy(t).send("GET", "/api/v1/performance/benchmark", "Authorization", "Bearer s3cret").Body(), "none",
			slices.Concat(members("data.benchmark_results", " {}, .total_benchmark_time number"),
				members("data.benchmark_results.dashboard", " {}, .execution_time number, .result_count number, .performance text, .cache_hit bool"),
				members("data.benchmark_results.search", " {}, .execution_time number, .result_count number, .performance text, .cache_hit bool"))...)
	})
	t.Run("database/dashboard", func(t *testing.T) {
		t.Parallel()
		wantShape(t, busy(t).send("GET", "/api/v1/performance/database/dashboard").Body(), "none", members("data", ".client_metrics {}, .client_metrics.total_clients number, "+
			".recent_activity [], .recent_activity[] {}, .recent_activity[].client_name text, .performance_summary {}, .performance_summary.total_queries_last_hour number, "+
			".performance_summary.average_response_time number, .performance_summary.cache_hit_rate number")...)
	})
}

func TestListsAreEmptyAndRatesZeroBeforeTheFirstQuery(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	for _, name := range []string{"health", "metrics", "analytics", "slow-queries", "cache/stats", "optimization/recommendations", "database/dashboard"} {
		r := f.send("GET", "/api/v1/performance/"+name)
		if r.StatusCode() != 200 {
			t.Errorf("%s: %d %s", name, r.StatusCode(), r.Body())
		}
		if body := string(r.Body()); strings.Contains(body, "null") && name != "analytics" && name != "database/dashboard" {
			t.Errorf("%s holds a null: %s", name, body)
		}
	}
}

func TestFiguresAddUp(t *testing.T) {
	t.Parallel()
	f := busy(t)
	var m metricsReport
	f.get("metrics", &m)
	q := m.QueryPerformance
	want := queryPerformance{
		PeriodMinutes: 30, TotalQueries: 260, TotalExecutionTime: 50.23115, AverageExecutionTime: 0.193197,
		CacheHitRate:            46, // 115 hits of 250 reads; the 10 writes could not hit
		QueryTypeDistribution:   map[string]uint64{"find": 100, "search": 150, "insert": 10},
		TableAccessDistribution: map[string]uint64{"clients": 260, "training_sessions": 150},
		SlowestQueries:          q.SlowestQueries,
	}
	if diff := cmp.Diff(want, q); diff != "" {
		t.Error(diff)
	}
	if got, want := q.SlowestQueries[0], (slowestQuery{"search", "clients, training_sessions", 4, "2026-03-01T11:40:20.000Z"}); got != want {
		t.Errorf("slowest: %+v, want %+v", got, want)
	}
	if diff := cmp.Diff(connectionPool{10, 3, 7, 30}, m.ConnectionPool); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(cacheStatistics{10, 7, 3, 3}, m.CacheStatistics); diff != "" {
		t.Error(diff)
	}
}

func TestAnalyticsOfATableCountOnlyRulesThatUseIt(t *testing.T) {
	t.Parallel()
	f := busy(t)
	for name, want := range map[string]uint64{"training_sessions": 150, "public.training_sessions": 150, "clients": 260, "nothing": 0} {
		var a analyticsReport
		f.get("analytics?table_name="+name, &a)
		if a.QueryPerformance.TotalQueries != want || a.TableName == nil || *a.TableName != name {
			t.Errorf("%s: %d queries, want %d", name, a.QueryPerformance.TotalQueries, want)
		}
	}
}

func TestUsageTellsRoutesHoursAndTheTimeline(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	a, b := f.read("GET /a", "find", "a"), f.read("GET /b", "find", "b")
	f.record(a, 3, time.Second, false) // 11:40:20
	f.advance(30 * time.Minute)
	f.record(a, 2, time.Millisecond, true) // 12:10:20
	f.record(b, 1, time.Millisecond, false)
	var r analyticsReport
	f.get("analytics?minutes=60", &r)
	byHour := func(list []hourUsage) (text []string) {
		for _, h := range list {
			text = append(text, fmt.Sprint(h.Hour, " ", h.TotalQueries))
		}
		return text
	}
	if diff := cmp.Diff([]string{"2026-03-01T11:00:00.000Z 3", "2026-03-01T12:00:00.000Z 3"}, byHour(r.Usage.ByHour)); diff != "" {
		t.Error(diff)
	}
	if len(r.Usage.ByRoute) != 2 || r.Usage.ByRoute[0].Route != "GET /a" || r.Usage.ByRoute[0].CacheHitRate != 40 {
		t.Fatalf("by route: %+v", r.Usage.ByRoute)
	}
	if diff := cmp.Diff([]string{"2026-03-01T11:00:00.000Z 3", "2026-03-01T12:00:00.000Z 2"}, byHour(r.Usage.ByRoute[0].ByHour)); diff != "" {
		t.Error(diff)
	}
	for _, minutes := range []int{1, 15, 60, 61, 360, 1440} {
		f.get(fmt.Sprintf("analytics?minutes=%d", minutes), &r)
		var sum uint64
		for _, span := range r.Usage.Timeline {
			sum += span.TotalQueries
		}
		if len(r.Usage.Timeline) > timelinePoints+1 || sum != r.QueryPerformance.TotalQueries {
			t.Errorf("%d minutes: a timeline of %d points and %d queries, want %d queries", minutes, len(r.Usage.Timeline), sum, r.QueryPerformance.TotalQueries)
		}
	}
}

func TestParametersAreChecked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	check := func(target string, status int, field string) {
		t.Helper()
		r := f.send("GET", "/api/v1/performance/"+target)
		if r.StatusCode() != status {
			t.Errorf("%s: %d, want %d: %s", target, r.StatusCode(), status, r.Body())
		}
		if status == 200 {
			return
		}
		var p struct {
			Type, Detail string
			Errors       []struct{ Field string }
		}
		if err := json.Unmarshal(r.Body(), &p); err != nil || p.Detail == "" || string(r.Header.ContentType()) != "application/problem+json" {
			t.Errorf("%s: no problem details: %s", target, r.Body())
		}
		if field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != field) {
			t.Errorf("%s: errors %v, want one of %s", target, p.Errors, field)
		}
	}
	check("metrics?minutes=1", 200, "")
	check("metrics?minutes=1440", 200, "")
	check("metrics?minutes=", 200, "")
	check("metrics?unknown=1", 422, "unknown")
	check("metrics?table_name=items", 422, "table_name")
	check("analytics?table=items", 422, "table")
	check("slow-queries?threshold_seconds=0", 422, "threshold_seconds")
	check("slow-queries?min_execution_time=1&minutes=5", 422, "min_execution_time")
	check("health?verbose", 422, "verbose")
	check("cache/stats?minutes=5", 422, "minutes")
	check("optimization/recommendations?x=", 422, "x")
	check("database/dashboard?minutes=5", 422, "minutes")
	check("metrics?minutes=0", 422, "minutes")
	check("metrics?minutes=1441", 422, "minutes")
	check("metrics?minutes=-5", 422, "minutes")
	check("metrics?minutes=1.5", 422, "minutes")
	check("metrics?minutes=abc", 422, "minutes")
	check("metrics?minutes=99999999999999999999", 422, "minutes")
	check("metrics?minutes=5&minutes=6", 400, "")
	check("slow-queries?threshold=0", 200, "")
	check("slow-queries?threshold=0.25", 200, "")
	check("slow-queries?threshold=-1", 422, "threshold")
	check("slow-queries?threshold=NaN", 422, "threshold")
	check("slow-queries?threshold=Inf", 422, "threshold")
	check("slow-queries?threshold=x", 422, "threshold")
	check("analytics?table_name="+strings.Repeat("x", 300), 422, "table_name")
	check("nothing", 404, "")
	check("metrics/", 404, "")
	check("../metrics", 404, "")
}

func TestMethodsAreChecked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	check := func(method, name string, status int, allow string) {
		t.Helper()
		r := f.send(method, "/api/v1/performance/"+name)
		if got := string(r.Header.Peek("Allow")); r.StatusCode() != status || got != allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", method, name, r.StatusCode(), got, status, allow)
		}
	}
	check("HEAD", "metrics", 200, "")
	check("POST", "metrics", 405, "GET, HEAD")
	check("GET", "cache/clear", 405, "POST")
	check("DELETE", "benchmark", 405, "GET, HEAD")
	check("POST", "", 405, "GET, HEAD")
	check("POST", "nothing", 404, "")
}

func TestHealthFollowsTheParts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	check := func(want health.Status) {
		t.Helper()
		var r healthReport
		f.get("health", &r)
		if r.Status != want {
			t.Errorf("got %s, want %s", r.Status, want)
		}
	}
	check("healthy")
	f.parts[1] = health.Part{Name: health.Redis, Level: health.Down, Reason: "refused"}
	check("degraded")
	f.parts[0] = health.Part{Name: health.Postgres, Level: health.Down, Reason: "the database does not answer", Essential: true}
	check("degraded")
	f.memory = MemoryStats{MaxBytes: 1 << 20}
	check("unhealthy")
}

func TestPartsOfOneNameShowTheWorstAndEach(t *testing.T) {
	t.Parallel()
	got := partReports([]health.Part{
		{Name: health.Upstreams, Of: "a"},
		{Name: health.Upstreams, Of: "b", Level: health.Down, Reason: "refused"},
		{Name: health.Upstreams, Of: "c", Level: health.Degraded, Reason: "slow"},
		{Name: health.Breaker, State: "closed"},
	})
	want := partReport{State: "down", Reason: "b: refused", Each: []namedReport{{"a", "up", ""}, {"b", "down", "refused"}, {"c", "degraded", "slow"}}}
	if diff := cmp.Diff(want, got[health.Upstreams]); diff != "" {
		t.Error(diff)
	}
	if got[health.Breaker].State != "closed" || got[health.ChangeFeed].State != "off" {
		t.Errorf("breaker %v, change feed %v", got[health.Breaker], got[health.ChangeFeed])
	}
}

func TestOnlyPathsBelowTheConfiguredOneAreOwned(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	for path, want := range map[string]bool{
		"/api/v1/performance": true, "/api/v1/performance/": true, "/api/v1/performance/x": true,
		"/api/v1/performances": false, "/api/v1": false, "/": false,
	} {
		if f.Owns([]byte(path)) != want {
			t.Errorf("%s: owned %v, want %v", path, !want, want)
		}
	}
	f.Use(Config{})
	if f.Owns([]byte("/api/v1/performance/health")) || f.Owns([]byte("/health")) {
		t.Error("switched off, and still owned")
	}
}
