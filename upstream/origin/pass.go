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

	// Ended, unless nil, is called once where Pass returns nil: when all of the answer is here, or its end is known,
	// which may be long after. Cut is what the service broke it off with; nil where it did not.
	Ended func(cut error)
}

func (p *Passage) end(cut error) {
	if p.Ended != nil {
		p.Ended(cut)
	}
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
		p.end(nil)
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
	ended := func(cut error) {
		if cut == nil {
			cut = said
		}
		o.metrics.running.Dec()
		o.metrics.requests[outcomeOf(cut)].Inc()
	}
	if a.response.StatusCode() == fasthttp.StatusSwitchingProtocols {
		relayHead(ctx, a)
		o.tunnel(ctx, a, ended)
		p.end(nil)
		return nil
	}
	b := newBody(a, r.stillSending(), ended)
	switch all, err := b.begin(ctx.Request.Header.IsHTTP11()); {
	case err != nil:
		_ = b.Close()
		return o.errorOf(err)
	case all:
		p.end(nil)
	default:
		b.told = p.end
	}
	o.relay(ctx, r, b)
	return nil
}

// stillSending returns the upload, if the answer is here before its end.
func (r *request) stillSending() *upload {
	if r.upload == nil {
		return nil
	}
	select {
	case <-r.upload.done:
		return nil
	default:
		return r.upload
	}
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

// relayHead sets the client's response but for its body.
func relayHead(ctx *fasthttp.RequestCtx, a *answer) {
	from, to := &a.response.Header, &ctx.Response.Header
	ctx.SetStatusCode(from.StatusCode())
	connection := connectionOf(from)
	for name, value := range from.All() {
		if !isHopByHop(name, connection) && !is(name, fasthttp.HeaderVia) {
			to.AddBytesKV(name, value)
		}
	}
	to.SetBytesV(fasthttp.HeaderVia, joinedVia(from.PeekAll(fasthttp.HeaderVia), from.Protocol()))
}

// relay sets the client's response.
func (o *Origin) relay(ctx *fasthttp.RequestCtx, r *request, b *body) {
	relayHead(ctx, b.a)
	from, early := &b.a.response.Header, b.upload
	if early != nil {
		// What is left of the request is read while the response is written; where the next one would
		// begin is not waited for.
		ctx.SetConnectionClose()
		ctx.Response.ImmediateHeaderFlush = true // the client may wait for the status before it sends on
	}
	if r.upload != nil && early == nil && r.upload.err != nil {
		from.SetConnectionClose() // the service did not take it all: its connection is of no more use
	}
	if n := from.ContentLength(); n >= 0 && r.method == fasthttp.MethodHead {
		ctx.Response.Header.SetContentLength(n)
	}
	empty := b.whole && len(b.first) == 0
	switch {
	case empty && early == nil:
		ctx.Response.SkipBody = r.method == fasthttp.MethodHead
		_ = b.Close()
	case empty:
		ctx.SetBodyStream(b, 0)
	case b.a.framing == bySize:
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
