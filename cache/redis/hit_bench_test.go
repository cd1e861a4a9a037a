package redis_test

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
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	goredis "github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"forebay/bench/gauge"
	"forebay/cache"
	"forebay/cache/memory"
	"forebay/cache/redis"
	"forebay/proxy"
	"forebay/rules"
)

// roleVariable makes the test binary a server for BenchmarkHit: plain or forebay. urlVariable says where the
// Redis is that it answers from.
const (
	roleVariable = "FOREBAY_BENCH_ROLE"
	urlVariable  = "FOREBAY_BENCH_REDIS"

	benchKeys   = 10_000
	benchPrefix = "bench:"
)

// benchConfig has one rule, whose responses are in Redis: no database is asked.
const benchConfig = `
postgres: {url: "postgres://localhost/none"}
routes:
  - route: GET /api/v1/clients/{id}
    ttl: 1h
    params: {id: uuid}
    query: SELECT 1 WHERE @id::uuid IS NOT NULL
    rows: one
`

func benchPath(n int) string {
	return fmt.Sprintf("/api/v1/clients/7b0c5e0a-3f1d-4c39-9a35-%012d", n%benchKeys)
}

var benchBody = []byte(`{"text":"` + strings.Repeat("x", 1013) + `"}`)

// BenchmarkHit compares a hit of this tier, asked for over HTTP and with no memory tier before it, with a
// fasthttp handler that does one plain GET of go-redis and writes the same bytes: 1 KiB, 10 000 keys, in
// interleaved rounds, each server a process of its own beside one Redis.
//
//	go test -run '^$' -bench 'BenchmarkHit$' -benchtime 1x ./cache/redis
func BenchmarkHit(b *testing.B) {
	const rounds, requests = 10, 40_000
	for _, connections := range []int{8, 64, 200} {
		b.Run(fmt.Sprint(connections), func(b *testing.B) {
			plain, forebay := startRole(b, "plain"), startRole(b, "forebay")
			for b.Loop() {
				var work, speed []float64
				for range rounds {
					baseCPU, baseRate := plain.measure(b, requests, connections)
					ourCPU, ourRate := forebay.measure(b, requests, connections)
					work, speed = append(work, ourCPU/baseCPU), append(speed, ourRate/baseRate)
				}
				slices.Sort(work)
				slices.Sort(speed)
				b.ReportMetric(work[rounds/2], "cpu/plain")
				b.ReportMetric(speed[rounds/2], "throughput/plain")
				b.ReportMetric(work[rounds-2], "cpu/plain-high")
				b.ReportMetric(speed[1], "throughput/plain-low")
			}
		})
	}
}

// serveRole serves on a free port, whose address it prints, until it is killed.
func serveRole(role, url string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server, err := plainServer(url)
	if role == "forebay" {
		server, err = tierServer(url)
	}
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return server(l)
}

// plainServer answers each request with a GET of its own.
func plainServer(url string) (func(net.Listener) error, error) {
	o, err := goredis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	o.PoolSize = 64
	client := goredis.NewClient(o)
	for n := range benchKeys {
		if err := client.Set(context.Background(), benchPrefix+benchPath(n), benchBody, time.Hour).Err(); err != nil {
			return nil, err
		}
	}
	handler := func(ctx *fasthttp.RequestCtx) {
		body, err := client.Get(ctx, benchPrefix+string(ctx.Path())).Bytes()
		if err != nil {
			ctx.SetStatusCode(fasthttp.StatusInternalServerError)
			return
		}
		h := &ctx.Response.Header
		h.SetCanonical([]byte("Cache-Control"), []byte("no-cache"))
		h.SetCanonical([]byte("Etag"), []byte(`"0123456789abcdef0123456789abcdef"`))
		h.SetCanonical([]byte("Age"), []byte("0"))
		h.SetCanonical([]byte("Cache-Status"), []byte("forebay; hit; ttl=3599"))
		h.SetContentTypeBytes([]byte("application/json"))
		ctx.Response.SetBodyRaw(body)
	}
	return (&fasthttp.Server{Handler: handler, NoDefaultServerHeader: true, NoDefaultContentType: true, ReadBufferSize: 16 << 10}).Serve, nil
}

// tierServer is forebay with a memory tier that nothing fits into.
func tierServer(url string) (func(net.Listener) error, error) {
	config, err := rules.Parse("bench.yaml", []byte(benchConfig), fstest.MapFS{}, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	env, set, logger := newEnv(), metrics.NewSet(), slog.New(slog.DiscardHandler)
	tier, err := redis.New(redis.Config{URL: url, Prefix: benchPrefix, Budget: time.Second}, redis.Deps{Log: env.Log, Clock: env.Clock, Logger: logger, Metrics: set})
	if err != nil {
		return nil, err
	}
	go func() { _ = tier.Run(context.Background()) }()
	for state, _ := tier.Health(); state != redis.Up; state, _ = tier.Health() {
		time.Sleep(time.Millisecond)
	}
	store := memory.New(memory.Config{MaxBytes: 1}, env.Clock, set)
	p := proxy.New(proxy.Deps{Clock: env.Clock, Log: env.Log, Memory: store, Shared: tier, Logger: logger, Metrics: set})
	p.Use(context.Background(), proxy.Generation{Config: config})
	for n := range benchKeys {
		key, rule, err := benchKey(config, benchPath(n))
		if err != nil {
			return nil, err
		}
		r := &cache.StoredResponse{
			Traits: &cache.Traits{
				Status: 200, ContentType: []byte("application/json"), Header: []cache.Field{{Name: []byte("Cache-Control"), Value: []byte("no-cache")}}, Rule: rule,
			},
			ETag: `"0123456789abcdef0123456789abcdef"`, Body: benchBody, Stored: env.Clock.Now(), Lifetime: time.Hour,
		}
		r.Standing = env.Log.Stand(key, env.Log.Position(), cache.Snapshot{Xmin: 10, Xmax: 10}, []cache.Dependency{cache.Relation(1), cache.Rule(rule)})
		if err := tier.Set(context.Background(), key, r); err != nil {
			return nil, err
		}
	}
	return proxy.NewServer(p, config.Server, logger).Serve, nil
}

// benchKey returns the key of the rule that matches the path, and the rule's name.
func benchKey(config *rules.Config, path string) (key []byte, rule string, err error) {
	var match rules.Match
	request := rules.Request{Method: "GET", Path: []byte(path), Header: func(string) [][]byte { return nil }}
	if config.Rules.Match("GET", request.Path, &match) != rules.Matched {
		return nil, "", fmt.Errorf("no rule matches %s", path)
	}
	var input rules.Input
	if err := match.Rule.ReadInput(&request, &match, &input); err != nil {
		return nil, "", fmt.Errorf("read %s: %s", path, err.Detail)
	}
	return match.Rule.AppendKey(nil, &request, &input), match.Rule.Name, nil
}

// server is a child process that serves.
type server struct {
	pid     int
	address string
}

func startRole(b *testing.B, role string) *server {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, urlVariable+"="+sharedURL)
	cmd.Stderr = os.Stderr
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

// measure sends the requests. It returns the seconds of CPU that the server took for each, and how many a
// second it answered.
func (s *server) measure(b *testing.B, requests, connections int) (cpu, rate float64) {
	before, start := s.cpu(b), time.Now()
	var group errgroup.Group
	for c := range connections {
		group.Go(func() error { return s.ask(c*7919, requests/connections) })
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start).Seconds()
	return (s.cpu(b) - before).Seconds() / float64(requests), float64(requests) / took
}

// cpu reads the process's user and system time.
func (s *server) cpu(b *testing.B) time.Duration {
	spent, err := gauge.ProcessesOf(s.pid).CPU()
	if err != nil {
		b.Skip(err)
	}
	return spent
}

// ask sends n requests over one connection, the first for key number from.
func (s *server) ask(from, n int) error {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	var request []byte
	for i := range n {
		request = append(append(append(request[:0], "GET "...), benchPath(from+i*13)...), " HTTP/1.1\r\nHost: bench\r\n\r\n"...)
		if _, err := conn.Write(request); err != nil {
			return err
		}
		length, err := readHead(reader)
		if err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, reader, int64(length)); err != nil {
			return err
		}
	}
	return nil
}

// readHead reads up to the body of a 200, and returns its length.
func readHead(reader *bufio.Reader) (length int, err error) {
	for first := true; ; first = false {
		line, err := reader.ReadSlice('\n')
		switch {
		case err != nil:
			return 0, err
		case first && !bytes.Contains(line, []byte(" 200 ")):
			return 0, fmt.Errorf("answered with %q", line)
		case len(line) == 2:
			return length, nil
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
}
