package origin

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// websocket is the one protocol that is tunnelled. Behind another, h2c for one, a client could ask for any
// path past every rule.
const websocket = "websocket"

// wanted returns the protocol that the client asks to switch to, if it is one that is tunnelled; else "".
func wanted(ctx *fasthttp.RequestCtx) string {
	h := &ctx.Request.Header
	if !h.IsGet() || !h.IsHTTP11() || h.ContentLength() > 0 || h.ContentLength() == -1 {
		return ""
	}
	for _, line := range h.PeekAll(fasthttp.HeaderConnection) {
		if listedString(line, "upgrade") && listedString(h.Peek(fasthttp.HeaderUpgrade), websocket) {
			return websocket
		}
	}
	return ""
}

// switchesTo reports whether a 101 is for the protocol that was asked for.
func switchesTo(h *fasthttp.ResponseHeader, protocol string) bool {
	return protocol != "" && is(h.Peek(fasthttp.HeaderUpgrade), protocol)
}

// tunnel is two connections that the server no longer has to do with: each gets what the other sends, until
// either ends, or only the client's gets it. Safe for concurrent use.
type tunnel struct {
	client  net.Conn
	service *connection
	once    sync.Once
}

// cut ends both connections. The server closes the client's when the tunnel has returned, and until then
// its Close does nothing: a deadline in the past is what ends a read of it.
func (t *tunnel) cut() {
	t.once.Do(func() {
		_ = t.client.SetDeadline(time.Unix(1, 0))
		_ = t.service.Conn.Close()
	})
}

// enter registers the tunnel; false: the Origin is closed.
func (o *Origin) enter(t *tunnel) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.tunnels[t] = struct{}{}
	o.running.Add(1)
	return true
}

func (o *Origin) leave(t *tunnel) {
	o.mu.Lock()
	delete(o.tunnels, t)
	o.mu.Unlock()
	o.running.Done()
}

// run copies both ways until one of them ends, and then ends the other.
func (t *tunnel) run(a *answer) {
	_ = t.service.rest() // a tunnel may be silent for as long as it likes
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(t.service, t.client)
		t.cut()
	})
	_, _ = io.Copy(t.client, a.br)
	t.cut()
	up.Wait()
}
