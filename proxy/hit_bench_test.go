package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"forebay/bench/gauge"
	"forebay/cache"
	"forebay/cache/memory"
	"forebay/proxy"
	"forebay/rules"
)

// roleVariable makes the test binary a server for BenchmarkHitCPU: bare or forebay.
const roleVariable = "FOREBAY_BENCH_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		serveRole(role)
		return
	}
	os.Exit(m.Run())
}

// hitConfig has one rule whose response is put into memory by hand: no database is asked, not even by an audit.
const hitConfig = `
audit: 0
postgres: {url: "postgres://localhost/none"}
routes:
  - route: GET /api/v1/clients/{id}
    kind: find
    params: {id: uuid}
    query: SELECT 1 WHERE @id::uuid IS NOT NULL
    rows: one
`

const hitPath = "/api/v1/clients/7b0c5e0a-3f1d-4c39-9a35-8f6b8c1d2e4f"

// newHitProxy returns a proxy whose memory holds the response to hitPath.
func newHitProxy(tb testing.TB, body []byte) *proxy.Proxy {
	config, err := rules.Parse("bench.yaml", []byte(hitConfig), fstest.MapFS{}, os.LookupEnv)
	if err != nil {
		tb.Fatal(err)
	}
	clock := cache.NewClock(time.Now())
	log := cache.NewChangeLog("bench")
	set := metrics.NewSet()
	store := memory.New(memory.Config{MaxBytes: 64 << 20}, clock, set)
	p := proxy.New(proxy.Deps{Clock: clock, Log: log, Memory: store, Logger: slog.New(slog.DiscardHandler), Metrics: set})
	p.Use(context.Background(), proxy.Generation{Config: config})

	var match rules.Match
	request := rules.Request{Method: "GET", Path: []byte(hitPath), Header: func(string) [][]byte { return nil }}
	if config.Rules.Match("GET", request.Path, &match) != rules.Matched {
		tb.Fatal("no rule matches")
	}
	var input rules.Input
	if err := match.Rule.ReadInput(&request, &match, &input); err != nil {
		tb.Fatal(err)
	}
	key := match.Rule.AppendKey(nil, &request, &input)
	r := &cache.StoredResponse{
		Traits: &cache.Traits{
			Status: 200, ContentType: []byte("application/json"), Rule: match.Rule.Name,
			Header: []cache.Field{{Name: []byte("Cache-Control"), Value: []byte("no-cache")}},
		},
		ETag: `"0123456789abcdef0123456789abcdef"`, Body: body, Stored: clock.Now(), Lifetime: time.Hour,
	}
	r.Standing = log.Stand(key, log.Position(), cache.Snapshot{Xmin: 10, Xmax: 10}, []cache.Dependency{cache.Relation(1), cache.Rule(match.Rule.Name)})
	if err := store.Set(context.Background(), key, r); err != nil {
		tb.Fatal(err)
	}
	return p
}

func jsonOf(size int) []byte {
	return []byte(`{"text":"` + strings.Repeat("x", size-11) + `"}`)
}

func TestHitAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector pools drop at random; make test runs the budgets without it, too")
	}
	p := newHitProxy(t, jsonOf(1024))
	var request fasthttp.Request
	request.SetRequestURI(hitPath)
	request.Header.SetHost("bench")
	var ctx fasthttp.RequestCtx
	ctx.Init(&request, nil, nil)
	hit := func() {
		ctx.Response.Reset()
		p.Handle(&ctx)
	}
	hit()
	if got := ctx.Response.StatusCode(); got != 200 || !bytes.Contains(ctx.Response.Header.Peek("Cache-Status"), []byte("hit")) {
		t.Fatalf("not a hit: %s", &ctx.Response.Header)
	}
	if n := testing.AllocsPerRun(1000, hit); n > 0 {
		t.Errorf("a hit allocates %v times; the budget is 0", n)
	}
}

func BenchmarkHit(b *testing.B) {
	p := newHitProxy(b, jsonOf(1024))
	var request fasthttp.Request
	request.SetRequestURI(hitPath)
	request.Header.SetHost("bench")
	var ctx fasthttp.RequestCtx
	ctx.Init(&request, nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		ctx.Response.Reset()
		p.Handle(&ctx)
	}
}

// serveRole serves on a free port, whose address it prints, until it is killed.
func serveRole(role string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	body := jsonOf(1024)
	if role == "bare" {
		server := &fasthttp.Server{Handler: bareHandler(body), NoDefaultServerHeader: true, NoDefaultContentType: true, ReadBufferSize: 16 << 10}
		_ = server.Serve(l)
		return
	}
	p := newHitProxy(&testing.B{}, body)
	config, err := rules.Parse("bench.yaml", []byte(hitConfig), fstest.MapFS{}, os.LookupEnv)
	if err != nil {
		panic(err)
	}
	_ = proxy.NewServer(p, config.Server, slog.New(slog.DiscardHandler)).Serve(l)
}

// bareHandler writes what a hit writes, byte for byte but for the numbers.
func bareHandler(body []byte) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.SetCanonical([]byte("Cache-Control"), []byte("no-cache"))
		h.SetCanonical([]byte("Etag"), []byte(`"0123456789abcdef0123456789abcdef"`))
		h.SetCanonical([]byte("Age"), []byte("0"))
		h.SetCanonical([]byte("Cache-Status"), []byte("forebay; hit; ttl=3599"))
		h.SetContentTypeBytes([]byte("application/json"))
		ctx.Response.SetBodyRaw(body)
	}
}

// BenchmarkHitCPU compares the CPU time that a hit over a real connection costs with that of a bare
// handler which writes the same bytes, in interleaved rounds, each server a process of its own.
func BenchmarkHitCPU(b *testing.B) {
	bare, forebay := startRole(b, "bare"), startRole(b, "forebay")
	const rounds, requests, connections = 10, 60_000, 64
	for b.Loop() {
		var ratios []float64
		for range rounds {
			base := bare.cpuPerRequest(b, requests, connections)
			ours := forebay.cpuPerRequest(b, requests, connections)
			ratios = append(ratios, ours/base)
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "cpu/bare")
		b.ReportMetric(ratios[1], "cpu/bare-low")
		b.ReportMetric(ratios[len(ratios)-2], "cpu/bare-high")
	}
}

// server is a child process that serves.
type server struct {
	pid     int
	address string
}

func startRole(b *testing.B, role string) *server {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GOMAXPROCS=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return &server{pid: cmd.Process.Pid, address: strings.TrimSpace(line)}
}

// cpuPerRequest sends the requests and returns the seconds of CPU that the server took for each.
func (s *server) cpuPerRequest(b *testing.B, requests, connections int) float64 {
	before := s.cpu(b)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			if err := ask(s.address, requests/connections); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	return (s.cpu(b) - before).Seconds() / float64(requests)
}

// cpu reads the process's user and system time.
func (s *server) cpu(b *testing.B) time.Duration {
	spent, err := gauge.ProcessesOf(s.pid).CPU()
	if err != nil {
		b.Skip(err)
	}
	return spent
}

// ask sends n requests over one connection.
func ask(address string, n int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := []byte("GET " + hitPath + " HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	reader := bufio.NewReader(conn)
	for range n {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		length := 0
		for {
			line, err := reader.ReadSlice('\n')
			if err != nil {
				return err
			}
			if len(line) == 2 {
				break
			}
			if bytes.HasPrefix(line, []byte("Content-Length: ")) {
				length, err = strconv.Atoi(string(bytes.TrimSpace(line[16:])))
				if err != nil {
					return err
				}
			}
		}
		if _, err := io.CopyN(io.Discard, reader, int64(length)); err != nil {
			return err
		}
	}
	return nil
}
