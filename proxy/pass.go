package proxy

import (
	"context"
	"errors"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/proxy/problem"
	"forebay/rules"
	"forebay/upstream/origin"
)

// pass hands the request to the HTTP service as it is: bodies are streamed both ways, and nothing is
// stored. Path and query are what goes out: as they came for a rule that stores nothing, and what is keyed
// for one that does.
func (p *Proxy) pass(x *exchange, why Forward, path, query []byte) {
	x.outcome = Outcome{Result: Bypass, Forward: why, Detail: x.because}
	if why == ForwardMethod {
		x.outcome.Result = Write
	}
	before := p.clock.Now()
	if n := x.ctx.Request.Header.ContentLength(); n > 0 || n == -1 {
		beginBody(x.ctx)
	}
	t, result := x.route, x.outcome.Result
	err := t.origin.Pass(x.ctx, origin.Passage{
		Path: path, Query: query, MaxBody: t.rule.MaxBody, Timeout: x.remaining(before),
		Ended: func(cut error) { p.passed(t, result, cut) },
	})
	x.counted = err == nil
	x.source += p.clock.Now().Sub(before)
	var refused *origin.RequestError
	switch {
	case errors.As(err, &refused):
		x.outcome.Result, x.outcome.Forward = Refused, NotForwarded
		x.ctx.SetConnectionClose() // what is left of its body is not read
		x.refuse(problem.OfStatus(refused.Status, sentenceOf(refused)))
		return
	case err != nil:
		if origin.IsUnsafe(x.request.Method) && wasReached(err) {
			p.invalidate(x)
		}
		x.outcome.Result = Failed
		p.writeFailure(x, err)
		return
	}
	x.outcome.Status = x.ctx.Response.StatusCode()
	if origin.IsUnsafe(x.request.Method) && mayHaveChanged(x.outcome.Status) {
		p.invalidate(x)
		p.stamp(x)
	}
	p.writeOutcome(x)
}

// passed counts a request whose answer passed through: at its end, as only then it is known whether it was whole.
func (p *Proxy) passed(t *route, result Result, cut error) {
	if cut != nil {
		result = Failed
		p.complain(t, "answer was cut short", fasthttp.StatusBadGateway, cut)
	}
	t.metrics.requests[result].Inc()
}

// wasReached reports whether a service that gave no answer may have carried out what it was asked.
func wasReached(err error) bool {
	var o *origin.Error
	return errors.As(err, &o) && o.Reached
}

// mayHaveChanged reports whether a service that answers an unsafe request with the status may have carried it out:
// it says so, or it is a gateway whose own service gave no answer. What it refused, or failed in, is as it was.
func mayHaveChanged(status int) bool {
	switch status {
	case fasthttp.StatusBadGateway, fasthttp.StatusGatewayTimeout:
		return true
	}
	return status >= 200 && status < 400
}

// passKeyed hands on what the rule's key is made of.
func (p *Proxy) passKeyed(x *exchange, why Forward) {
	query := x.input.Query
	if len(query) == 0 {
		query = nil // not even its question mark
	}
	p.pass(x, why, x.input.Path, query)
}

// bypass fetches for this request alone, without asking the cache or telling it.
func (p *Proxy) bypass(x *exchange) {
	switch {
	case x.route.origin == nil:
		p.forward(x, ForwardBypass)
	case x.route.rule.Pass:
		p.pass(x, ForwardBypass, x.request.Path, x.request.Query)
	default:
		p.passKeyed(x, ForwardBypass)
	}
}

// sentenceOf says what was wrong with a request that could not be forwarded.
func sentenceOf(e *origin.RequestError) string {
	switch e.Status {
	case fasthttp.StatusRequestEntityTooLarge:
		return "The request's body is larger than this route accepts."
	case fasthttp.StatusRequestTimeout:
		return "The request's body did not arrive in time."
	}
	return "The request's body ended early or is not framed as HTTP/1.1 has it."
}

// invalidate outdates what is stored for the target of an unsafe request that the service accepted (RFC
// 9111 s.4.4), or of which nobody knows whether it did: every variant, here and, as soon as they hear of it, in
// other instances.
func (p *Proxy) invalidate(x *exchange) {
	p.outdateTarget(x, func(*rules.Rule) bool { return true })
}

// invalidateService is invalidate for a write that the database carried out, where a service answers for the same
// target: what it said is not known to depend on what was written, unless its rule declares what it reads.
func (p *Proxy) invalidateService(x *exchange) {
	p.outdateTarget(x, func(r *rules.Rule) bool { return r.Upstream != "" && !r.Primary })
}

// outdateTarget outdates what the rules that are concerned keep for the request's target, and for every other path
// that the service may have taken it for: the path goes out as it came, and most services resolve dot segments.
func (p *Proxy) outdateTarget(x *exchange, concerned func(*rules.Rule) bool) {
	var prefixes [][]byte
	for _, path := range append(rules.Readings(x.request.Path), x.request.Path) {
		rule, prefix, err := p.keyPrefixOf(x.state, path, x.request.Query)
		if err == nil && concerned(rule) { // else no rule keeps anything for it
			prefixes = append(prefixes, prefix)
		}
	}
	if len(prefixes) > 0 {
		p.outdate(prefixes)
	}
}

// outdate outdates all keys that begin with one of the prefixes.
func (p *Proxy) outdate(prefixes [][]byte) {
	purge := cache.Purge{KeyPrefixes: prefixes}
	p.log.Purge(purge)
	p.metrics.invalidated.Inc()
	if p.shared == nil {
		return
	}
	p.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), sharedTimeout)
		defer cancel()
		_ = p.shared.Purge(ctx, purge) // counted and sent again by the tier
	})
}
