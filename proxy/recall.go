package proxy

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/valyala/fasthttp"
	"github.com/zeebo/xxh3"

	"forebay/cache"
	"forebay/upstream/origin"
)

const (
	tracedHits    = 4   // one hit in so many tells the memory tier that it was asked
	maxRecalled   = 256 // bytes of a request target that is remembered; longer ones are read each time
	recalledBytes = 512 // of memory that one remembered target comes to, with its key, at most as a rule
	recallShare   = 16  // the memory tier's share that remembered targets may come to is one in so many
	reluctance    = 8   // one hit in so many takes another target's place: those that share a slot do not chase each other
)

// recall remembers which key a request target came to, for rules whose key the target alone decides: asking
// for the same again costs one look instead of matching, reading and normalising. Only targets that were hits
// are remembered, so a flood of unique ones leaves it alone. Each slot holds the last target that fell on it.
// Safe for concurrent use.
type recall struct {
	slots []atomic.Pointer[recalled] // a power of two
}

// recalled is one target. Immutable.
type recalled struct {
	state  *state // what it was read by: a reload makes it void
	route  *route
	target string
	key    string
}

// newRecall makes one that stays within its share of a memory tier of so many bytes.
func newRecall(memory int) *recall {
	n := 1 << 10
	for n < 1<<16 && 2*n*recalledBytes <= memory/recallShare {
		n *= 2
	}
	return &recall{slots: make([]atomic.Pointer[recalled], n)}
}

func (c *recall) slot(target []byte) *atomic.Pointer[recalled] {
	return &c.slots[xxh3.Hash(target)&uint64(len(c.slots)-1)]
}

// again answers a GET that is a plain hit from what is remembered of its target. False: nothing was done, and
// the request takes the whole path.
func (p *Proxy) again(x *exchange) bool {
	if x.request.Method != fasthttp.MethodGet {
		return false
	}
	target := x.ctx.Request.Header.RequestURI()
	m := x.state.recall.slot(target).Load()
	if m == nil || m.state != x.state || m.target != string(target) || string(x.ctx.Request.Header.Protocol()) != "HTTP/1.1" {
		return false
	}
	if m.route.origin != nil && x.judge.May(origin.Credentials) {
		return false // what an upstream says to one of its users is for nobody else: see Personal
	}
	if p.bypassAll.Load() || m.route.bypassed() || x.audits(m.route) || p.ahead(x) {
		return false
	}
	var r *cache.StoredResponse
	if x.hits%tracedHits == 0 {
		x.key = append(x.key[:0], m.key...)
		r = p.memory.Lookup(x.key)
	} else {
		r = p.memory.Glance(m.key)
	}
	if r == nil || r.Kind != cache.Ordinary {
		return false
	}
	use, detail := p.judge(m.route.rule, r, x.start)
	if use != cache.Fresh {
		return false
	}
	x.route, x.deadline = m.route, m.route.rule.Timeout
	x.key = append(x.key[:0], m.key...)
	p.serve(x, r, Hit, detail)
	return true
}

// remember notes what the target of a hit came to.
func (c *recall) remember(x *exchange) {
	target := x.ctx.Request.Header.RequestURI()
	if !x.route.byTarget || x.request.Method != fasthttp.MethodGet || target[0] != '/' || len(target) > maxRecalled || len(x.key) > maxRecalled {
		return
	}
	slot := c.slot(target)
	if m := slot.Load(); m != nil && m.state == x.state && (m.target == string(target) || x.hits%reluctance != 0) {
		return
	}
	slot.Store(&recalled{state: x.state, route: x.route, target: string(target), key: string(x.key)})
}

// audits decides, once a request, whether its hit is compared with the source.
func (x *exchange) audits(t *route) bool {
	if x.auditing == undecided {
		x.auditing = spared
		if n := t.rule.Audit; n > 0 && rand.IntN(n) == 0 {
			x.auditing = chosen
		}
	}
	return x.auditing == chosen
}

// choice is whether a request's hit is audited.
type choice uint8

const (
	undecided choice = iota
	spared
	chosen
)
