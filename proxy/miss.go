package proxy

import (
	"cmp"
	"context"
	"errors"
	"time"

	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/origin"
)

// maxJoins is how often a request waits for flights of others before it asks for itself alone.
const maxJoins = 3

// errDeadline is the end of a request's time.
var errDeadline = errors.New("the request's time is up")

// call is what a fetch needs to know of the request that asked for it. It owns all it points to and outlives the
// request, but for the input of one that is fetched on the request's own goroutine.
type call struct {
	state   *state
	route   *route
	key     []byte
	input   *rules.Input
	request *origin.Request // of an upstream rule
	format  int
	store   bool   // false: the response is for its request alone
	token   uint64 // a standby must have replayed that far
	primary bool   // no standby is asked
	tag     string // the validator of what a change outdated under the key; "": nothing
	timeout time.Duration
}

// newCall copies what the fetch needs at the door.
func (x *exchange) newCall(store bool) *call {
	c := x.ownCall(store)
	c.input = x.input.Clone()
	return c
}

// ownCall is newCall for a fetch of the request's own goroutine, which reads the input where it is.
func (x *exchange) ownCall(store bool) *call {
	c := &call{
		state: x.state, route: x.route, input: &x.input, format: x.format, store: store,
		key: append([]byte(nil), x.key...), timeout: x.route.rule.Timeout,
		token: x.token, primary: x.behind || !store, // an audit, too, asks who is right
	}
	if x.replaces != nil {
		c.tag = x.replaces.ETag
	}
	if x.route.origin != nil {
		c.request = origin.NewRequest(x.route.rule, &x.input, x.request.Header)
	}
	return c
}

// miss answers by fetching, once for all who ask for the key. Stale is what there is for emergencies, or nil.
func (p *Proxy) miss(x *exchange, stale *cache.StoredResponse, missed Forward) {
	for range maxJoins {
		f, fetch := p.join(x, stale)
		opened := fetch != nil
		early := f.began < x.start
		late := early && p.unheard(x, x.start)
		if !p.await(x, f, fetch, stale) {
			p.fail(x, errDeadline, stale, missed)
			return
		}
		x.waited = min(x.waited+f.waited, x.source) // who joined late waited less
		if f.refusal == cache.RefusedVary && x.route.origin != nil {
			x.because = string(f.refusal)
			p.bypass(x) // it was asked for without what the answer varies on
			return
		}
		if !opened && f.private {
			break // not ours: ask for ourselves, beside the others
		}
		if f.err != nil {
			if stale == nil {
				stale = f.stale
			}
			p.fail(x, f.err, stale, missed)
			return
		}
		late = late || early && (p.unheard(x, p.clock.Now()) || isBlind(x.route.rule, f.refusal))
		if opened || !late && f.satisfies(x.arrived, x.token) {
			p.land(x, f, opened, stale, missed)
			return
		}
		p.metrics.repeated.Inc()
	}
	p.forward(x, missed)
}

// unheard reports whether the source alone can tell what is current, as changes are not heard of. Then a fetch that
// began before a request arrived may lack what was changed between, and nobody would know.
func (p *Proxy) unheard(x *exchange, now cache.Instant) bool {
	rule := x.route.rule
	return rule.Freshness != rules.TTLOnly && rule.OnLost == rules.BypassOnLost && p.log.Lag(now) > rule.MaxLag
}

// isBlind reports whether the fetch read what changes are not heard of, or not yet, or not for certain: its own
// standing cannot tell then that one was made before a request arrived.
//
//	flight: asks, reads the old row of a table that is not followed yet
//	writer: changes it, is answered
//	reader: arrives, and must not have the old row
func isBlind(rule *rules.Rule, why cache.Refusal) bool {
	return rule.Freshness != rules.TTLOnly &&
		(why == cache.RefusedFeed || why == cache.RefusedAdmission || why == cache.RefusedSnapshot)
}

// fetchesItself reports whether the request's own goroutine flies what it opens: one that asks the database, unless
// an answer for emergencies may have to be given before its end.
func (x *exchange) fetchesItself(stale *cache.StoredResponse) bool {
	return x.route.origin == nil && stale == nil
}

// join opens the key's flight, which then has to be run, or started if it is not its own, or joins the one under way.
func (p *Proxy) join(x *exchange, stale *cache.StoredResponse) (*flight, fetching) {
	return p.flights.join(x.key, p.clock.Now(), func() fetching {
		c := x.ownCall(true)
		if !x.fetchesItself(stale) {
			c.input = x.input.Clone()
		}
		askTier := !x.asked
		return func(f *flight) (landing, func()) { return p.fly(c, f, askTier) }
	})
}

// sharedHit answers from the shared tier, on the request's own goroutine: the tier sends what is asked for at
// once together, so asking twice for one key costs less than waiting in line. While somebody fetches the key
// there is nothing better to be had there. False: it did not answer, and what there is for emergencies is in stale.
func (p *Proxy) sharedHit(x *exchange, stale **cache.StoredResponse) bool {
	if p.flights.has(x.key) {
		return false
	}
	before := p.clock.Now()
	r, usable, detail := p.askShared(context.Background(), x.route, x.key) // the tier bounds itself by its budget
	x.source += p.clock.Now().Sub(before)
	x.asked = true
	if usable {
		x.outcome = Outcome{Result: Hit, TTL: r.Lifetime - r.AgeAt(x.start), Detail: detail}
		p.deliver(x, r)
		return true
	}
	if *stale == nil {
		*stale = r
	}
	return false
}

// feedlessPatience is how long a request that could be answered for an emergency waits for a source whose
// changes are not heard of either: most likely it is away.
const feedlessPatience = time.Second

// patience returns how long the request waits for its source: all of its time, or, where there is an answer for
// emergencies at hand, for as long as the source may take when nothing is wrong with it.
func (p *Proxy) patience(x *exchange, stale *cache.StoredResponse) time.Duration {
	all := x.remaining(p.clock.Now())
	switch {
	case stale == nil:
		return all
	case x.state.Config.Postgres != nil && !p.log.Feed().Live:
		return min(all, feedlessPatience)
	case x.route.origin != nil:
		return min(all, x.state.Config.Upstreams[x.route.rule.Upstream].Timeout)
	case x.state.Config.Postgres != nil:
		return min(all, x.state.Config.Postgres.StatementTimeout)
	}
	return all
}

// await waits for the flight, at most for the request's patience, and starts it first if it is its own, or runs it
// right here.
func (p *Proxy) await(x *exchange, f *flight, fetch fetching, stale *cache.StoredResponse) bool {
	before := p.clock.Now()
	p.metrics.waiters.Add(1)
	defer func() {
		p.metrics.waiters.Add(-1)
		x.source += p.clock.Now().Sub(before)
	}()
	if fetch != nil {
		if x.fetchesItself(stale) {
			p.flights.run(f, fetch)
			return true
		}
		p.flights.start(f, fetch)
	}
	timer := time.NewTimer(p.patience(x, stale))
	defer timer.Stop()
	select {
	case <-f.done:
		return true
	case <-timer.C:
		return false
	}
}

// land answers with what the flight brought.
func (p *Proxy) land(x *exchange, f *flight, opened bool, stale *cache.StoredResponse, missed Forward) {
	r := f.response
	if r.Status >= 500 && stale != nil {
		p.serve(x, stale, Stale, "stale-if-error")
		return
	}
	if f.tier {
		x.outcome = Outcome{Result: Hit, TTL: r.Lifetime - r.AgeAt(x.start), Detail: f.detail}
		p.deliver(x, r)
		return
	}
	x.outcome = Outcome{Result: Miss, Forward: missed, Status: r.Status, Stored: f.stored, Detail: p.word(f.refusal)}
	if !opened {
		x.outcome.Result, x.outcome.Collapsed = Collapsed, true
		p.metrics.coalesced.Inc()
	}
	p.deliver(x, r)
}

// forward fetches for this request alone, and stores nothing when why is ForwardBypass.
func (p *Proxy) forward(x *exchange, why Forward) {
	c := x.ownCall(why != ForwardBypass)
	before := p.clock.Now()
	ctx, cancel := context.WithTimeout(context.Background(), x.remaining(before))
	defer cancel()
	fill, err := p.fetch(ctx, c)
	x.source += p.clock.Now().Sub(before)
	if err != nil {
		x.waited += waitedOf(err)
		p.fail(x, err, nil, why)
		return
	}
	x.waited += fill.Waited
	landed, share := p.admit(c, &fill)
	x.outcome = Outcome{Result: Bypass, Forward: why, Status: landed.response.Status, Stored: landed.stored, Detail: cmp.Or(x.because, p.word(landed.refusal))}
	if why != ForwardBypass {
		x.outcome.Result = Miss
	}
	p.deliver(x, landed.response)
	if share != nil {
		share()
	}
}

// refresh fetches the key anew behind the back of the request, unless that is being done.
func (p *Proxy) refresh(x *exchange) {
	f, fetch := p.flights.join(x.key, p.clock.Now(), func() fetching {
		c := x.newCall(true)
		return func(f *flight) (landing, func()) { return p.fly(c, f, false) }
	})
	if fetch != nil {
		p.metrics.refreshes.Inc()
		p.flights.start(f, fetch)
	}
}

// fail answers when the source has no answer: with what is kept for emergencies, else with a problem.
func (p *Proxy) fail(x *exchange, err error, stale *cache.StoredResponse, why Forward) {
	if errors.Is(err, origin.ErrTooLarge) {
		p.bypass(x) // nothing is stored of it, but it can be streamed
		return
	}
	if stale != nil && stale.UseAt(p.clock.Now()) != cache.Expired {
		p.serve(x, stale, Stale, "stale-if-error")
		return
	}
	x.outcome = Outcome{Result: Failed, Forward: why}
	p.writeFailure(x, err)
}
