package origin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	bignum "math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"forebay/rules"
)

func TestAConnectionThatTheServiceMeansToCloseIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{
		"close":                       "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"close in capitals":           "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok",
		"close among others":          "HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nContent-Length: 2\r\n\r\nok",
		"close on a second line":      "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":                    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"a 204 that has a body":       "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
		"bytes behind the last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(p *peer) { p.head(); p.send(first); _ = p.rest() }, always("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"))
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			for _, want := range []string{" 20", " 201 "} {
				got := f.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				if !strings.Contains(firstLine(got), want) {
					t.Errorf("answered %q, want %s", firstLine(got), want)
				}
			}
			if got := o.count(`forebay_upstream_retries_total{upstream="legacy"}`); got != "0" {
				t.Errorf("the connection was tried: %s retries", got)
			}
		})
	}
}

// secure returns what a service that speaks TLS needs, and what its clients trust it by.
func secure(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: bignum.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(certificate)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, trusted
}

// gathered holds back what is written until it is told to send all of it at once.
type gathered struct {
	net.Conn
	held []byte
	hold bool
}

func (g *gathered) Write(b []byte) (int, error) {
	if !g.hold {
		return g.Conn.Write(b)
	}
	g.held = append(g.held, b...)
	return len(b), nil
}

// TLS reads ahead of its reader: what came in a record of its own right behind an answer is on this side of
// the socket, and would be the next request's answer.
func TestBytesThatTLSHasReadAheadAreNobodysAnswer(t *testing.T) {
	t.Parallel()
	config, trusted := secure(t)
	s := serve(t, func(p *peer) {
		g := &gathered{Conn: p.Conn}
		c := tls.Server(g, config)
		q := newPeer(t, c)
		q.head()
		g.hold = true
		q.send(ok)
		q.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		_, _ = g.Conn.Write(g.held)
		_ = q.rest()
	}, func(p *peer) { always(ok)(newPeer(t, tls.Server(p.Conn, config))) })
	o := newOrigin(t, strings.Replace(s.url(), "http:", "https:", 1), nil)
	o.tls.RootCAs = trusted
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	for range 3 {
		p.send(get)
		if h := p.head(); field(h, "Content-Length") != "2" || p.read(2) != "ok" {
			t.Fatalf("got what nobody asked for:\n%s", h)
		}
	}
	if n := s.connections(); n != 2 {
		t.Errorf("%d connections, want the second to be used again", n)
	}
}

// A request whose upload ended the try must not keep the breaker waiting for a verdict.
func TestATryThatTheClientSpoilsIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		h := p.head()
		if strings.HasPrefix(h, "POST") {
			_ = p.rest()
			return
		}
		p.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	o := newOrigin(t, s.url(), func(c *Config, _ *Deps) { c.Breaker = rules.Breaker{Failures: 1, OpenFor: time.Millisecond} })
	f := newFront(t, o.Origin, nil)
	f.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	eventually(t, "one request may try", func() bool { state, _ := o.Health(); return state == "degraded" })
	p := f.dial()
	p.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	p.head()
	if err := f.err(); !isRequestError(err) {
		t.Fatalf("got %v, want the client's own fault", err)
	}
	s.mu.Lock()
	s.scripts = []func(*peer){always(ok)}
	s.mu.Unlock()
	if got := f.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("answered %q, want the next try's answer", firstLine(got))
	}
}

func TestCookiesOfOneNameAllArrive(t *testing.T) {
	t.Parallel()
	s := serve(t, always("HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/x\r\nSet-Cookie: a=2; Path=/y\r\nset-cookie: flag\r\nContent-Length: 2\r\n\r\nok"))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send(get)
	if diff := cmp.Diff([]string{"Set-Cookie: a=1; Path=/x", "Set-Cookie: a=2; Path=/y", "Set-Cookie: flag"}, without(p.head(), "Date", "Server", "Content-Length", "Via")); diff != "" {
		t.Errorf("the client got other cookies (-want +got):\n%s", diff)
	}
}

// An early answer that is no refusal lets the upload go on, and is seen while it does.
func TestAnEarlyAnswerIsSeenBeforeTheUploadEnds(t *testing.T) {
	t.Parallel()
	whole := make(chan error, 1)
	s := serve(t, func(p *peer) {
		h := p.head()
		p.send("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
		body, err := io.ReadAll(p.bodyOf(h))
		if err == nil && string(body) != "abcde" {
			err = io.ErrUnexpectedEOF
		}
		whole <- err
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	h := p.head()
	if !strings.HasPrefix(h, "HTTP/1.1 202 ") || field(h, "Connection") != "close" {
		t.Fatalf("answered:\n%s", h)
	}
	p.send("2\r\nde\r\n0\r\n\r\n")
	if err := <-whole; err != nil {
		t.Errorf("the service's body: %v", err)
	}
	if rest := p.rest(); rest != "" {
		t.Errorf("the connection went on: %q", rest)
	}
}

// Whatever a body holds, it is a body: the service must not find a request in it, nor a field of its trailer
// among those of the next.
func TestABodyThatLooksLikeARequestIsABody(t *testing.T) {
	t.Parallel()
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	heads := make(chan string, 8)
	s := serve(t, func(p *peer) {
		for {
			h := p.head()
			if h == "" {
				return
			}
			heads <- firstLine(h)
			body := ""
			if field(h, "Content-Length") != "" || field(h, "Transfer-Encoding") != "" {
				b, _ := io.ReadAll(p.bodyOf(h))
				body = string(b)
			}
			p.send("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
		}
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	size := strconv.Itoa(len(smuggled))
	chunk := "23\r\n" + smuggled + "\r\n"
	for _, c := range []struct{ line, rest string }{
		{"POST /sized", "Content-Length: " + size + "\r\n\r\n" + smuggled},
		{"GET /fat", "Content-Length: " + size + "\r\n\r\n" + smuggled},
		{"POST /chunked", "Transfer-Encoding: chunked\r\n\r\n" + chunk + "0\r\nX-Trailer: 1\r\n\r\n"},
		{"POST /extended", "Transfer-Encoding: chunked\r\n\r\n23;a=b\r\n" + smuggled + "\r\n00\r\n\r\n"},
		{"POST /expecting", "Expect: 100-continue\r\nContent-Length: " + size + "\r\n\r\n" + smuggled},
	} {
		p.send(c.line + " HTTP/1.1\r\nHost: a\r\n" + c.rest)
		h := p.head()
		if strings.HasPrefix(h, "HTTP/1.1 100 ") {
			h = p.head()
		}
		if got := p.read(len(smuggled)); !strings.HasPrefix(h, "HTTP/1.1 200 ") || got != smuggled {
			t.Fatalf("%s: answered %q with %q", c.line, firstLine(h), got)
		}
		if got, want := <-heads, c.line+" HTTP/1.1"; got != want {
			t.Errorf("the service was asked %q, want %q", got, want)
		}
	}
	if len(heads) != 0 {
		t.Errorf("the service was asked for %q, too", <-heads)
	}
}

func TestLargeHeadersPassBothWays(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 30<<10)
	heads := make(chan string, 1)
	s := serve(t, record(heads, "HTTP/1.1 200 OK\r\nX-Large: "+large+"\r\nContent-Length: 2\r\n\r\nok"))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	got := f.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: " + large + "\r\n\r\n")
	if field(<-heads, "Cookie") != large {
		t.Error("the service got another header")
	}
	if head, body, _ := strings.Cut(got, "\r\n\r\n"); field(head, "X-Large") != large || body != "ok" {
		t.Errorf("the client got another header, or body %q", body)
	}
}
