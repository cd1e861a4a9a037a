package proxy

import (
	"math/rand/v2"
	"sync/atomic"
	"unsafe"

	"github.com/valyala/fasthttp"
	"github.com/zeebo/xxh3"

	"forebay/cache"
	"forebay/cache/memory"
	"forebay/upstream/origin"
)

const (
	shortTarget   = 64  // bytes
	maxRecalled   = 256 // bytes of a request target that is remembered; longer ones are read each time
	recalledBytes = 512 // of memory that one remembered target comes to, with its key, at most as a rule
	recallShare   = 16  // the memory tier's share that remembered targets may come to is one in so many
	reluctance    = 8   // one hit in so many takes another target's place: those that share a slot, or a response, do not chase each other
)

// recall remembers which key a request target came to, for rules whose key the target alone decides: asking
// for the same again costs one look instead of matching, reading and normalising. Only targets that were hits
// are remembered, so a flood of unique ones leaves it alone. A target has two slots that it may be in, side by
// side: with one target to six slots, one in eighty has lost both to others; with one slot each it were one in
// fourteen. Safe for concurrent use.
type recall struct {
	slots []atomic.Pointer[recalled] // a power of two
}

// recalled is one target. Immutable, but for what the handle leads to.
type recalled struct {
	state  *state // what it was read by: a reload makes it void
	route  *route
	stored memory.Handle // under key, unless it leads nowhere
	target string
	key    string
	room   [shortTarget]byte // where a short target lies: beside what points to it, so that reading it costs no other wait for memory
}

// newRecall makes one that stays within its share of a memory tier of so many bytes.
func newRecall(memory int) *recall {
	n := 1 << 10
	for n < 1<<16 && 2*n*recalledBytes <= memory/recallShare {
		n *= 2
	}
	return &recall{slots: make([]atomic.Pointer[recalled], n)}
}

// pair returns the two slots that a target may be in.
func (c *recall) pair(target []byte) (first, second *atomic.Pointer[recalled]) {
	at := xxh3.Hash(target) & uint64(len(c.slots)-1)
	return &c.slots[at], &c.slots[at^1]
}

// find returns what is remembered of the target, or nil.
func (c *recall) find(s *state, target []byte) *recalled {
	first, second := c.pair(target)
	if m := first.Load(); m.is(s, target) {
		return m
	}
	if m := second.Load(); m.is(s, target) {
		return m
	}
	return nil
}

func (m *recalled) is(s *state, target []byte) bool {
	return m != nil && m.state == s && m.target == string(target)
}

// again answers a GET that is a plain hit from what is remembered of its target. False: nothing was done, and
// the request takes the whole path.
func (p *Proxy) again(x *exchange) bool {
	if x.request.Method != fasthttp.MethodGet {
		return false
	}
	target := x.ctx.Request.Header.RequestURI()
	m := x.state.recall.find(x.state, target)
	if m == nil || string(x.ctx.Request.Header.Protocol()) != "HTTP/1.1" {
		return false
	}
	if m.route.origin != nil && x.judge.May(origin.Credentials|origin.OtherOrigin) {
		return false // what an upstream says to one of its users, or to none, may not be for this one: see Personal and Answers
	}
	if p.bypassAll.Load() || m.route.bypassed() || x.audits(m.route) || p.ahead(x) {
		return false
	}
	r := m.stored.Response()
	attached := r != nil
	if x.hits%p.memory.TraceOneIn() == 0 {
		x.key = append(x.key[:0], m.key...)
		r = p.memory.Lookup(x.key)
	} else if !attached {
		r = p.memory.Glance(m.key)
	}
	if r == nil || r.Kind != cache.Ordinary {
		return false
	}
	use, detail := p.judge(m.route.rule, r, x.start)
	if use != cache.Fresh {
		return false
	}
	if !attached && x.hits%reluctance == 0 {
		p.memory.Attach(&m.stored, m.key, r)
	}
	x.route, x.deadline = m.route, m.route.rule.Timeout
	x.key = append(x.key[:0], m.key...)
	p.serve(x, r, Hit, detail)
	return true
}

// remember notes what the target of a hit came to. The key is the very string that it is stored under, where that
// can be: to compare it costs nothing then.
func (c *recall) remember(x *exchange, store *memory.Store, stored *cache.StoredResponse) {
	target := x.ctx.Request.Header.RequestURI()
	if !x.route.byTarget || x.request.Method != fasthttp.MethodGet || target[0] != '/' || len(target) > maxRecalled || len(x.key) > maxRecalled {
		return
	}
	if c.find(x.state, target) != nil {
		return
	}
	slot, second := c.pair(target)
	if m := slot.Load(); m != nil && m.state == x.state {
		if m = second.Load(); m == nil || m.state != x.state {
			slot = second
		} else if x.hits%reluctance != 0 {
			return
		}
	}
	key := stored.Standing.Key()
	if key != string(x.key) {
		key = string(x.key)
	}
	m := &recalled{state: x.state, route: x.route, key: key}
	if n := copy(m.room[:], target); n == len(target) {
		m.target = unsafe.String(&m.room[0], n)
	} else {
		m.target = string(target)
	}
	if old := slot.Swap(m); old != nil {
		store.Detach(&old.stored)
	}
	store.Attach(&m.stored, key, stored)
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
