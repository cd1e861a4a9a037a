package performance

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"forebay/cache"
	"forebay/proxy/health"
	"forebay/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is the wall-clock time of Instant zero in the tests: 20 s into a minute, 40 min into an hour.
func start() time.Time { return time.Date(2026, 3, 1, 11, 40, 20, 0, time.UTC) }

// fixture is a Performance whose clock and surroundings the test moves. The fields are read by it; set
// them before asking, not while.
type fixture struct {
	*Performance
	t      *testing.T
	now    atomic.Int64  // Instant
	step   time.Duration // the wall clock was set by this since the start
	memory MemoryStats
	pool   PoolStats
	parts  []health.Part
	token  rules.Secret
	clear  ClearFunc
	do     DoFunc
}

func config() Config {
	return Config{Path: "/api/v1/performance", SlowQuery: 2 * time.Second, HitRate: 50, PoolUse: 90}
}

func newFixture(t *testing.T, cfg Config) *fixture {
	t.Helper()
	f := &fixture{t: t, token: "s3cret", memory: MemoryStats{Entries: 10, Expired: 3, Bytes: 3 << 20, MaxBytes: 64 << 20}, pool: PoolStats{Max: 10, Active: 3}}
	f.parts = []health.Part{{Name: health.Postgres, Essential: true}, {Name: health.Redis, Level: health.Off, Reason: "not configured"}}
	f.Performance = New(cfg, Deps{
		Clock:  func() cache.Instant { return cache.Instant(f.now.Load()) },
		Now:    func() time.Time { return start().Add(time.Duration(f.now.Load()) + f.step) },
		Memory: func() MemoryStats { return f.memory },
		Pool:   func() PoolStats { return f.pool },
		Parts:  func() []health.Part { return f.parts },
		Token:  func() rules.Secret { return f.token },
		Clear:  func(ctx context.Context, table string) (int, error) { return f.clear(ctx, table) },
		Do: func(ctx context.Context, method, target, body string) (Answer, error) {
			return f.do(ctx, method, target, body)
		},
	})
	return f
}

func (f *fixture) advance(d time.Duration) { f.now.Add(int64(d)) }

// read makes the handle of a cacheable GET rule.
func (f *fixture) read(name, kind string, tables ...string) *RuleHandle {
	return f.Rule(&rules.Rule{Name: name, Method: "GET", Kind: kind, TTL: time.Minute, DependsOn: tables, Query: new(rules.Query)})
}

// record records n queries at the present.
func (f *fixture) record(h *RuleHandle, n int, d time.Duration, hit bool) {
	for range n {
		f.Record(Query{Rule: h, Duration: d, At: cache.Instant(f.now.Load()), Hit: hit})
	}
}

// send sends a request and returns the response's status, body and fields.
func (f *fixture) send(method, target string, fields ...string) *fasthttp.Response {
	f.t.Helper()
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI(target)
	for i := 0; i < len(fields); i += 2 {
		ctx.Request.Header.Set(fields[i], fields[i+1])
	}
	f.Serve(&ctx)
	return &ctx.Response
}

// get asks an endpoint and decodes its data.
func (f *fixture) get(name string, data any) {
	f.t.Helper()
	r := f.send("GET", "/api/v1/performance/"+name)
	if r.StatusCode() != 200 {
		f.t.Fatalf("GET %s: %d %s", name, r.StatusCode(), r.Body())
	}
	var e struct {
		Data json.RawMessage
	}
	if err := json.Unmarshal(r.Body(), &e); err != nil {
		f.t.Fatalf("GET %s: %v in %s", name, err, r.Body())
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		f.t.Fatalf("GET %s: %v in %s", name, err, e.Data)
	}
}
