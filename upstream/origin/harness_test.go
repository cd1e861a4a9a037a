package origin

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"forebay/cache"
	"forebay/rules"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// It ends by itself once a pool has been empty for a while.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// patience bounds every wait of these tests: a hang is a failure with a name.
const patience = 20 * time.Second

// peer is one end of a connection, in raw bytes.
type peer struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func newPeer(t *testing.T, c net.Conn) *peer {
	_ = c.SetDeadline(time.Now().Add(patience))
	return &peer{t: t, Conn: c, br: bufio.NewReaderSize(c, 1<<20)}
}

func (p *peer) send(text string) {
	if _, err := io.WriteString(p.Conn, text); err != nil {
		p.t.Logf("send %d bytes: %v", len(text), err)
	}
}

// head reads up to the empty line, which is included; what came before the end, if the end came first.
func (p *peer) head() string {
	var b bytes.Buffer
	for {
		line, err := p.br.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

func (p *peer) read(n int) string {
	b := make([]byte, n)
	n, _ = io.ReadFull(p.br, b)
	return string(b[:n])
}

// rest reads to the end of the connection.
func (p *peer) rest() string {
	b, _ := io.ReadAll(p.br)
	return string(b)
}

// field returns the value of a header's field, or "".
func field(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// service is a scripted HTTP service: connection n is handled by script n, the last one repeated.
type service struct {
	t       *testing.T
	l       net.Listener
	wg      sync.WaitGroup
	mu      sync.Mutex // guards all below
	conns   []net.Conn
	scripts []func(*peer)
	seen    int
}

func serve(t *testing.T, scripts ...func(*peer)) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, l: l, scripts: scripts}
	s.wg.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *service) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		script := s.scripts[min(s.seen, len(s.scripts)-1)]
		s.seen++
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.wg.Go(func() {
			defer c.Close()
			script(newPeer(s.t, c))
		})
	}
}

func (s *service) stop() {
	_ = s.l.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// connections returns how many were made so far.
func (s *service) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *service) url() string { return "http://" + s.l.Addr().String() }

// answers scripts a service that reads requests without bodies and gives each the next answer, closing
// after the last.
func answers(texts ...string) func(*peer) {
	return func(p *peer) {
		for _, text := range texts {
			if p.head() == "" {
				return
			}
			p.send(text)
		}
	}
}

// always scripts a service that gives every request the same answer.
func always(text string) func(*peer) {
	return func(p *peer) {
		for p.head() != "" {
			p.send(text)
		}
	}
}

type fixture struct {
	*Origin
	set *metrics.Set
	log *cache.ChangeLog
}

func newOrigin(t *testing.T, url string, change func(*Config, *Deps)) *fixture {
	t.Helper()
	config := Config{
		Name: "legacy", URL: url, ConnectTimeout: 2 * time.Second, Timeout: 5 * time.Second, MaxConnections: 16,
		Breaker: rules.Breaker{Failures: 3, OpenFor: time.Hour},
	}
	f := &fixture{set: metrics.NewSet(), log: cache.NewChangeLog("test")}
	deps := Deps{Clock: cache.NewClock(time.Now()), Log: f.log, Logger: slog.New(slog.DiscardHandler), Metrics: f.set}
	if change != nil {
		change(&config, &deps)
	}
	o, err := New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	f.Origin = o
	return f
}

// count returns the value of the counter or gauge with exactly this name and labels.
func (f *fixture) count(name string) string {
	var b bytes.Buffer
	f.set.WritePrometheus(&b)
	for line := range strings.SplitSeq(b.String(), "\n") {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return v
		}
	}
	return "absent"
}

func (f *fixture) outcomes(o outcome) string {
	return f.count(`forebay_upstream_requests_total{upstream="legacy",outcome="` + o.String() + `"}`)
}

// front is a server that passes everything to the Origin, configured as the product's server is.
type front struct {
	t    *testing.T
	addr string
	errs chan error
}

func newFront(t *testing.T, o *Origin, change func(*Passage)) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, addr: l.Addr().String(), errs: make(chan error, 64)}
	s := &fasthttp.Server{
		Handler:                      func(ctx *fasthttp.RequestCtx) { f.handle(ctx, o, change) },
		Name:                         "forebay",
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		ReadBufferSize:               32 << 10,
		ReadTimeout:                  patience,
		MaxRequestBodySize:           64 << 10,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		Logger:                       discard{},
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		_ = s.Shutdown()
		wg.Wait()
	})
	return f
}

type discard struct{}

func (discard) Printf(string, ...any) {}

func (f *front) handle(ctx *fasthttp.RequestCtx, o *Origin, change func(*Passage)) {
	if what := Ambiguous(&ctx.Request.Header); what != "" {
		ctx.Error(what, fasthttp.StatusBadRequest)
		ctx.SetConnectionClose()
		return
	}
	target := ctx.Request.Header.RequestURI()
	if i := bytes.Index(target, []byte("://")); i >= 0 && target[0] != '/' {
		target = target[i+3:]
		target = target[bytes.IndexByte(target, '/'):]
	}
	path, query, has := bytes.Cut(target, []byte{'?'})
	p := Passage{Path: path}
	if has {
		p.Query = query
	}
	if change != nil {
		change(&p)
	}
	err := o.Pass(ctx, p)
	if err == nil {
		return
	}
	f.errs <- err
	status := fasthttp.StatusInternalServerError
	var e *Error
	var r *RequestError
	switch {
	case errors.As(err, &e):
		status = e.Status
	case errors.As(err, &r):
		status = r.Status
	}
	ctx.Error("problem", status)
}

func (f *front) dial() *peer {
	f.t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return newPeer(f.t, c)
}

// ask sends the request, which asks to close, and returns all that comes back.
func (f *front) ask(request string) string {
	f.t.Helper()
	p := f.dial()
	p.send(request)
	return p.rest()
}

// err returns the error that Pass returned last.
func (f *front) err() error {
	f.t.Helper()
	select {
	case err := <-f.errs:
		return err
	case <-time.After(patience):
		f.t.Fatal("no error was reported")
		return nil
	}
}
