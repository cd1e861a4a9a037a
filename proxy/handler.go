package proxy

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/proxy/performance"
	"forebay/proxy/problem"
	"forebay/rules"
	"forebay/upstream/origin"
)

// Handle answers one request.
func (p *Proxy) Handle(ctx *fasthttp.RequestCtx) {
	x := p.exchanges.Get().(*exchange)
	x.open(ctx, p.state.Load(), p.clock.Now())
	x.arrived = p.log.Position()
	defer p.done(x)
	// A target that is remembered was found sound, and so were these very fields: no need to read either.
	if x.judge.Knows(&ctx.Request.Header) && p.again(x) {
		return
	}
	if x.isSound() && !p.again(x) {
		p.answer(x)
	}
}

// isSound refuses a request that two readers could take differently, and closes its connection: where the
// next request would begin is unknown.
func (x *exchange) isSound() bool {
	what := x.judge.Ambiguous(&x.ctx.Request.Header)
	if what == "" {
		return true
	}
	x.refuse(problem.New(problem.Malformed, "The request's framing is ambiguous: "+what+"."))
	x.ctx.SetConnectionClose()
	return false
}

// done accounts for the request and gives its exchange back. A panic of the path is this request's 500
// and nobody else's end.
func (p *Proxy) done(x *exchange) {
	if cause := recover(); cause != nil {
		p.metrics.panics.Inc()
		p.logger.Error("request handler panicked", "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
		x.outcome = Outcome{Result: Failed}
		x.ctx.Response.Reset()
		problem.Write(x.ctx, problem.New(problem.Internal, "The request could not be answered because of an error in forebay itself."))
	}
	if p.leaving.Load() {
		x.ctx.SetConnectionClose()
	}
	p.account(x)
	x.close()
	p.exchanges.Put(x)
}

// answer is the path of a request.
func (p *Proxy) answer(x *exchange) {
	if !p.match(x) {
		return
	}
	if x.route.rule.Pass {
		p.bypass(x)
		return
	}
	if !p.read(x) {
		return
	}
	rule := x.route.rule
	switch {
	case x.format >= 0 && rule.Query.Formats[x.format].Stream:
		p.export(x)
		return
	case rule.Writes() && x.route.origin != nil:
		p.passKeyed(x, ForwardMethod)
		return
	case rule.Writes():
		p.write(x)
		return
	case !rule.Stores():
		p.bypass(x)
		return
	case x.input.Unkeyed:
		x.because = ambiguousPath
		p.bypass(x)
		return
	case p.bypassAll.Load(), x.route.bypassed():
		x.because = "kill-switch"
		p.bypass(x)
		return
	case x.route.origin != nil && origin.Personal(rule, &x.ctx.Request.Header):
		x.because = "credentials"
		p.bypass(x)
		return
	}
	x.key = rule.AppendKey(x.key[:0], &x.request, &x.input)
	if p.ahead(x) {
		p.forward(x, ForwardStale)
		return
	}
	stored, use, missed := p.lookup(x)
	switch {
	case missed == ForwardBypass:
		x.because = "uncacheable"
		p.bypass(x)
	case use == cache.Fresh:
		x.state.recall.remember(x, p.memory, stored)
		p.serve(x, stored, Hit, x.outcome.Detail)
		p.audit(x, stored)
	case use == cache.Revalidatable:
		p.refresh(x)
		if x.outcome.Detail == "" {
			x.outcome.Detail = "stale-while-revalidate"
		}
		p.serve(x, stored, Stale, x.outcome.Detail)
	case p.shared != nil && p.sharedHit(x, &stored):
	default:
		p.miss(x, stored, missed)
	}
}

// ambiguousPath is why a request passes the cache by whose path services read in different ways: what one answers to
// it may be another path's.
const ambiguousPath = "ambiguous-path"

// match finds the rule, or answers that there is none. It also hands what is not of any rule to those
// whose it is: the performance endpoints and preflights.
func (p *Proxy) match(x *exchange) bool {
	s := x.state
	if n := len(x.ctx.Request.Header.RequestURI()); n > s.Config.Server.MaxURLLength {
		x.refuse(problem.New(problem.URITooLong, fmt.Sprintf("The request target has %d bytes; at most %d are accepted.", n, s.Config.Server.MaxURLLength)))
		return false
	}
	if p.performance(x) || x.request.Method == fasthttp.MethodOptions && p.preflight(x) {
		return false
	}
	switch s.Config.Rules.Match(x.request.Method, x.request.Path, &x.match) {
	case rules.Matched:
		x.route = s.routes[x.match.Rule.Index]
		x.deadline = x.match.Rule.Timeout
		return true
	case rules.MethodNotAllowed:
		x.ctx.Response.Header.Set(fasthttp.HeaderAllow, strings.Join(x.match.Allow, ", "))
		x.refuse(problem.New(problem.MethodNotAllowed, "This path has no route for the method "+printable(x.request.Method)+"."))
	default:
		x.refuse(problem.New(problem.NoRoute, "No route of this service matches the path."))
	}
	return false
}

// performance hands the request to the performance endpoints if its path is theirs.
func (p *Proxy) performance(x *exchange) bool {
	prefix := x.state.Config.Performance.Path
	if x.state.Performance == nil || len(x.request.Path) < len(prefix) || string(x.request.Path[:len(prefix)]) != prefix {
		return false
	}
	if rest := x.request.Path[len(prefix):]; len(rest) > 0 && rest[0] != '/' {
		return false
	}
	x.outcome = Outcome{Result: Bypass}
	x.state.Performance.Serve(x.ctx)
	return true
}

// preflight answers an OPTIONS for a path whose rule of the method asked for speaks of other origins, also
// where a catch-all would take it: the service behind that does not know of the rule.
func (p *Proxy) preflight(x *exchange) bool {
	wanted := x.ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestMethod)
	if len(wanted) == 0 {
		return false
	}
	if x.state.Config.Rules.Match(methodName(wanted), x.request.Path, &x.match) != rules.Matched {
		return false
	}
	c := x.state.routes[x.match.Rule.Index].cors
	if c == nil {
		return false
	}
	x.outcome = Outcome{Result: Refused}
	c.preflight(x.ctx)
	return true
}

// read takes the request's parameters in, or answers what is wrong with them.
func (p *Proxy) read(x *exchange) bool {
	rule := x.route.rule
	h := &x.ctx.Request.Header
	x.request.ContentType = h.ContentType()
	if rule.ReadsBody() {
		body, err := readBody(x.ctx, rule.MaxBody)
		if err != nil {
			x.refuse(err)
			return false
		}
		x.request.Body = body
	}
	if err := rule.ReadInput(&x.request, &x.match, &x.input); err != nil {
		x.refuse(problem.OfInput(err))
		return false
	}
	if rule.Query != nil && len(rule.Query.Formats) > 0 {
		x.format = chooseFormat(rule, &x.input, h.Peek(fasthttp.HeaderAccept))
	}
	return true
}

// lookup asks the memory tier. Missed tells why nothing fit to serve was found; ForwardBypass that the
// key is known to have no storable response. A word for what was found is left in the outcome.
func (p *Proxy) lookup(x *exchange) (r *cache.StoredResponse, use cache.Freshness, missed Forward) {
	missed = ForwardURIMiss
	r = p.memory.Lookup(x.key)
	if r == nil {
		return nil, cache.Expired, missed
	}
	use, x.outcome.Detail = p.judge(x.route.rule, r, x.start)
	if r.Kind == cache.Uncacheable {
		if use == cache.Fresh {
			return nil, cache.Expired, ForwardBypass
		}
		return nil, cache.Expired, missed
	}
	if use > cache.Revalidatable {
		x.replaces = p.outdated(r)
	}
	if use == cache.Expired {
		return nil, use, ForwardStale
	}
	return r, use, ForwardStale
}

// timedHits : one hit in so many is timed. Asking for the time twice would be a fiftieth of its cost.
const timedHits = 16

// account prints the outcome where it is counted.
func (p *Proxy) account(x *exchange) {
	o := &x.outcome
	if x.route == nil {
		p.metrics.unmatched.Inc()
		return
	}
	if !x.counted {
		x.route.metrics.requests[o.Result].Inc()
	}
	hit := o.Result == Hit || o.Result == Stale
	if x.hits++; !hit || x.hits%timedHits == 0 || x.took == 0 {
		x.took = p.clock.Now().Sub(x.start) // a hit that is not timed took what the last one did that was
	}
	took := x.took
	if !hit {
		x.route.metrics.duration.Update(took.Seconds())
		x.took = 0
	}
	if x.route.record != nil && o.Result != Refused {
		x.state.Performance.Record(performance.Query{Rule: x.route.record, Duration: took, Waited: x.waited, At: x.start, Hit: hit, Failed: o.Result == Failed})
	}
	if x.state.Config.Log.Access && !hit {
		p.logger.Info("request", "rule", x.route.rule.Name, "outcome", o.Result.String(), "status", x.ctx.Response.StatusCode(), "duration", took)
	}
}

// refuse answers with a problem.
func (x *exchange) refuse(q *problem.Problem) {
	problem.Write(x.ctx, q)
	if x.route != nil && x.route.cors != nil {
		x.route.cors.allow(x.ctx)
	}
}

// printable keeps a client's method from writing anything but a word into a sentence.
func printable(method string) string {
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return "asked for"
		}
	}
	return method
}
