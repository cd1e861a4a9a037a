package origin

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// takeOver has the server hand the client's connection over instead of writing the response: run writes the
// header, which is complete by then, and what follows; the server closes the connection when it returns.
//
// The server drops the handover without a word when it cannot send what it owes the client from before. Then
// missed is called in place of run, some time later.
func takeOver(ctx *fasthttp.RequestCtx, run func(client net.Conn), missed func()) {
	var taken atomic.Bool
	guard := time.AfterFunc(bodyPause, func() {
		if taken.CompareAndSwap(false, true) {
			missed()
		}
	})
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(client net.Conn) {
		if taken.CompareAndSwap(false, true) {
			guard.Stop()
			run(client)
		}
	})
}

// streamToClose answers an HTTP/1.0 client with a body of unknown length: its end is the connection's (RFC
// 9112 s.6.3). The server would send chunks, which HTTP/1.0 does not know. A body that is cut must not look
// whole, so its connection is reset.
func (o *Origin) streamToClose(ctx *fasthttp.RequestCtx, b *body) {
	ctx.SetConnectionClose()
	takeOver(ctx, func(client net.Conn) {
		defer b.Close()
		t := &tunnel{client: client, service: b.a.conn}
		if !o.enter(t) {
			return
		}
		defer o.leave(t)
		_, err := client.Write(ctx.Response.Header.Header())
		if err == nil {
			_, err = io.Copy(client, b)
		}
		if err != nil {
			resetOnClose(client)
		}
	}, func() { _ = b.Close() })
}

// resetOnClose has the connection end with a reset, which no reader takes for the end of a body. Behind a
// wrapper that does not show its connection, it ends as any other does.
func resetOnClose(c net.Conn) {
	for {
		switch conn := c.(type) {
		case interface{ SetLinger(sec int) error }:
			_ = conn.SetLinger(0)
			return
		case interface{ UnsafeConn() net.Conn }:
			c = conn.UnsafeConn()
		case interface{ NetConn() net.Conn }:
			c = conn.NetConn()
		default:
			return
		}
	}
}

// tunnel has the server hand the client's connection over, and copies both ways behind the 101.
func (o *Origin) tunnel(ctx *fasthttp.RequestCtx, a *answer, ended func(error)) {
	h := &ctx.Response.Header
	takeOver(ctx, func(client net.Conn) {
		t := &tunnel{client: client, service: a.conn}
		if o.enter(t) {
			h.ResetConnectionClose()
			h.Set(fasthttp.HeaderConnection, "Upgrade")
			h.Set(fasthttp.HeaderUpgrade, websocket)
			if _, err := client.Write(h.Header()); err == nil {
				o.metrics.tunnels.Inc()
				t.run(a)
				o.metrics.tunnels.Dec()
			}
			o.leave(t)
		}
		refuse(a)
		ended(nil)
	}, func() {
		refuse(a)
		ended(context.Canceled)
	})
}
