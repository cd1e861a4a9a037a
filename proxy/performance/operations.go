package performance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
)

const (
	clearTimeout     = 10 * time.Second
	dashboardTimeout = 30 * time.Second
	benchmarkTimeout = 30 * time.Second // of all operations together
	excellent        = 100 * time.Millisecond
	good             = 500 * time.Millisecond
)

type cacheReport struct {
	CacheStatistics cacheStatistics  `json:"cache_statistics"`
	Recommendations []recommendation `json:"recommendations"`
}

func (p *Performance) cacheStats(question) (any, *problem.Problem) {
	about := slices.DeleteFunc(p.recommend(""), func(r recommendation) bool {
		return r.Category != categoryCache && r.Category != categoryMemory
	})
	return cacheReport{CacheStatistics: p.cacheStatistics(), Recommendations: about}, nil
}

type cleared struct {
	ClearedEntries int     `json:"cleared_entries"` // of this instance's memory tier
	TableName      *string `json:"table_name"`      // null: all
}

func (p *Performance) cacheClear(q question) (any, *problem.Problem) {
	ctx, cancel := context.WithTimeout(context.Background(), clearTimeout)
	defer cancel()
	n, err := p.deps.Clear(ctx, q.table)
	switch {
	case errors.Is(err, ErrNoTable):
		return nil, problem.New(problem.NotFound, fmt.Sprintf("There is no table %q.", q.table))
	case err != nil:
		return nil, unavailable("The cache could not be cleared; try again.")
	}
	c := cleared{ClearedEntries: n}
	if q.table != "" {
		c.TableName = &q.table
	}
	return c, nil
}

func unavailable(detail string) *problem.Problem {
	p := problem.New(problem.Unavailable, detail)
	p.RetryAfter = time.Second
	return p
}

type benchmarked struct {
	ExecutionTime float64 `json:"execution_time"`
	ResultCount   int     `json:"result_count"`
	Performance   string  `json:"performance"`
	CacheHit      bool    `json:"cache_hit"`
	Error         string  `json:"error,omitempty"`
}

// benchmark runs the configured operations one after the other, once each, as a client would: what is
// cached is answered from the cache. One benchmark runs at a time, and no operation starts after
// benchmarkTimeout.
func (p *Performance) benchmark(question) (any, *problem.Problem) {
	if !p.benchmarking.TryLock() {
		busy := problem.New(problem.TooManyRequests, "A benchmark is running; one runs at a time.")
		busy.RetryAfter = benchmarkTimeout
		return nil, busy
	}
	defer p.benchmarking.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), benchmarkTimeout)
	defer cancel()
	results := make(map[string]any)
	var total time.Duration
	for _, op := range p.settings.Load().Benchmark {
		r, took := p.measure(ctx, op.Method, op.Target, op.Body)
		results[op.Name] = r
		total += took
	}
	results["total_benchmark_time"] = seconds(total)
	return map[string]any{"benchmark_results": results}, nil
}

func (p *Performance) measure(ctx context.Context, method, target, body string) (benchmarked, time.Duration) {
	if ctx.Err() != nil {
		return benchmarked{Performance: grade(benchmarkTimeout), Error: "not run: the benchmark's time was over"}, 0
	}
	start := p.deps.Clock()
	answer, err := p.deps.Do(ctx, method, target, body)
	took := p.deps.Clock().Sub(start)
	r := benchmarked{ExecutionTime: seconds(took), Performance: grade(took), CacheHit: answer.Hit}
	switch {
	case err != nil:
		r.Error = "no answer"
	case answer.Status >= 400:
		r.Error = "answered " + strconv.Itoa(answer.Status)
	default:
		r.ResultCount = countResults(answer.Body)
	}
	if r.Error != "" {
		r.Performance = grade(benchmarkTimeout)
	}
	return r, took
}

func grade(took time.Duration) string {
	switch {
	case took < excellent:
		return "excellent"
	case took < good:
		return "good"
	}
	return "needs_optimization"
}

// countResults counts what a body holds: the items of the array that it is, or of the longest array in
// its data (or in itself, when it has none); 1 for any other JSON value.
func countResults(body []byte) int {
	if items, ok := countItems(body); ok {
		return items
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return min(len(body), 1)
	}
	if data, ok := object["data"]; ok {
		if items, ok := countItems(data); ok {
			return items
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(data, &inner) == nil && inner != nil {
			object = inner
		}
	}
	longest, found := 0, false
	for _, member := range object {
		if items, ok := countItems(member); ok {
			longest, found = max(longest, items), true
		}
	}
	if !found {
		return 1
	}
	return longest
}

func countItems(text []byte) (int, bool) {
	var items []json.RawMessage
	err := json.Unmarshal(text, &items)
	return len(items), err == nil && items != nil
}

type dashboardReport struct {
	ClientMetrics      json.RawMessage `json:"client_metrics"`
	RecentActivity     json.RawMessage `json:"recent_activity"`
	PerformanceSummary lastHour        `json:"performance_summary"`
}

type lastHour struct {
	TotalQueries        uint64  `json:"total_queries_last_hour"`
	AverageResponseTime float64 `json:"average_response_time"`
	CacheHitRate        float64 `json:"cache_hit_rate"`
}

// databaseDashboard shows the parts of the configured rule's answer that the configuration names. Without
// such a rule they are null.
func (p *Performance) databaseDashboard(question) (any, *problem.Problem) {
	sum := p.total(p.minutesBack(60))
	r := dashboardReport{PerformanceSummary: lastHour{
		TotalQueries: sum.queries(), AverageResponseTime: seconds(sum.averageResponse()), CacheHitRate: rounded(sum.hitRate()),
	}}
	cfg := p.settings.Load()
	method, target, ok := strings.Cut(cfg.Dashboard, " ")
	if !ok {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dashboardTimeout)
	defer cancel()
	answer, err := p.deps.Do(ctx, method, target, "")
	if err != nil {
		return nil, unavailable("The route that this dashboard shows did not answer.")
	}
	if answer.Status >= fasthttp.StatusBadRequest {
		return nil, dashboardFailed(answer.Status)
	}
	r.ClientMetrics = pointed(answer.Body, cfg.ClientMetrics)
	r.RecentActivity = pointed(answer.Body, cfg.Activity)
	return r, nil
}

// dashboardFailed passes on that an upstream is in trouble; any other refusal of a route that the
// configuration names is the configuration's fault, not the caller's.
func dashboardFailed(status int) *problem.Problem {
	detail := fmt.Sprintf("The route that this dashboard shows answered %d.", status)
	if status < fasthttp.StatusBadGateway || status > fasthttp.StatusGatewayTimeout {
		return problem.New(problem.BadGateway, detail)
	}
	failed := problem.OfStatus(status, detail)
	failed.RetryAfter = time.Second
	return failed
}

// pointed returns the value that a JSON pointer (RFC 6901) names; nil, written as null, when there is none.
func pointed(text json.RawMessage, pointer string) json.RawMessage {
	if pointer == "" || !json.Valid(text) {
		return nil
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		var object map[string]json.RawMessage
		var array []json.RawMessage
		switch {
		case json.Unmarshal(text, &object) == nil:
			text = object[token]
		case json.Unmarshal(text, &array) == nil:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(array) {
				return nil
			}
			text = array[i]
		default:
			return nil
		}
		if text == nil {
			return nil
		}
	}
	return text
}
