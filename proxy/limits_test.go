package proxy_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// patience bounds every wait of these tests: a hang is a failure with a name.
const patience = 20 * time.Second

// caller is a client that sends raw bytes.
type caller struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func call(t *testing.T, address, from string) *caller {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &caller{t: t, Conn: conn, br: bufio.NewReader(conn)}
}

func (c *caller) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads one response, whole.
func (c *caller) hear() (response *http.Response, body string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response, string(text)
}

const limitsConfig = `
server: {SERVER}
upstreams: {service: {url: "http://SERVICE", timeout: 500ms}}
routes: [{route: /**, upstream: service}]
`

func serveLimited(t *testing.T, server string) (address string) {
	t.Helper()
	_, address = serveBefore(t, strings.Replace(limitsConfig, "SERVER", server, 1), echo)
	return address
}

func echo(ctx *fasthttp.RequestCtx) { ctx.SetBody(ctx.Request.Body()) }

const (
	plainGet  = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	slowStart = "GET / HTTP/1.1\r\nHost: a\r\nX-Slow:"
	home      = "127.0.0.1"
)

// outlast waits until a header that began now would have been given up.
func outlast(t *testing.T, address string) {
	t.Helper()
	c := call(t, address, home)
	c.say(slowStart)
	if r, _ := c.hear(); r.StatusCode != http.StatusRequestTimeout {
		t.Fatalf("a header without an end was answered %d, want 408", r.StatusCode)
	}
}

func TestABodyHasTimeOfItsOwn(t *testing.T) {
	t.Parallel()
	address := serveLimited(t, "header_timeout: 500ms, body_timeout: 1h") // and what a client takes is none of the service's
	for _, framing := range []string{"Content-Length: 6\r\n\r\nabc", "Content-Length: 6\r\nExpect: 100-continue\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n6\r\nabc"} {
		c := call(t, address, home)
		c.say("POST / HTTP/1.1\r\nHost: a\r\n" + framing)
		outlast(t, address)
		c.say("def")
		if strings.Contains(framing, "chunked") {
			c.say("\r\n0\r\n\r\n")
		}
		if strings.Contains(framing, "Expect") {
			if r, _ := c.hear(); r.StatusCode != http.StatusContinue {
				t.Errorf("answered %d, want 100 first", r.StatusCode)
			}
		}
		if r, body := c.hear(); r.StatusCode != http.StatusOK || body != "abcdef" {
			t.Errorf("%q: answered %d %q", framing, r.StatusCode, body)
		}
		c.say(plainGet) // and the connection is in step
		if r, _ := c.hear(); r.StatusCode != http.StatusOK {
			t.Errorf("%q: the next request was answered %d", framing, r.StatusCode)
		}
	}
}

func TestAHeaderHasNoneOfABodysTime(t *testing.T) {
	t.Parallel()
	outlast(t, serveLimited(t, "header_timeout: 200ms, body_timeout: 1h, max_connections_per_ip: 5"))
}

func TestAConnectionForWhichThereIsNoPlaceIsTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		server string
		status int
		kind   string
		other  int // what a client of another address is answered
	}{
		{"max_connections: 2", http.StatusServiceUnavailable, "urn:forebay:problem:overloaded", http.StatusServiceUnavailable},
		{"max_connections_per_ip: 2", http.StatusTooManyRequests, "urn:forebay:problem:too-many-requests", http.StatusOK},
	} {
		t.Run(c.server, func(t *testing.T) {
			t.Parallel()
			address := serveLimited(t, c.server)
			var held [2]*caller
			for i := range held {
				held[i] = call(t, address, home)
				held[i].say(plainGet)
				held[i].hear()
			}
			r, body := call(t, address, home).hear() // without having asked anything
			var said struct{ Type string }
			if err := json.Unmarshal([]byte(body), &said); err != nil {
				t.Errorf("%v: %s", err, body)
			}
			if r.StatusCode != c.status || said.Type != c.kind || r.Header.Get("Retry-After") != "1" || !r.Close ||
				r.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("answered %d %v: %s", r.StatusCode, r.Header, body)
			}
			if status := knock(t, address, "127.0.0.2"); status != c.other {
				t.Errorf("a client of another address was answered %d, want %d", status, c.other)
			}
			held[1].say(plainGet) // who has a place is not disturbed
			if r, _ := held[1].hear(); r.StatusCode != http.StatusOK {
				t.Errorf("who has a place was answered %d", r.StatusCode)
			}
			_ = held[0].Close()
			for deadline := time.Now().Add(patience); knock(t, address, home) != http.StatusOK; {
				if time.Now().After(deadline) {
					t.Fatal("the place of a connection that was closed is not free")
				}
			}
		})
	}
}

// knock asks once on a connection of its own, and ends it.
func knock(t *testing.T, address, from string) (status int) {
	t.Helper()
	c := call(t, address, from)
	defer c.Close()
	c.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	r, _ := c.hear()
	return r.StatusCode
}

func TestTheLastRequestOfAConnectionIsAnsweredAndToldSo(t *testing.T) {
	t.Parallel()
	server, address := serveBefore(t, strings.Replace(limitsConfig, "SERVER", "drain_timeout: 10m", 1), echo)
	var clients [3]*caller
	for i := range clients {
		clients[i] = call(t, address, home)
		clients[i].say(plainGet)
		if r, _ := clients[i].hear(); r.Close {
			t.Fatal("a connection is said to end that need not")
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Shutdown(t.Context()) }()
	for deadline := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", address)
		if err != nil {
			break // nothing new is taken
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("connections are still accepted")
		}
	}
	for _, c := range clients {
		c.say(plainGet)
		if r, _ := c.hear(); r.StatusCode != http.StatusOK || !r.Close {
			t.Errorf("answered %d, and that it is the last one: %t", r.StatusCode, r.Close)
		}
		if _, err := c.br.ReadByte(); err != io.EOF {
			t.Errorf("after the last response: %v, want the end", err)
		}
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the server waits for connections that have ended")
	}
}

func TestWhoAsksNothingIsClosedWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	c := call(t, serveLimited(t, "header_timeout: 200ms, idle_timeout: 1h"), home)
	if text, err := io.ReadAll(c.br); err != nil || len(text) > 0 {
		t.Errorf("a connection that sent nothing was told %q, %v", text, err)
	}
}
