package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/zeebo/xxh3"

	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/origin"
	"forebay/upstream/postgres"
)

const (
	// uncacheableFor is how long a key whose response could not be stored is forwarded without waiting in
	// line: long enough to spare the line, short enough to notice a change of mind.
	uncacheableFor = 10 * time.Second

	// sharedTimeout bounds the write to the shared tier, which nobody waits for.
	sharedTimeout = time.Second
)

// refusals are the reasons that are counted.
var refusals = []cache.Refusal{
	cache.RefusedRule, cache.RefusedStatus, cache.RefusedDirective, cache.RefusedAuthorization, cache.RefusedSetCookie,
	cache.RefusedVary, cache.RefusedSize, cache.RefusedOutdated, cache.RefusedSnapshot, cache.RefusedIncomplete,
	cache.RefusedFeed, cache.RefusedAdmission,
}

// fly is the work of a flight: the shared tier, then the source. AskTier is false for a refresh, which
// knows that what is shared is as old as what it replaces.
func (p *Proxy) fly(c *call, f *flight, askTier bool) (landed landing, after func()) {
	defer func() {
		if cause := recover(); cause != nil {
			p.metrics.panics.Inc()
			p.logger.Error("flight panicked", "rule", c.route.rule.Name, "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
			landed = landing{err: fmt.Errorf("flight of rule %q panicked", c.route.rule.Name)}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	var stale *cache.StoredResponse
	if askTier && p.shared != nil {
		r, usable, detail := p.askShared(ctx, c.route, c.key)
		if usable {
			return landing{response: r, tier: true, detail: detail}, nil
		}
		stale = r
	}
	fill, err := p.fetch(ctx, c)
	if errors.Is(err, origin.ErrTooLarge) {
		p.metrics.discarded[string(cache.RefusedSize)].Inc()
		p.remember(c)
	}
	if err != nil {
		return landing{err: err, stale: stale, waited: waitedOf(err)}, nil
	}
	landed, after = p.admit(c, &fill)
	landed.stale, landed.waited = stale, fill.Waited
	return landed, after
}

// askShared looks in the shared tier. What is found and usable moves into memory, if that wants it, with what is
// left of its lifetime; what is found and not usable may still serve an emergency.
func (p *Proxy) askShared(ctx context.Context, t *route, key []byte) (r *cache.StoredResponse, usable bool, detail string) {
	r, _ = p.shared.Get(ctx, key) // the tier counts and logs its errors itself
	if r == nil || r.Kind != cache.Ordinary {
		p.metrics.sharedMiss.Inc()
		return nil, false, ""
	}
	use, detail := p.judge(t.rule, r, p.clock.Now())
	switch use {
	case cache.Fresh:
		p.metrics.sharedHit.Inc()
		p.traits.Share(r, t.makeHead)
		r = p.moveIn(ctx, key, r)
		if detail == "" {
			detail = "shared"
		}
		return r, true, detail
	case cache.Expired:
		return nil, false, ""
	case cache.Revalidatable, cache.Emergency:
	}
	r.Compressible = compressible(r.Traits)
	return r, false, ""
}

// fetch asks the rule's source.
func (p *Proxy) fetch(ctx context.Context, c *call) (cache.Fill, error) {
	if c.route.origin != nil {
		return p.fetchOrigin(ctx, c)
	}
	return c.state.Database.Fill(ctx, postgres.Call{
		Rule: c.route.rule, Input: c.input, Format: c.format, Primary: c.primary, Replayed: c.token,
	})
}

// fetchOrigin asks an HTTP service. Where the rule declares what the service reads, a snapshot is taken
// before, and the answer is judged as if it had been read in it.
func (p *Proxy) fetchOrigin(ctx context.Context, c *call) (cache.Fill, error) {
	if !c.route.rule.Primary || c.state.Database == nil {
		return c.route.origin.Fetch(ctx, c.request)
	}
	v, doubt := c.state.Database.Vantage(ctx, c.route.rule)
	fill, err := c.route.origin.Fetch(ctx, c.request)
	if err != nil {
		return fill, err
	}
	fill.Asked, fill.Snapshot, fill.Dependencies = v.Asked, v.Snapshot, v.Dependencies
	fill.Response.TTLOnly = false
	switch {
	case doubt != nil:
		fill.Refused = cache.RefusedSnapshot
	case fill.Refused == cache.Storable:
		fill.Refused = v.Refused
	}
	return fill, nil
}

// admit decides whether the fill is stored, and stores it. It is the one place where that is decided; the
// source has said what it knows in fill.Refused. The function returned shares the response with other
// instances and may be called after the request was answered.
func (p *Proxy) admit(c *call, fill *cache.Fill) (landed landing, share func()) {
	r, rule := fill.Response, c.route.rule
	r.Rule = rule.Name
	if len(r.ETag) == 0 && r.Status == fasthttp.StatusOK {
		r.ETag = entityTag(r.Body)
	}
	p.describe(c, r)
	if p.storeAnyway(rule, fill.Refused) {
		fill.Refused = cache.Storable
	}
	landed = landing{response: r, refusal: fill.Refused, private: private(fill.Refused)}
	p.stand(c, fill)
	if needless(c.tag, r) {
		p.metrics.needless.Inc()
	}
	if landed.refusal == cache.Storable {
		landed.refusal = p.refusal(c, fill)
	}
	if !c.store {
		landed.refusal = cache.Storable
		return landed, nil
	}
	if landed.refusal != cache.Storable {
		p.metrics.discarded[string(landed.refusal)].Inc()
		if landed.private {
			p.remember(c)
		}
		return landed, nil
	}
	return p.store(c, landed)
}

// needless reports whether a refill brought what has the tag, which a change had outdated, although it saw the change.
// One that was sooner than snapshots see what the stream has brought already was not needless but too early: it is
// outdated itself, and not stored.
func needless(tag string, r *cache.StoredResponse) bool {
	return tag != "" && tag == r.ETag && r.Standing.Check() != cache.Outdated
}

// moveIn puts what was found in the shared tier into memory, if that wants it, and returns it. What came to be there
// since nothing was found there is no older, and whoever asks may have seen it: then it is that.
func (p *Proxy) moveIn(ctx context.Context, key []byte, r *cache.StoredResponse) *cache.StoredResponse {
	turn := p.turns.of(key)
	turn.Lock()
	defer turn.Unlock()
	if kept := p.memory.Lookup(key); kept != nil && areComparable(kept, r) && kept.FreshnessAt(p.clock.Now()) == cache.Fresh {
		return kept
	}
	if p.memory.Wants(key) {
		_ = p.memory.Set(ctx, key, r)
	}
	return r
}

// store puts the response into memory, and returns what puts it into the shared tier.
//
// Of two that were fetched beside each other and differ, nobody can tell which is the newer one before the change
// comes that lies between: both may share one snapshot, and the statement of either may have been sent first. So
// neither is served any more.
//
//	flight: asks, reads the old row
//	writer: changes it
//	reader: asks beside the flight, reads the new row, which is stored
//	flight: lands; were it stored, the reader would be given the old row next
func (p *Proxy) store(c *call, landed landing) (landing, func()) {
	ctx := context.Background()
	turn := p.turns.of(c.key)
	turn.Lock()
	defer turn.Unlock()
	if kept := p.memory.Lookup(c.key); kept != nil && areComparable(kept, landed.response) {
		switch {
		case kept.Stored >= landed.response.Asked() && !isSame(kept, landed.response):
			p.log.Purge(cache.Purge{KeyPrefixes: [][]byte{c.key}})
			landed.refusal = cache.RefusedOutdated
			p.metrics.discarded[string(landed.refusal)].Inc()
			return landed, nil
		case sawMore(kept, landed.response):
			return landed, nil
		}
	}
	p.traits.Share(landed.response, c.route.makeHead)
	landed.stored = p.memory.Set(ctx, c.key, landed.response) == nil
	if p.shared == nil {
		return landed, nil
	}
	return landed, func() {
		ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
		defer cancel()
		_ = p.shared.Set(ctx, c.key, landed.response) // the tier counts its errors; nobody waits for it
	}
}

// turns are taken by those who store under one key, so that what one has found there is there still when it decides.
type turns [64]sync.Mutex

func (t *turns) of(key []byte) *sync.Mutex { return &t[xxh3.Hash(key)%uint64(len(t))] }

// areComparable reports whether what is stored is current as far as anybody knows, and one of it and what came beside
// it can be older than the other.
func areComparable(kept, brought *cache.StoredResponse) bool {
	return kept.Kind == cache.Ordinary && !kept.TTLOnly && !brought.TTLOnly && kept.Standing.Epoch() == brought.Standing.Epoch() &&
		kept.Standing.Check() == cache.Current
}

// isSame reports whether it does not matter which of both is served.
func isSame(a, b *cache.StoredResponse) bool {
	return a.Status == b.Status && bytes.Equal(a.Body, b.Body)
}

// sawMore reports whether what is stored saw more than what a fetch beside it brought home later, so that nobody
// who has read the newer one is given the older one, although neither is known to be outdated yet.
func sawMore(kept, brought *cache.StoredResponse) bool {
	older, newer := brought.Standing.Snapshot(), kept.Standing.Snapshot()
	if (older.Replayed == 0) != (newer.Replayed == 0) {
		// A standby's and the primary's do not compare. What came before the other was asked for saw no more than that.
		return kept.Stored >= brought.Asked()
	}
	return newer.SeesAllOf(older) && !older.SeesAllOf(newer)
}

// stand ties the response to what it depends on.
//
// A rule on TTL stands on a snapshot that sees every change, so that only purges concern it: its tables
// are still known to whoever purges by table. One that is there for what it reads or calls does not say so itself: what
// is known of its tables outdates it, so that the caller of a write reads it, and the TTL bounds the rest.
func (p *Proxy) stand(c *call, fill *cache.Fill) {
	r, rule := fill.Response, c.route.rule
	snapshot := fill.Snapshot
	if rule.Freshness == rules.TTLOnly || r.TTLOnly {
		snapshot = cache.AllSeeing()
		r.TTLOnly = true
	}
	dependencies := append(rule.Dependencies(), fill.Dependencies...)
	r.Standing = p.log.Stand(c.key, fill.Asked, snapshot, dependencies)
}

// refusal returns why the response is not stored, as far as rule, status, size and changes say.
func (p *Proxy) refusal(c *call, fill *cache.Fill) cache.Refusal {
	r, rule := fill.Response, c.route.rule
	if rule.Upstream == "" {
		p.lifetimes(r, rule)
	}
	switch {
	case r.Lifetime <= 0 && r.Status != fasthttp.StatusOK:
		return cache.RefusedStatus
	case r.Lifetime <= 0:
		return cache.RefusedRule
	case rule.MaxObjectSize > 0 && len(r.Body) > rule.MaxObjectSize:
		return cache.RefusedSize
	case r.Standing.Check() == cache.Outdated:
		return cache.RefusedOutdated
	}
	r.Lifetime -= jitter(r.Lifetime, c.state.Config.Cache.Jitter)
	return cache.Storable
}

// lifetimes gives a SQL rule's response its times. A row that is not there is an answer like any other;
// other statuses live only if the rule names them.
func (p *Proxy) lifetimes(r *cache.StoredResponse, rule *rules.Rule) {
	negative, named := rule.Negative[r.Status]
	switch {
	case named:
		r.Lifetime = negative
	case r.Status == rule.Query.Status || r.Status == fasthttp.StatusNotFound:
		r.Lifetime = rule.TTL
	default:
		r.Lifetime = 0
	}
	r.StaleWhileRevalidate, r.StaleIfError = rule.StaleWhileRevalidate, rule.StaleIfError
}

// describe adds the fields by which caches downstream are told what forebay decided. A browser may keep
// the response of a SQL rule but asks before each use, which costs a 304.
func (p *Proxy) describe(c *call, r *cache.StoredResponse) {
	rule := c.route.rule
	r.Compressible = compressible(r.Traits)
	if rule.Upstream != "" {
		r.Header = withoutVary(r.Header, c.route.vary)
		return
	}
	if hasField(r.Header, fasthttp.HeaderCacheControl) {
		return
	}
	r.Header = append(c.route.fields, r.Header...)
}

// withoutVary leaves out of the service's Vary what the rule's own names, which every response has.
func withoutVary(fields []cache.Field, own []byte) []cache.Field {
	if len(own) == 0 {
		return fields
	}
	kept := fields[:0]
	for _, f := range fields {
		if bytes.EqualFold(f.Name, fieldVary) {
			var names [][]byte
			for name := range bytes.SplitSeq(f.Value, []byte{','}) {
				if name = bytes.TrimSpace(name); !lists(own, name) {
					names = append(names, name)
				}
			}
			if f.Value = bytes.Join(names, []byte(", ")); len(f.Value) == 0 {
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept
}

// lists reports whether the list of names has the name.
func lists(list, name []byte) bool {
	for other := range bytes.SplitSeq(list, []byte(", ")) {
		if bytes.EqualFold(other, name) {
			return true
		}
	}
	return false
}

// remember notes that responses of this key are not stored, so that requests for it stop waiting for
// each other.
func (p *Proxy) remember(c *call) {
	memo := &cache.StoredResponse{
		Traits: &cache.Traits{Kind: cache.Uncacheable, Rule: c.route.rule.Name, TTLOnly: true},
		Stored: p.clock.Now(), Lifetime: uncacheableFor,
		Standing: p.log.Stand(c.key, p.log.Position(), cache.AllSeeing(), c.route.rule.Dependencies()),
	}
	p.traits.Share(memo, c.route.makeHead)
	_ = p.memory.Set(context.Background(), c.key, memo)
}

// private reports whether a response refused for this reason belongs to its own request alone.
func private(why cache.Refusal) bool {
	switch why {
	case cache.RefusedDirective, cache.RefusedAuthorization, cache.RefusedSetCookie, cache.RefusedVary, cache.RefusedIncomplete:
		return true
	}
	return false
}

// jitter returns up to the share of the lifetime, at random: what was stored together must not expire
// together.
func jitter(lifetime time.Duration, share float64) time.Duration {
	if share <= 0 {
		return 0
	}
	return time.Duration(rand.Float64() * share * float64(lifetime))
}
