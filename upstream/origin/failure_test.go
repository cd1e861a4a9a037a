package origin

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/rules"
)

func asError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	return e
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func TestWhatGoesWrongHasItsStatusAndItsNameInProxyStatus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script func(*peer)
		status int
		token  string
	}{
		"closes without a word":     {func(p *peer) { p.head() }, 502, "connection_terminated"},
		"closes within the header":  {answers("HTTP/1.1 200 OK\r\nContent-Le"), 502, "connection_terminated"},
		"says nothing":              {func(p *peer) { p.head(); _ = p.rest() }, 504, "http_response_timeout"},
		"stops within the header":   {func(p *peer) { p.head(); p.send("HTTP/1.1 200 OK\r\nX"); _ = p.rest() }, 504, "http_response_timeout"},
		"speaks another protocol":   {answers("SSH-2.0-OpenSSH_9.2\r\n"), 502, "http_protocol_error"},
		"speaks HTTP/0.9":           {answers("<html>"), 502, "http_protocol_error"},
		"ends lines with LF":        {answers("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), 502, "http_protocol_error"},
		"has two lengths":           {answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"), 502, "http_protocol_error"},
		"has a length and chunks":   {answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 502, "http_protocol_error"},
		"has chunks in HTTP/1.0":    {answers("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 502, "http_protocol_error"},
		"has a coding unknown":      {answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 502, "http_protocol_error"},
		"has a length that is none": {answers("HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok"), 502, "http_protocol_error"},
		"has a signed length":       {answers("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"), 502, "http_protocol_error"},
		"has an empty length":       {answers("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"), 502, "http_protocol_error"},
		"has a list of lengths":     {answers("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"), 502, "http_protocol_error"},
		"has a space in its length": {answers("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"), 502, "http_protocol_error"},
		"has chunks twice":          {answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 502, "http_protocol_error"},
		"ends one line with LF":     {answers("HTTP/1.1 200 OK\r\nX: y\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"), 502, "http_protocol_error"},
		"has a CR within a line":    {answers("HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"), 502, "http_protocol_error"},
		"folds a line":              {answers("HTTP/1.1 200 OK\r\nX: y\r\n Set-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"), 502, "http_protocol_error"},
		"has a NUL":                 {answers("HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\nok"), 502, "http_protocol_error"},
		"has a short status":        {answers("HTTP/1.1 20\r\nContent-Length: 2\r\n\r\nok"), 502, "http_protocol_error"},
		"has a long status":         {answers("HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"), 502, "http_protocol_error"},
		"speaks HTTP/2":             {answers("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), 502, "http_protocol_error"},
		"has a status that is none": {answers("HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nok"), 502, "http_protocol_error"},
		"switches unasked":          {answers("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"), 502, "http_protocol_error"},
		"has an endless header":     {answers("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 20_000)), 502, "http_response_header_section_size"},
		"has interims without end":  {answers(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 40)), 502, "http_protocol_error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.script)
			o := newOrigin(t, s.url(), func(c *Config, _ *Deps) { c.Timeout = 300 * time.Millisecond })
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			p.send(get)
			if h := p.head(); !strings.HasPrefix(h, fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
				t.Errorf("answered %q, want %d", firstLine(h), c.status)
			}
			e := asError(t, f.err())
			if e.Status != c.status || e.ProxyStatus != c.token {
				t.Errorf("%d %s, want %d %s: %v", e.Status, e.ProxyStatus, c.status, c.token, e)
			}
			if got := o.breaker.Counts().ConsecutiveFailures; got != 1 {
				t.Errorf("the breaker counted %d failures, want 1", got)
			}
		})
	}
}

func TestAServiceThatCannotBeReachedHasItsNameInProxyStatus(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nobody listens there now
	for url, want := range map[string]string{
		"http://" + l.Addr().String(): "503 connection_refused",
		"http://nowhere.invalid":      "503 dns_error",
	} {
		o := newOrigin(t, url, nil)
		f := newFront(t, o.Origin, nil)
		p := f.dial()
		p.send(get)
		h := p.head()
		e := asError(t, f.err())
		if got := fmt.Sprintf("%d %s", e.Status, e.ProxyStatus); got != want && !strings.HasPrefix(e.ProxyStatus, "dns_") {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
		if strings.Contains(h+p.read(7), l.Addr().String()) {
			t.Error("the client was told the address")
		}
		if got := o.outcomes(unreachable); got != "1" {
			t.Errorf("counted %s as unreachable", got)
		}
	}
}

func TestAHandshakeThatFailsHasItsNameInProxyStatus(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) { p.send("HTTP/1.1 400 not TLS\r\n\r\n") })
	o := newOrigin(t, strings.Replace(s.url(), "http:", "https:", 1), nil)
	f := newFront(t, o.Origin, nil)
	f.dial().send(get)
	if e := asError(t, f.err()); e.Status != 503 || e.ProxyStatus != "tls_protocol_error" {
		t.Errorf("%d %s: %v", e.Status, e.ProxyStatus, e)
	}
}

func TestARequestThatTheServiceCannotHaveSeenIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			// The first connection answers once and closes while the second request is on its way to it.
			s := serve(t, func(p *peer) {
				p.head()
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				p.head()
			}, always("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"))
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			for i, want := range []string{"200", "201"} {
				p.send(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")
				if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 "+want) {
					t.Fatalf("request %d: %q, want %s", i, firstLine(h), want)
				}
			}
			if got := o.count(`forebay_upstream_retries_total{upstream="legacy"}`); got != "1" {
				t.Errorf("%s retries counted", got)
			}
		})
	}
}

func TestNothingElseIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request string
		scripts []func(*peer)
	}{
		"a GET on a new connection": {get, []func(*peer){
			func(p *peer) { p.head() }, always(ok),
		}},
		"a POST on a connection used before": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", []func(*peer){
			func(p *peer) { p.head(); p.send(ok); p.head() }, always(ok),
		}},
		"a DELETE on a connection used before": {"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", []func(*peer){
			func(p *peer) { p.head(); p.send(ok); p.head() }, always(ok),
		}},
		"a PUT without a body": {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", []func(*peer){
			func(p *peer) { p.head(); p.send(ok); p.head() }, always(ok),
		}},
		"a GET with a body": {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", []func(*peer){
			func(p *peer) { p.head(); p.send(ok); p.head() }, always(ok),
		}},
		"a GET that was being processed": {get, []func(*peer){
			func(p *peer) { p.head(); p.send(ok); p.head(); p.send("HTTP/1.1 102 Processing\r\n\r\n") }, always(ok),
		}},
		"a GET whose answer had begun": {get, []func(*peer){
			func(p *peer) { p.head(); p.send(ok); p.head(); p.send("HTTP/1.1 2") }, always(ok),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.scripts...)
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			if !strings.Contains(name, "new connection") {
				p := f.dial()
				p.send(get)
				p.head()
				p.read(2)
			}
			p := f.dial()
			p.send(c.request)
			if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 502 ") {
				t.Errorf("answered %q, want a 502", firstLine(h))
			}
			if n := s.connections(); n != 1 {
				t.Errorf("the service was asked on %d connections, want 1", n)
			}
		})
	}
}

// Even a POST survives a service that closed an idle connection: it is noticed before anything is sent.
func TestAConnectionThatTheServiceClosedIsNotUsed(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	s := serve(t, func(p *peer) {
		defer close(closed)
		p.head()
		p.send(ok)
	}, always("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send(get)
	p.head()
	p.read(2)
	<-closed
	s.closeFirst()
	p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
	if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 201 ") {
		t.Errorf("answered %q, want the new connection's 201", firstLine(h))
	}
}

// closeFirst closes the first connection, and returns when the other side can see it.
func (s *service) closeFirst() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conns[0].Close()
}

// Bytes behind an answer would be the next request's answer, for whoever sends that.
func TestBytesThatNobodyAskedForAreNobodysAnswer(t *testing.T) {
	t.Parallel()
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, first := range map[string]func(*peer){
		"with the answer": func(p *peer) { p.head(); p.send(ok + evil); _ = p.rest() },
		"a moment later":  func(p *peer) { p.head(); p.send(ok); p.send(evil); _ = p.rest() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, first, always(ok))
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			for range 3 {
				p.send(get)
				h := p.head()
				if body := p.read(2); body != "ok" || field(h, "Content-Length") != "2" {
					t.Fatalf("got what nobody asked for:\n%s%s", h, body)
				}
			}
		})
	}
}

func TestTheBreakerOpensOnFailuresAndLetsOneTryThrough(t *testing.T) {
	t.Parallel()
	failing := always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nsick")
	s := serve(t, failing)
	o := newOrigin(t, s.url(), func(c *Config, _ *Deps) { c.Breaker = rules.Breaker{Failures: 3, OpenFor: 50 * time.Millisecond} })
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	for i := range 3 {
		p.send(get)
		if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 503 ") || p.read(4) != "sick" {
			t.Fatalf("answer %d is not the service's own: %q", i, h)
		}
	}
	if state, reason := o.Health(); state != "down" || !strings.Contains(reason, "3 failures in a row") {
		t.Errorf("health: %s, %s", state, reason)
	}
	if got := o.count(`forebay_breaker_state{upstream="legacy"}`); got != "2" {
		t.Errorf("breaker state %s, want 2", got)
	}
	p.send(get)
	p.head()
	e := asError(t, f.err())
	if e.Status != 503 || e.ProxyStatus != "destination_unavailable" || e.RetryAfter < time.Second {
		t.Errorf("%d %s, retry after %s", e.Status, e.ProxyStatus, e.RetryAfter)
	}
	p.read(len("problem"))
	s.mu.Lock()
	s.scripts = []func(*peer){always(ok)}
	s.mu.Unlock()
	o.client.CloseIdleConnections()
	eventually(t, "the service is up again", func() bool {
		q := f.dial()
		q.send(get)
		return strings.HasPrefix(q.head(), "HTTP/1.1 200 ")
	})
	if state, _ := o.Health(); state != "up" {
		t.Errorf("health: %s", state)
	}
	if got := o.count(`forebay_breaker_state{upstream="legacy"}`); got != "0" {
		t.Errorf("breaker state %s, want 0", got)
	}
}

func TestWhatIsNotTheServicesFaultDoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 404, 429, 500, 501} {
		s := serve(t, always(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", status)))
		o := newOrigin(t, s.url(), nil)
		f := newFront(t, o.Origin, nil)
		p := f.dial()
		for range 5 {
			p.send(get)
			p.head()
		}
		if state, reason := o.Health(); state != "up" {
			t.Errorf("%d: %s, %s", status, state, reason)
		}
	}
}

func TestRequestsWaitForAConnectionAndNotForever(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 4), make(chan struct{})
	s := serve(t, func(p *peer) {
		for p.head() != "" {
			asked <- struct{}{}
			<-release
			p.send(ok)
		}
	})
	o := newOrigin(t, s.url(), func(c *Config, _ *Deps) { c.MaxConnections = 1 })
	f := newFront(t, o.Origin, func(p *Passage) {
		if string(p.Path) == "/hurried" {
			p.Timeout = 100 * time.Millisecond
		}
	})
	first, second, hurried := f.dial(), f.dial(), f.dial()
	first.send(get)
	<-asked
	hurried.send("GET /hurried HTTP/1.1\r\nHost: a\r\n\r\n")
	if h := hurried.head(); !strings.HasPrefix(h, "HTTP/1.1 503 ") {
		t.Errorf("answered %q, want a 503", firstLine(h))
	}
	if e := asError(t, f.err()); e.ProxyStatus != "connection_limit_reached" || e.RetryAfter == 0 {
		t.Errorf("%s, retry after %s", e.ProxyStatus, e.RetryAfter)
	}
	second.send(get)
	close(release)
	for _, p := range []*peer{first, second} {
		if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 200 ") {
			t.Errorf("answered %q", firstLine(h))
		}
	}
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections, want at most 1", n)
	}
	if got := o.breaker.Counts().TotalFailures; got != 0 {
		t.Errorf("the breaker counted %d failures", got)
	}
}

func TestARetiredOriginFinishesWhatRunsAndKeepsNothing(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	ended := make(chan struct{})
	s := serve(t, func(p *peer) {
		defer close(ended)
		p.head()
		close(asked)
		<-release
		p.send(ok)
		_ = p.rest()
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send(get)
	<-asked
	o.Retire()
	close(release)
	if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 200 ") || p.read(2) != "ok" {
		t.Errorf("answered %q", firstLine(h))
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the connection is kept")
	}
}

func TestURLsOfNoHTTPServiceAreRefused(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "127.0.0.1:8000", "ftp://a", "http://", "http://a b"} {
		if _, err := New(Config{URL: url}, Deps{}); err == nil {
			t.Errorf("%q was accepted", url)
		} else if !strings.Contains(err.Error(), "write it as http://127.0.0.1:8000") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

var _ io.Closer = (*body)(nil)

var _ = fasthttp.StatusOK
