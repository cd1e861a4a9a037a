package proxy

import (
	"net/textproto"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/proxy/problem"
	"forebay/rules"
	"forebay/upstream/origin"
)

// The fields that forebay writes, in the form fasthttp keeps them: canonical, so that nothing is
// normalised per response.
var (
	fieldAge          = []byte("Age")
	fieldCacheStatus  = []byte("Cache-Status")
	fieldETag         = []byte("Etag")
	fieldVary         = []byte("Vary")
	fieldServerTiming = []byte("Server-Timing")
	fieldEncoding     = []byte("Content-Encoding")

	acceptEncoding = []byte("Accept-Encoding")
)

// serve answers with a stored response and says how it came to that.
func (p *Proxy) serve(x *exchange, r *cache.StoredResponse, result Result, detail string) {
	x.outcome = Outcome{Result: result, TTL: r.Lifetime - r.AgeAt(x.start), Detail: detail}
	if result == Stale {
		x.outcome.TTL = min(x.outcome.TTL, 0) // outdated before its time: nothing is left of it
	}
	p.write304OrBody(x, r, true)
}

// deliver answers with a response that was fetched for this request or one it joined.
func (p *Proxy) deliver(x *exchange, r *cache.StoredResponse) {
	p.write304OrBody(x, r, x.outcome.Result == Hit)
}

// write304OrBody writes the response, or says that the client has it already. To one of another origin it writes
// nothing that does not answer it: the service has to be asked with its own fields.
func (p *Proxy) write304OrBody(x *exchange, r *cache.StoredResponse, aged bool) {
	if len(r.Vary) > 0 && x.judge.May(origin.OtherOrigin) && x.route.origin != nil && !origin.Answers(x.route.rule, r) &&
		len(x.ctx.Request.Header.Peek(fasthttp.HeaderOrigin)) > 0 {
		x.because = string(cache.RefusedVary)
		p.bypass(x)
		return
	}
	h := &x.ctx.Response.Header
	offered := x.state.encoder.worthwhile(r)
	var encoding *cache.Encoding
	if offered {
		encoding = p.negotiate(x, r)
	}
	etag, body := r.ETag, r.Body
	if encoding != nil {
		etag, body = encoding.ETag, encoding.Body
		h.SetCanonical(fieldEncoding, []byte(encoding.Coding))
	}
	x.writeFields(r, etag, offered)
	if aged || r.InitialAge > 0 {
		// What was fetched for this request came after it: it is no younger than when it came.
		at := max(x.start, r.Stored)
		x.scratch = strconv.AppendInt(x.scratch[:0], max(int64(r.AgeAt(at)/time.Second), 0), 10)
		h.SetCanonical(fieldAge, x.scratch)
	}
	p.writeOutcome(x)
	if r.Status == fasthttp.StatusOK && etag != "" && p.unchanged(x, etag) {
		x.ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	if r.Status == fasthttp.StatusNotFound && len(body) == 0 && r.ContentType == nil {
		p.noRow(x)
		return
	}
	x.ctx.SetStatusCode(r.Status)
	if len(r.ContentType) > 0 {
		h.SetContentTypeBytes(r.ContentType)
	}
	// The body is lent, not copied: a stored response's bytes are never written again, and the garbage
	// collector keeps them for as long as the response is being sent.
	if c, ok := x.ctx.Conn().(*pacedConn); ok && len(body) >= lentFrom && x.request.Method == fasthttp.MethodGet && mayHaveBody(r.Status) {
		c.lend(&x.ctx.Response, body)
		return
	}
	x.ctx.Response.SetBodyRaw(body)
}

// mayHaveBody reports whether a response with the status is sent with its body (RFC 9110 s.6.4.1).
func mayHaveBody(status int) bool {
	return status >= fasthttp.StatusOK && status != fasthttp.StatusNoContent && status != fasthttp.StatusNotModified
}

// writeFields writes what the response came with, its entity tag and what it differs by.
func (x *exchange) writeFields(r *cache.StoredResponse, etag string, offered bool) {
	h := &x.ctx.Response.Header
	x.scratch = append(x.scratch[:0], etag...)
	if head := r.Head; head != nil && etag != "" {
		if head.Server != nil {
			h.SetServerBytes(head.Server)
		}
		if offered {
			h.SetCanonical(head.Offered, x.scratch)
		} else {
			h.SetCanonical(head.Name, x.scratch)
		}
		x.headed = true
		return
	}
	for _, f := range r.Header {
		h.AddBytesKV(f.Name, f.Value)
	}
	if etag != "" {
		h.SetCanonical(fieldETag, x.scratch)
	}
	if vary := x.route.vary; len(vary) > 0 {
		h.AddBytesKV(fieldVary, vary)
	}
	if offered {
		h.AddBytesKV(fieldVary, acceptEncoding)
	}
}

// noRow says that the query had no row, which is cached like any answer.
func (p *Proxy) noRow(x *exchange) {
	problem.Write(x.ctx, problem.New(problem.NotFound, "There is nothing at this address: the query found no row."))
}

// writeOutcome adds Cache-Status, and Server-Timing for those who ask and may.
func (p *Proxy) writeOutcome(x *exchange) {
	h := &x.ctx.Response.Header
	x.scratch = x.outcome.AppendCacheStatus(x.scratch[:0])
	if x.route.origin == nil || x.headed {
		h.SetCanonical(fieldCacheStatus, x.scratch)
	} else {
		h.AddBytesKV(fieldCacheStatus, x.scratch) // after the members of caches nearer to the origin
	}
	if x.state.Config.Server.ServerTiming && x.judge.May(origin.ForebayTiming) && len(x.ctx.Request.Header.Peek("Forebay-Timing")) > 0 {
		x.scratch = appendServerTiming(x.scratch[:0], x, p.clock.Now())
		h.AddBytesKV(fieldServerTiming, x.scratch)
	}
	if c := x.route.cors; c != nil {
		c.allow(x.ctx)
	}
}

// appendServerTiming tells where the time went, in milliseconds.
func appendServerTiming(dst []byte, x *exchange, now cache.Instant) []byte {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	dst = append(dst, "cache;desc="...)
	dst = append(dst, x.outcome.Result.String()...)
	if x.source > 0 {
		dst = append(dst, ", source;dur="...)
		dst = strconv.AppendFloat(dst, ms(x.source), 'f', 3, 64)
	}
	dst = append(dst, ", total;dur="...)
	return strconv.AppendFloat(dst, ms(now.Sub(x.start)), 'f', 3, 64)
}

// negotiate returns the stored encoding that the client prefers, or nil for the body as it is. What is
// not there yet is made for those who come later.
func (p *Proxy) negotiate(x *exchange, r *cache.StoredResponse) *cache.Encoding {
	if !x.judge.May(origin.AcceptEncoding) {
		return nil
	}
	e := x.state.encoder
	accept := x.ctx.Request.Header.PeekBytes(acceptEncoding)
	if len(accept) == 0 {
		return nil
	}
	coding := cache.ChooseEncoding(accept)
	if coding == "" {
		return nil
	}
	if enc := r.Encoding(coding); enc != nil {
		if len(enc.Body) == 0 {
			return nil
		}
		return enc
	}
	if x.outcome.Result == Hit {
		e.ask(x.key, r, coding)
	}
	return nil
}

// unchanged reports whether the client's If-None-Match names the validator.
func (p *Proxy) unchanged(x *exchange, etag string) bool {
	if m := x.request.Method; m != "GET" && m != "HEAD" || !x.judge.May(origin.IfNoneMatch) {
		return false
	}
	tags := x.ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch)
	return len(tags) > 0 && cache.MatchesETag(tags, etag)
}

// varyOf returns the request fields that the rule's responses differ by, as the value of Vary.
func varyOf(r *rules.Rule) []byte {
	var v []byte
	add := func(name string) {
		if len(v) > 0 {
			v = append(v, ", "...)
		}
		v = append(v, textproto.CanonicalMIMEHeaderKey(name)...)
	}
	for _, name := range r.Vary {
		add(name)
	}
	for i := range r.Params {
		if r.Params[i].In == rules.FromHeader {
			add(r.Params[i].Field)
		}
	}
	if r.Query != nil && slices.ContainsFunc(r.Query.Formats, func(f rules.Format) bool { return f.Accept != "" }) {
		add(fasthttp.HeaderAccept)
	}
	for _, part := range r.Identity {
		if part.Cookie != "" {
			add("Cookie")
		} else {
			add(part.Header)
		}
	}
	return v
}
