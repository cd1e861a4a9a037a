package proxy

import (
	"time"

	"forebay/cache"
	"forebay/rules"
)

// feedLost is the detail of what was decided while changes could not be heard of.
const feedLost = "feed-lost"

// judge tells how the rule lets a stored response be used, and a word for it where that is not plain
// freshness. It is where the rule's policy joins what time, changes and purges say (UseAt).
//
// An exact response is worth no more than the news: when these are later than the rule allows, or do not
// come at all, nobody knows whether it is current, and on_lost decides.
func (p *Proxy) judge(rule *rules.Rule, r *cache.StoredResponse, now cache.Instant) (use cache.Freshness, detail string) {
	use = r.UseAt(now)
	if rule.Freshness == rules.TTLOnly || r.TTLOnly {
		return use, ""
	}
	if use > cache.Revalidatable && rule.Freshness == rules.Bounded && withinBound(r, now, rule.MaxLag) {
		use, detail = cache.Revalidatable, "bounded"
	}
	if p.log.Lag(now) <= rule.MaxLag {
		return use, detail
	}
	switch rule.OnLost {
	case rules.BypassOnLost:
		if use < cache.Emergency {
			use = emergency(r, now)
		}
	case rules.ServeOnLost:
		if r.Standing.Check() != cache.Outdated {
			use = min(use, cache.Revalidatable)
		}
	case rules.TTLOnLost:
	}
	return use, feedLost
}

// withinBound reports whether a change outdated the response so short a time ago that a bounded rule still
// serves it, and time alone would.
func withinBound(r *cache.StoredResponse, now cache.Instant, bound time.Duration) bool {
	if r.Standing.Check() != cache.Outdated || r.FreshnessAt(now) > cache.Revalidatable {
		return false
	}
	since, known := r.Standing.OutdatedSince()
	return known && now.Sub(since) <= bound
}

// emergency returns the use of a response of which nobody knows whether it is current.
func emergency(r *cache.StoredResponse, now cache.Instant) cache.Freshness {
	if r.StaleIfError > 0 && r.AgeAt(now) < r.Lifetime+r.StaleIfError {
		return cache.Emergency
	}
	return cache.Expired
}

// storeAnyway reports whether the rule keeps what a fill brought although no changes are heard of: time and
// own writes judge it until the feed is back, whose new epoch outdates it.
func (p *Proxy) storeAnyway(rule *rules.Rule, why cache.Refusal) bool {
	return why == cache.RefusedFeed && rule.OnLost != rules.BypassOnLost && !p.log.Feed().Live
}

// word returns a refusal as Cache-Status shows it.
func (p *Proxy) word(why cache.Refusal) string {
	if why == cache.RefusedFeed && !p.log.Feed().Live {
		return feedLost
	}
	return string(why)
}
