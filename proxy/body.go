package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/dustin/go-humanize"
	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
	"forebay/rules"
)

// readBody returns the request's body, whole, if it has at most limit bytes. The bytes are the request's.
func readBody(ctx *fasthttp.RequestCtx, limit int) ([]byte, *problem.Problem) {
	h := &ctx.Request.Header
	if coding := h.Peek(fasthttp.HeaderContentEncoding); len(coding) > 0 && !bytes.EqualFold(coding, []byte("identity")) {
		return nil, problem.New(problem.UnsupportedMediaType, "The body is compressed; send it without Content-Encoding.")
	}
	if h.ContentLength() > limit {
		return nil, tooLarge(ctx, limit)
	}
	beginBody(ctx)
	stream := ctx.RequestBodyStream()
	if stream == nil {
		body := ctx.Request.Body()
		if len(body) > limit {
			return nil, tooLarge(ctx, limit)
		}
		return body, nil
	}
	body, err := io.ReadAll(io.LimitReader(stream, int64(limit)+1))
	if len(body) > limit {
		return nil, tooLarge(ctx, limit)
	}
	if err == nil {
		return body, nil
	}
	ctx.SetConnectionClose() // where the next request would begin is unknown
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		return nil, problem.New(problem.RequestTimeout, "The request's body did not arrive in time.")
	}
	return nil, problem.New(problem.Malformed, "The request's body ended early or is not framed as HTTP/1.1 has it.")
}

// beginBody gives a body the time of its own.
func beginBody(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(*pacedConn); ok {
		c.body()
	}
}

// expected answers a client that asks before it sends its body (Expect: 100-continue): 100, or the refusal
// of a body too large for its rule, which then stays where it is. The server does not call the
// handler then: it sends the response as it is left here, with the status returned, and closes the connection.
// Its documentation asks to leave the response alone; a status without a problem would be all of it then.
func (p *Proxy) expected(ctx *fasthttp.RequestCtx) int {
	s := p.state.Load()
	h := &ctx.Request.Header
	limit := s.Config.Server.MaxBodySize
	path, _ := splitTarget(h.RequestURI())
	var match rules.Match
	var t *route
	if s.Config.Rules.Match(methodName(h.Method()), path, &match) == rules.Matched {
		t = s.routes[match.Rule.Index]
		limit = t.rule.MaxBody
	}
	if limit <= 0 || h.ContentLength() <= limit {
		return fasthttp.StatusContinue
	}
	x := p.exchanges.Get().(*exchange)
	x.open(ctx, s, p.clock.Now())
	defer p.done(x)
	x.route = t
	x.refuse(tooLarge(ctx, limit))
	return ctx.Response.StatusCode()
}

// tooLarge closes the connection as well: what is left of the body is not worth reading.
func tooLarge(ctx *fasthttp.RequestCtx, limit int) *problem.Problem {
	ctx.SetConnectionClose()
	return problem.New(problem.ContentTooLarge, fmt.Sprintf("The request's body is larger than the %s accepted here.", humanize.IBytes(uint64(limit))))
}
