package origin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// record scripts a service that keeps the headers of what it is asked and gives every request one answer.
func record(heads chan<- string, text string) func(*peer) {
	return func(p *peer) {
		for {
			h := p.head()
			if h == "" {
				return
			}
			heads <- h
			p.send(text)
		}
	}
}

func TestEveryMethodAndTargetReachesTheServiceAsSent(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	s := serve(t, record(heads, ok))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	for _, line := range []string{
		"GET /",
		"GET /a//b/./c/../d?x=1&&y=%2F+%00&x=2",
		"GET /%7Euser/%e4%BD%A0?q=%zz",
		"GET /?",
		"GET /a;b=c,d'e(f)!*|\\^`{}<>\"",
		"DELETE /clients/42",
		"OPTIONS /clients",
		"PROPFIND /dav",
		"M-SEARCH /x",
		"get /lower",
		"TRACE /t",
	} {
		if got := f.ask(line + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\nok") {
			t.Errorf("%s: answered %q", line, got)
			continue
		}
		if got := firstLine(<-heads); got != line+" HTTP/1.1" {
			t.Errorf("the service was asked %q, want %q", got, line+" HTTP/1.1")
		}
	}
}

func TestABasePathAndTheServicesOwnHostGoBeforeThePath(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	s := serve(t, record(heads, ok))
	o := newOrigin(t, s.url()+"/base/", nil)
	f := newFront(t, o.Origin, nil)
	f.ask("GET /x?y HTTP/1.1\r\nHost: public.example\r\nConnection: close\r\n\r\n")
	h := <-heads
	if got, want := firstLine(h), "GET /base/x?y HTTP/1.1"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
	f.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if got, want := firstLine(<-heads), "OPTIONS * HTTP/1.1"; got != want {
		t.Errorf("asked %q about the service itself, want %q", got, want)
	}
	if got, want := field(h, "Host"), s.l.Addr().String(); got != want {
		t.Errorf("Host %q, want %q", got, want)
	}
}

func TestAnAbsoluteTargetIsAskedByItsPathAlone(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	s := serve(t, record(heads, ok))
	o := newOrigin(t, s.url(), func(c *Config, _ *Deps) { c.ForwardHost = true })
	f := newFront(t, o.Origin, nil)
	f.ask("GET http://public.example:81/x?y HTTP/1.1\r\nHost: public.example:81\r\nConnection: close\r\n\r\n")
	h := <-heads
	if got, want := firstLine(h), "GET /x?y HTTP/1.1"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
	if got, want := field(h, "Host"), "public.example:81"; got != want {
		t.Errorf("Host %q, want the client's with its port, as forward_host says: %q", got, want)
	}
}

// fields returns a header's field lines without the first line, in their order.
func fields(head string) []string {
	lines := strings.Split(strings.TrimRight(head, "\r\n"), "\r\n")
	return lines[1:]
}

func TestFieldsOfAConnectionEndThereAndTheOthersArriveAsSent(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	s := serve(t, record(heads, ok))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	f.ask("GET / HTTP/1.1\r\nHost: a\r\n" +
		"Connection: close, X-Mine\r\nConnection: x-also\r\nX-Mine: 1\r\nX-Also: 2\r\n" +
		"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" +
		"Proxy-Authorization: Basic eA==\r\nExpect: something\r\n" +
		"x-lower: kept As Sent\r\nCookie: a=b;c=\"d\" ; e\r\nX-Twice: 1\r\nX-Twice: 2\r\nAuthorization: Bearer t\r\nX-Empty:\r\n" +
		"Transfer_Encoding: chunked\r\nContent_Length: 9\r\nX_Forwarded_For: 6.6.6.6\r\nX_Plain: kept\r\n" +
		"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Original-URL: /admin\r\n\r\n")
	want := []string{
		"Host: " + s.l.Addr().String(),
		"x-lower: kept As Sent", `Cookie: a=b;c="d" ; e`, "X-Twice: 1", "X-Twice: 2", "Authorization: Bearer t", "X-Empty: ", "X_Plain: kept",
		"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: a", "X-Forwarded-Proto: http",
		`Forwarded: for="127.0.0.1";host="a";proto=http`, "Via: 1.1 forebay",
	}
	if diff := cmp.Diff(want, fields(<-heads)); diff != "" {
		t.Errorf("the service got other fields (-want +got):\n%s", diff)
	}
}

func TestTheWordOfATrustedProxyIsPassedOn(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	s := serve(t, record(heads, ok))
	o := newOrigin(t, s.url(), func(_ *Config, d *Deps) {
		var err error
		if d.TrustedProxies, err = ParseProxies([]string{"10.0.0.0/8", "127.0.0.1"}); err != nil {
			t.Fatal(err)
		}
	})
	f := newFront(t, o.Origin, nil)
	f.ask("GET / HTTP/1.0\r\nHost: a:80\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: public\r\n" +
		"X-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nVia: 1.1 edge\r\n\r\n")
	h := <-heads
	for name, want := range map[string]string{
		"X-Forwarded-For":   "1.2.3.4, 10.0.0.1, 127.0.0.1",
		"X-Forwarded-Host":  "public",
		"X-Forwarded-Proto": "https",
		"Forwarded":         `for=1.2.3.4, for="127.0.0.1";host="a:80";proto=http`,
		"X-Real-IP":         "1.2.3.4",
		"Via":               "1.1 edge, 1.0 forebay",
	} {
		if got := field(h, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestTrustedProxiesMustBeNetworks(t *testing.T) {
	t.Parallel()
	if _, err := ParseProxies([]string{"10.0.0.0/8", "localhost", "10.0.0.0/99"}); err == nil {
		t.Error("localhost and 10.0.0.0/99 were taken for networks")
	} else if got, want := err.Error(), "\"localhost\" is not a network; write it as 10.0.0.0/8\n\"10.0.0.0/99\" is not a network; write it as 10.0.0.0/8"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestARequestThatGoesInCirclesIsStopped(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	s := serve(t, record(heads, ok))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	got := f.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nVia: " + strings.Repeat("1.1 forebay, ", maxHops) + "1.1 x\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("answered %q, want a 502", firstLine(got))
	}
	if e := asError(t, f.err()); e.ProxyStatus != "proxy_loop_detected" {
		t.Errorf("proxy status %q", e.ProxyStatus)
	}
}

func TestMaxForwardsIsCountedDownAndEndsHere(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	s := serve(t, record(heads, ok))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	f.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nMax-Forwards: 3\r\n\r\n")
	if got := field(<-heads, "Max-Forwards"); got != "2" {
		t.Errorf("Max-Forwards %q, want 2", got)
	}
	if got := f.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nMax-Forwards: 0\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 204 ") {
		t.Errorf("OPTIONS with nowhere to go: %q", firstLine(got))
	}
	if got := f.ask("TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nMax-Forwards: 0\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 405 ") {
		t.Errorf("TRACE with nowhere to go: %q", firstLine(got))
	}
}

// without removes the field lines of what the server writes by itself.
func without(head string, names ...string) []string {
	var kept []string
lines:
	for _, line := range fields(head) {
		for _, name := range names {
			if strings.HasPrefix(line, name+":") {
				continue lines
			}
		}
		kept = append(kept, line)
	}
	return kept
}

func TestAnswersArriveWithAllButTheirConnectionsFields(t *testing.T) {
	t.Parallel()
	s := serve(t, always("HTTP/1.1 418 Short and stout\r\nServer: legacy/1\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\n"+
		"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nTrailer: X-T\r\nUpgrade: h2c\r\n"+
		"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nCache-Status: edge; hit\r\nX-Twice: 1\r\nX-Twice: 2\r\nETag: W/\"x\"\r\nVia: 1.0 edge\r\nContent-Length: 2\r\n\r\nok"))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	h := p.head()
	if got := firstLine(h); !strings.HasPrefix(got, "HTTP/1.1 418 ") {
		t.Errorf("answered %q", got)
	}
	want := []string{
		"Server: legacy/1", "Content-Type: text/plain", "Content-Encoding: gzip, br", "Content-Length: 2", "Cache-Status: edge; hit",
		"X-Twice: 1", "X-Twice: 2", `Etag: W/"x"`, "Via: 1.0 edge, 1.1 forebay", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2",
	}
	if diff := cmp.Diff(want, without(h, "Date")); diff != "" {
		t.Errorf("the client got other fields (-want +got):\n%s", diff)
	}
	if got := p.read(2); got != "ok" {
		t.Errorf("body %q", got)
	}
}

func TestAnswersWithoutABodyHaveNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ request, answer, want string }{
		"HEAD with a length":           {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", "1234"},
		"HEAD that would be chunked":   {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
		"HEAD that says nothing":       {"HEAD", "HTTP/1.1 200 OK\r\n\r\n", ""},
		"204":                          {"GET", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		"204 with a length":            {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", ""},
		"304 with a length":            {"GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\n", ""},
		"200 with nothing in it":       {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"},
		"200 behind interim responses": {"GET", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, always(c.answer))
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			for range 2 { // the second shows that both connections are in step
				p.send(c.request + " / HTTP/1.1\r\nHost: a\r\n\r\n")
				h := p.head()
				wantLine := firstLine(c.answer)
				if i := strings.LastIndex(c.answer, "HTTP/1.1 "); i > 0 {
					wantLine = firstLine(c.answer[i:])
				}
				if got := firstLine(h); got != wantLine {
					t.Fatalf("answered %q, want %q", got, wantLine)
				}
				if got := field(h, "Content-Length"); got != c.want {
					t.Errorf("Content-Length %q, want %q", got, c.want)
				}
				if got := field(h, "Transfer-Encoding"); got != "" {
					t.Errorf("Transfer-Encoding %q without a body", got)
				}
			}
			if n := s.connections(); n != 1 && !strings.Contains(name, "says nothing") {
				t.Errorf("%d connections were made for two requests, want one", n)
			}
		})
	}
}
