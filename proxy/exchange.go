package proxy

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/origin"
)

// exchange is one request on its way. It is pooled: nothing of it may be kept after close. Not safe for
// concurrent use.
type exchange struct {
	ctx     *fasthttp.RequestCtx
	state   *state
	route   *route
	match   rules.Match
	request rules.Request
	input   rules.Input
	key     []byte
	judge   origin.Judge
	scratch []byte

	start    cache.Instant
	deadline time.Duration  // of the whole request, from start
	arrived  cache.Position // the log's position: what an answer must have seen
	format   int            // of the query's forms; -1: the rule's own
	source   time.Duration  // spent waiting for the source
	waited   time.Duration  // of that, for a connection to it
	token    uint64         // the WAL position of the commit that the caller must see; 0: none, or not known here
	behind   bool           // the log may not know that commit
	auditing choice
	asked    bool                  // the shared tier, which had nothing to serve
	replaces *cache.StoredResponse // what a change outdated under the key; nil: nothing
	because  string                // why it passes the cache by; "" when the rule says so
	counted  bool                  // the outcome is counted when its answer ends
	headed   bool                  // the response's fields were written as one: none of them can be found again
	outcome  Outcome
	hits     uint          // that this exchange has answered, request after request
	took     time.Duration // the last of them that was timed
}

// newExchange makes an empty one, with the closures it will need: made per request, each would allocate.
func newExchange() *exchange {
	x := &exchange{}
	x.request.Header = x.header
	return x
}

// open takes the request in.
func (x *exchange) open(ctx *fasthttp.RequestCtx, s *state, now cache.Instant) {
	x.ctx, x.state, x.route, x.start = ctx, s, nil, now
	x.format, x.source, x.waited, x.outcome, x.replaces, x.because = -1, 0, 0, Outcome{Result: Refused}, nil, ""
	x.counted = false
	x.auditing, x.asked, x.headed, x.token, x.behind = undecided, false, false, 0, false
	x.key = x.key[:0]
	h := &ctx.Request.Header
	path, query := splitTarget(h.RequestURI())
	x.request.Method = methodName(h.Method())
	x.request.Path, x.request.Query = path, query
	x.request.ContentType, x.request.Body = nil, nil
}

// close lets go of everything that belongs to the request.
func (x *exchange) close() {
	x.ctx, x.state, x.route = nil, nil, nil
	x.match.Rule, x.replaces = nil, nil
	x.request.Path, x.request.Query, x.request.Body, x.request.ContentType = nil, nil, nil, nil
}

// header returns the values of a request field, one for each line.
func (x *exchange) header(name string) [][]byte { return x.ctx.Request.Header.PeekAll(name) }

// remaining returns what is left of the request's time.
func (x *exchange) remaining(now cache.Instant) time.Duration { return x.deadline - now.Sub(x.start) }

// splitTarget cuts a request target into path and query as sent. The absolute form (RFC 9112 s.3.2.2)
// loses its scheme and authority: forebay is the origin its clients speak to, never a forward proxy.
func splitTarget(target []byte) (path, query []byte) {
	if len(target) > 0 && target[0] != '/' {
		if i := bytes.Index(target, []byte("://")); i >= 0 {
			rest := target[i+3:]
			if j := bytes.IndexAny(rest, "/?"); j >= 0 {
				target = rest[j:]
			} else {
				target = []byte{'/'}
			}
		}
	}
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i+1:]
	}
	return target, nil
}

// methodName returns the method without allocating for those that rules usually name.
func methodName(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "PATCH":
		return "PATCH"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	}
	return string(b)
}
