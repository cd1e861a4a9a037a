package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/proxy/problem"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// condition returns what the request's If-Match and If-None-Match make of a write (RFC 9110 s.13.1): it is done
// only if they hold of what a GET of the same target answers just before. Nil and nil: there are none. Where
// they cannot be judged the write must not be done, as they may not hold.
//
// If-Modified-Since is for reads only, and If-Unmodified-Since is ignored where responses have no Last-Modified,
// as those of queries have none (s.13.1.4).
func (p *Proxy) condition(x *exchange) (*postgres.Condition, *problem.Problem) {
	match, noneMatch := x.listed(fasthttp.HeaderIfMatch), x.listed(fasthttp.HeaderIfNoneMatch)
	if match == nil && noneMatch == nil {
		return nil, nil
	}
	if match != nil && !says(match) || noneMatch != nil && !says(noneMatch) {
		return nil, problem.New(problem.Malformed, "If-Match or If-None-Match has nothing in it; nothing was changed.")
	}
	if x.route.rule.Batch != nil {
		return nil, problem.New(problem.NotImplemented, "If-Match and If-None-Match are not judged for a batch; nothing was changed.")
	}
	c := &postgres.Condition{Input: new(rules.Input), Format: -1, Holds: func(r *cache.StoredResponse) bool {
		exists := r.Status >= 200 && r.Status < 300
		tag := ""
		if r.Status == fasthttp.StatusOK {
			tag = entityTag(r.Body)
		}
		return (match == nil || exists && names(match, tag, cache.MatchesETagStrongly)) &&
			(noneMatch == nil || !exists || !names(noneMatch, tag, cache.MatchesETag))
	}}
	request := rules.Request{Method: fasthttp.MethodGet, Path: x.request.Path, Query: x.request.Query, Header: x.request.Header}
	var m rules.Match
	if x.state.Config.Rules.Match(request.Method, request.Path, &m) != rules.Matched || m.Rule.Query == nil {
		return nil, problem.New(problem.NotImplemented, "If-Match and If-None-Match cannot be judged: no query answers a GET of this address. Nothing was changed.")
	}
	c.Rule = m.Rule
	if err := c.Rule.ReadInput(&request, &m, c.Input); err != nil {
		return nil, problem.OfInput(err)
	}
	if format := chooseFormat(c.Rule, c.Input, x.ctx.Request.Header.Peek(fasthttp.HeaderAccept)); format >= 0 && !c.Rule.Query.Formats[format].Stream {
		c.Format = format
	}
	return c, nil
}

// listed returns a field's value, its lines joined; nil if the request has none. One that is there and empty is not
// nil: to take it for absent would do a write that was to be done on a condition.
func (x *exchange) listed(name string) []byte {
	lines := x.header(name)
	if len(lines) == 0 {
		return nil
	}
	return append([]byte{}, bytes.Join(lines, []byte(", "))...)
}

// says reports whether there is more in a list than commas and blanks.
func says(tags []byte) bool { return len(bytes.Trim(tags, " \t,")) > 0 }

// names reports whether the tags name a representation whose own entity tag is tag; or one that differs in its
// coding only.
func names(tags []byte, tag string, match func(tags []byte, tag string) bool) bool {
	return string(bytes.TrimSpace(tags)) == "*" || match(cache.AppendPlainTags(nil, tags), tag)
}
