package proxy

import (
	"bytes"
	"context"
	"time"

	"forebay/cache"
	"forebay/rules"
)

// auditPatience bounds the wait for the news of everything that an audit's own look saw.
const auditPatience = 2 * time.Second

// pollPatience is how long changes of the catalogue may go unnoticed, and some more.
const pollPatience = 3 * time.Second

// maxAudits is how many hits may be compared with their sources at once; one more is not.
const maxAudits = 2

// outdated returns the response if it was a change that outdated it, and counts that.
func (p *Proxy) outdated(r *cache.StoredResponse) *cache.StoredResponse {
	if r.Standing.Check() != cache.Outdated {
		return nil
	}
	p.metrics.outdated.Inc()
	if c := r.Standing.Cause(); c == nil || c.Reason != cache.ReasonChange {
		return nil
	}
	return r
}

// audit has one hit in so many compared with what its source says, behind the request's back. It is how
// forebay notices that a rule is not judged rightly: by a table that nobody could see it read, or a function
// that is not what it declares.
func (p *Proxy) audit(x *exchange, r *cache.StoredResponse) {
	if !x.audits(x.route) || r.TTLOnly || x.route.rule.Freshness == rules.TTLOnly || p.timed(x.route.rule) {
		return
	}
	if p.log.Feed().Mode == cache.FeedOff {
		return // nobody promises to have heard of a change
	}
	if p.audits.Add(1) > maxAudits {
		p.audits.Add(-1)
		return
	}
	c := x.newCall(false)
	p.background.Go(func() {
		defer p.audits.Add(-1)
		p.compare(c, r)
	})
}

// timed reports whether the rule's answers change with the time alone, so that two of them cannot be compared.
func (p *Proxy) timed(rule *rules.Rule) bool {
	if rule.Query == nil {
		return false
	}
	return rule.Query.Template.Names("generated_at") || p.state.Load().Database.Classification(rule).Timed
}

// compare runs the rule again, waits until everything that its snapshot saw is in the log, and compares only
// if the stored response is still current then: so whatever differs is a change that nobody heard of, or a
// rule that does not give the same answer twice.
func (p *Proxy) compare(c *call, r *cache.StoredResponse) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout+auditPatience+pollPatience)
	defer cancel()
	again, err := p.fetch(ctx, c)
	if err != nil || again.Response.Status != r.Status || !p.caughtUp(ctx, p.clock.Now()) {
		return
	}
	if r.Standing.Check() != cache.Current {
		return
	}
	p.metrics.audited.Inc()
	if bytes.Equal(again.Response.Body, r.Body) {
		return
	}
	// A rule that does not say the same twice proves nothing: its order is not total, or it tells the time.
	first, err1 := p.fetch(ctx, c)
	second, err2 := p.fetch(ctx, c)
	if err1 != nil || err2 != nil || !p.caughtUp(ctx, p.clock.Now()) {
		return
	}
	if !bytes.Equal(first.Response.Body, second.Response.Body) {
		p.metrics.unstable.Inc()
		return
	}
	// A table that was renamed into place is noticed by a poll of the catalogue, which must have had its turn.
	select {
	case <-ctx.Done():
		return
	case <-time.After(pollPatience):
	}
	if r.Standing.Check() != cache.Current || bytes.Equal(second.Response.Body, r.Body) {
		return
	}
	p.mismatch(c, r, second)
}

// mismatch takes the rule out of exact mode: what it stored is dropped, and nothing more is stored of it
// until the configuration is reloaded.
func (p *Proxy) mismatch(c *call, r *cache.StoredResponse, again cache.Fill) {
	p.metrics.mismatches.Inc()
	p.logger.Error("a stored response differs from its source although no change was heard of; the rule stores nothing more",
		"rule", c.route.rule.Name, "stored_snapshot", r.Standing.Snapshot().String(), "snapshot", again.Snapshot.String(),
		"dependencies", len(r.Standing.Dependencies()))
	c.route.doubted.Store(true)
	p.log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Rule(c.route.rule.Name)}})
}

// caughtUp waits until the log holds every change that anyone could see at the moment.
func (p *Proxy) caughtUp(ctx context.Context, moment cache.Instant) bool {
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for p.log.AsOf() < moment {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}
