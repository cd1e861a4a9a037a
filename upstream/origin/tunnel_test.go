package origin

import (
	"strings"
	"testing"
)

const upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

func TestAWebSocketIsTunnelled(t *testing.T) {
	t.Parallel()
	gone := make(chan string, 1)
	s := serve(t, func(p *peer) {
		h := p.head()
		for name, want := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
			if got := field(h, name); got != want {
				t.Errorf("the service got %s: %q, want %q", name, got, want)
			}
		}
		p.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello")
		p.send(strings.ToUpper(p.read(5)))
		gone <- p.rest()
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send(upgrade + "early") // before the 101 is here
	h := p.head()
	if !strings.HasPrefix(h, "HTTP/1.1 101 ") || field(h, "Upgrade") != "websocket" || field(h, "Connection") != "Upgrade" || field(h, "Sec-WebSocket-Accept") != "x" {
		t.Fatalf("answered:\n%s", h)
	}
	if got := p.read(10); got != "helloEARLY" {
		t.Errorf("got %q through the tunnel", got)
	}
	eventually(t, "one tunnel is counted", func() bool { return o.count(`forebay_upstream_tunnels_current{upstream="legacy"}`) == "1" })
	_ = p.Close()
	if rest := <-gone; rest != "" {
		t.Errorf("the service got %q at the end", rest)
	}
	eventually(t, "no tunnel is counted", func() bool { return o.count(`forebay_upstream_tunnels_current{upstream="legacy"}`) == "0" })
}

func TestCloseEndsTunnels(t *testing.T) {
	t.Parallel()
	s := serve(t, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n.")
		_ = p.rest()
	})
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	p.send(upgrade)
	p.head()
	p.read(1)
	o.Close()
	if rest := p.rest(); rest != "" {
		t.Errorf("got %q after the end", rest)
	}
}

func TestAServiceMayDeclineToSwitch(t *testing.T) {
	t.Parallel()
	s := serve(t, always(ok))
	o := newOrigin(t, s.url(), nil)
	f := newFront(t, o.Origin, nil)
	p := f.dial()
	for range 2 {
		p.send(upgrade)
		if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 200 ") || p.read(2) != "ok" {
			t.Errorf("answered %q", firstLine(h))
		}
	}
}

// Behind a tunnel of another protocol, h2c for one, requests would pass every rule by.
func TestNoOtherProtocolIsTunnelled(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"h2c":                           "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
		"an Upgrade that nobody listed": "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
		"a POST":                        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			heads := make(chan string, 1)
			s := serve(t, record(heads, ok))
			o := newOrigin(t, s.url(), nil)
			f := newFront(t, o.Origin, nil)
			p := f.dial()
			p.send(request)
			if h := p.head(); !strings.HasPrefix(h, "HTTP/1.1 200 ") {
				t.Errorf("answered %q", firstLine(h))
			}
			if h := <-heads; field(h, "Upgrade") != "" || field(h, "HTTP2-Settings") != "" || field(h, "Connection") != "" {
				t.Errorf("the service was asked to switch:\n%s", h)
			}
		})
	}
}
