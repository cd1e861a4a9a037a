package origin

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// HTTP/1.0 knows no chunks: a body of unknown length ends with the connection there. What is whole must end,
// and what is cut must be seen to be.
func TestAnOldClientSeesWhetherABodyIsWhole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		want   error
	}{
		"whole, chunked":   {"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", nil},
		"whole, to an end": {"HTTP/1.1 200 OK\r\nX: y\r\n\r\nabc", nil},
		"cut, chunked":     {"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, serve(t, answers(c.answer)).url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			p.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
			got, err := io.ReadAll(p.br)
			if !errors.Is(err, c.want) {
				t.Errorf("ended with %v, want %v", err, c.want)
			}
			if c.want != nil {
				return // a reset may overtake what was sent before it
			}
			head, body, _ := strings.Cut(string(got), "\r\n\r\n")
			if body != "abc" || field(head, "X") != "y" || field(head, "Transfer-Encoding") != "" || field(head, "Connection") != "close" {
				t.Errorf("got:\n%s", got)
			}
			if got := o.outcomes(answered); got != "1" {
				t.Errorf("%s requests counted as answered", got)
			}
		})
	}
}

func TestAnOldClientsStreamArrivesAsItIsSentAndEndsWithTheOrigin(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	s := serve(t, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for piece := range next {
			p.send(fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece))
		}
		_ = p.rest()
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
	p.head()
	for _, piece := range []string{"one", "two"} {
		next <- piece
		if got := p.read(3); got != piece {
			t.Fatalf("got %q, want %q", got, piece)
		}
	}
	close(next)
	o.Close()
	if _, err := io.ReadAll(p.br); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %v, want a reset", err)
	}
}

func TestAnOldClientThatLeavesEndsTheServicesAnswer(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	s := serve(t, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := io.WriteString(p.Conn, strings.Repeat("x", 1024)); err != nil {
				close(stopped)
				return
			}
		}
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
	p.head()
	_ = p.Close()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("the service is still sending")
	}
	eventually(t, "the request is counted as abandoned", func() bool { return o.outcomes(abandoned) == "1" })
}

// What is over must not be held for as long as the Origin lives.
func TestNothingIsKeptOfWhatIsOver(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n.")
	})
	o := newOrigin(t, s.url(), func(c *Config, _ *Deps) { c.MaxConnections = 1 })
	f := newFront(t, o.Origin, nil)
	for range 3 { // more than there may be at once
		p := f.dial()
		p.send(upgrade)
		if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 101 ") || p.read(1) != "." {
			t.Fatalf("answered %q", firstLine(h))
		}
		_ = p.rest()
	}
	eventually(t, "no tunnel is registered", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.tunnels) == 0
	})
}
