package proxy_test

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/cache/memory"
	"forebay/proxy"
	"forebay/rules"
	"forebay/upstream/origin"
)

const upstreamConfig = `
freshness: ttl
upstreams:
  service: {url: "http://SERVICE"}
routes:
  - route: GET /**
    kind: find
    upstream: service
`

// serveBefore serves a proxy before the service by the configuration, and returns its address.
func serveBefore(t *testing.T, text string, service fasthttp.RequestHandler) (server *proxy.Server, address string) {
	t.Helper()
	behind := listenLocally(t)
	source := &fasthttp.Server{Handler: service, NoDefaultServerHeader: true}
	go func() { _ = source.Serve(behind) }()
	t.Cleanup(func() { _ = source.Shutdown() })
	config, err := rules.Parse("test.yaml", []byte(strings.ReplaceAll(text, "SERVICE", behind.Addr().String())), fstest.MapFS{}, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	clock, log, set, logger := cache.NewClock(time.Now()), cache.NewChangeLog("test"), metrics.NewSet(), slog.New(slog.DiscardHandler)
	o, err := origin.New(*config.Upstreams["service"], origin.Deps{Clock: clock, Log: log, Logger: logger, Metrics: set})
	if err != nil {
		t.Fatal(err)
	}
	store := memory.New(memory.Config{MaxBytes: 1 << 20}, clock, set)
	t.Cleanup(store.Close)
	p := proxy.New(proxy.Deps{Clock: clock, Log: log, Memory: store, Logger: logger, Metrics: set})
	p.Use(context.Background(), proxy.Generation{Config: config, Origins: map[string]*origin.Origin{"service": o}})
	t.Cleanup(p.Close)
	l := listenLocally(t)
	server = proxy.NewServer(p, config.Server, logger)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	return server, l.Addr().String()
}

// serveUpstream serves a proxy before the service, and returns a function that asks it over one connection.
func serveUpstream(t *testing.T, service fasthttp.RequestHandler) (ask func(fields ...string) (http.Header, string)) {
	t.Helper()
	_, address := serveBefore(t, upstreamConfig, service)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	reader := bufio.NewReader(conn)
	return func(fields ...string) (http.Header, string) {
		t.Helper()
		request := "GET /a HTTP/1.1\r\nHost: test\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		var body strings.Builder
		if _, err := bufio.NewReader(response.Body).WriteTo(&body); err != nil {
			t.Fatal(err)
		}
		return response.Header, body.String()
	}
}

func listenLocally(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestARememberedTargetIsForNobodyWithCredentials(t *testing.T) {
	t.Parallel()
	ask := serveUpstream(t, func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set("Cache-Control", "public, max-age=600")
		h := &ctx.Request.Header
		ctx.SetBodyString("for " + string(h.Peek("Cookie")) + string(h.Peek("Authorization")))
	})
	for range 20 { // whichever exchange serves them, and whether or not it has seen these fields before
		for _, c := range []struct {
			fields []string
			want   string
		}{
			{nil, "for "},
			{[]string{"Cookie: user=1"}, "for user=1"},
			{[]string{"cookie: user=2"}, "for user=2"},
			{nil, "for "},
			{[]string{"X-A: b", "authorization: Basic eA=="}, "for Basic eA=="},
			{[]string{"Accept: */*"}, "for "},
		} {
			if _, got := ask(c.fields...); got != c.want {
				t.Fatalf("with %q: %q, want %q", c.fields, got, c.want)
			}
		}
	}
}

func TestAHitHasTheFieldsOfTheMiss(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string][]string{
		"plain":         nil,
		"server":        {"Server", "old/1.0"},
		"many":          {"x-lower", "1", "X-Twice", "a", "Cache-Status", "edge; hit", "Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"},
		"special":       {"Content-Encoding", "identity"},
		"language":      {"Content-Language", "de", "X-Empty", ""},
		"vary and more": {"Link", "</a>; rel=next", "Access-Control-Allow-Origin", "*"},
	} {
		ask := serveUpstream(t, func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("Cache-Control", "public, max-age=600")
			ctx.Response.Header.Set("Etag", `"x"`)
			for i := 0; i < len(extra); i += 2 {
				ctx.Response.Header.Add(extra[i], extra[i+1])
			}
			ctx.SetContentType("application/json")
			ctx.SetBodyString(strings.Repeat("x", 2000))
		})
		miss, _ := ask()
		for range 3 {
			hit, _ := ask()
			if !strings.Contains(strings.Join(hit["Cache-Status"], ","), "forebay; hit") {
				t.Fatalf("%s: no hit: %v", name, hit)
			}
			want := miss.Clone()
			if len(hit["Age"]) != 1 || len(miss["Cache-Status"]) != len(hit["Cache-Status"]) {
				t.Errorf("%s: Age %q, Cache-Status %q, on the miss %q", name, hit["Age"], hit["Cache-Status"], miss["Cache-Status"])
			}
			for i := 0; i < len(extra); i += 2 {
				if !slices.Contains(hit.Values(extra[i]), extra[i+1]) {
					t.Errorf("%s: %s is %q", name, extra[i], hit.Values(extra[i]))
				}
			}
			got := hit.Clone()
			for _, field := range []string{"Age", "Cache-Status", "Date"} {
				want.Del(field)
				got.Del(field)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-miss +hit):\n%s", name, d)
			}
		}
	}
}
