package origin

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"
)

// Passage is what Pass needs to know beside the request.
type Passage struct {
	Path    []byte        // to forward, as sent
	Query   []byte        // as sent, without its question mark; nil: there is none
	MaxBody int           // bytes of request body accepted; 0: any number
	Timeout time.Duration // to the end of the answer's header; 0: the service's own
}

// Pass forwards the request and answers with what the service answers: bodies are streamed both ways, and
// nothing is kept. When it returns nil, the response is set, its body still to be read by the server;
// otherwise the response is untouched and the error is an *Error, or a *RequestError for what is the
// client's fault.
func (o *Origin) Pass(ctx *fasthttp.RequestCtx, p Passage) error {
	u, err := newUpload(ctx, p.MaxBody)
	if err != nil {
		return err
	}
	if o.answerInstead(ctx) {
		return nil
	}
	r, err := o.passed(ctx, p, u)
	if err != nil {
		return err
	}
	done, err := o.allow()
	if err != nil {
		return err
	}
	o.metrics.running.Inc()
	a, err := o.exchange(r)
	if err == nil && a.response.StatusCode() == fasthttp.StatusSwitchingProtocols && !switchesTo(&a.response.Header, wanted(ctx)) {
		refuse(a)
		err = errSwitched
	}
	if err != nil {
		o.metrics.running.Dec()
		done(err)
		o.metrics.requests[outcomeOf(err)].Inc()
		return o.errorOf(err)
	}
	o.metrics.answered(a.elapsed())
	said := verdict(a.response.StatusCode())
	done(said)
	o.relay(ctx, r, a, func(cut error) {
		if cut == nil {
			cut = said
		}
		o.metrics.running.Dec()
		o.metrics.requests[outcomeOf(cut)].Inc()
	})
	return nil
}

// passed makes the request that goes out.
func (o *Origin) passed(ctx *fasthttp.RequestCtx, p Passage, u *upload) (*request, error) {
	method := string(ctx.Method())
	patience := o.patience()
	if p.Timeout > 0 {
		patience = min(patience, p.Timeout)
	}
	r := &request{ctx: context.Background(), method: method, upload: u}
	h := newHead(nil, method, o.base, p.Path, p.Query)
	if err := o.forward(ctx, &h); err != nil {
		return nil, err
	}
	switch {
	case u != nil && u.size < 0:
		h.addString(fasthttp.HeaderTransferEncoding, "chunked")
	case u != nil:
		h.addLength(u.size)
	case expectsBody(method):
		h.addLength(0)
	}
	h.end()
	r.head = h
	if u != nil {
		body, ok, err := u.inline()
		if err != nil {
			return nil, err
		}
		if ok {
			r.body, r.upload = body, nil
		}
	}
	r.by = time.Now().Add(patience) // what the client took to send its body is not the service's
	return r, nil
}

// expectsBody reports whether a request of the method without a body says so (RFC 9110 s.8.6).
func expectsBody(method string) bool {
	switch method {
	case fasthttp.MethodPost, fasthttp.MethodPut, fasthttp.MethodPatch:
		return true
	}
	return false
}

// relay sets the client's response.
func (o *Origin) relay(ctx *fasthttp.RequestCtx, r *request, a *answer, ended func(error)) {
	from, to := &a.response.Header, &ctx.Response.Header
	status := from.StatusCode()
	ctx.SetStatusCode(status)
	connection := connectionOf(from)
	for name, value := range from.All() {
		if !isHopByHop(name, connection) && !is(name, fasthttp.HeaderVia) {
			to.AddBytesKV(name, value)
		}
	}
	to.SetBytesV(fasthttp.HeaderVia, joinedVia(from.PeekAll(fasthttp.HeaderVia), from.Protocol()))
	if status == fasthttp.StatusSwitchingProtocols {
		o.tunnel(ctx, a, ended)
		return
	}
	early := r.upload
	if early != nil {
		select {
		case <-early.done:
			early = nil
		default:
			// What is left of the request is read while the response is written; where the next one would
			// begin is not waited for.
			ctx.SetConnectionClose()
			ctx.Response.ImmediateHeaderFlush = true // the client may wait for the status before it sends on
		}
	}
	if r.upload != nil && early == nil && r.upload.err != nil {
		from.SetConnectionClose() // the service did not take it all: its connection is of no more use
	}
	b := newBody(a, early, ended)
	if n := from.ContentLength(); n >= 0 && r.method == fasthttp.MethodHead {
		to.SetContentLength(n)
	}
	switch {
	case b.whole && early == nil:
		ctx.Response.SkipBody = r.method == fasthttp.MethodHead
		_ = b.Close()
	case b.whole:
		ctx.SetBodyStream(b, 0)
	case a.framing == bySize:
		ctx.SetBodyStream(b, from.ContentLength())
	case !ctx.Request.Header.IsHTTP11():
		o.streamToClose(ctx, b)
	default:
		ctx.SetBodyStream(b, -1)
	}
}

// refuse ends an exchange whose answer is not used.
func refuse(a *answer) {
	a.stop()
	a.give(false)
	fasthttp.ReleaseResponse(a.response)
}

func joinedVia(lines [][]byte, protocol []byte) []byte {
	var v []byte
	for _, line := range lines {
		v = append(append(v, line...), ", "...)
	}
	return append(v, via(protocol)...)
}
