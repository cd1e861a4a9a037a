package postgres

import (
	"context"
	"fmt"
	"time"

	"forebay/cache"
	"forebay/rules"
)

// vantageFor is how long a vantage is shared: an older snapshot is as sound, and needs a refill sooner.
const vantageFor = time.Millisecond

// Vantage is what can be said, before a request is forwarded, of what a service that reads the primary will
// answer: it reads no older data than the snapshot saw.
type Vantage struct {
	Asked        cache.Position
	Snapshot     cache.Snapshot
	Dependencies []cache.Dependency // the tables that the rule declares
	Refused      cache.Refusal      // why the answer may not be stored; empty when it may
}

// Vantage takes a snapshot on the primary for a rule whose tables are declared. The answer is sound only if
// the service begins its transaction after the request came, reads the primary and keeps nothing in between:
// that is what the rule declares with reads: primary. The error is an *Error.
func (d *Database) Vantage(ctx context.Context, rule *rules.Rule) (Vantage, error) {
	if v, ok := d.sharedVantage(rule); ok {
		return v, nil
	}
	v := Vantage{Asked: d.log.Position()}
	var oids []uint32
	err := d.run(ctx, func(ctx context.Context, s *session) error {
		var err error
		if oids, err = s.declared(ctx, rule); err != nil {
			return err
		}
		at := d.clock.Now()
		answer := s.pg.ExecParams(ctx, d.own.vantage, nil, nil, nil, nil).Read()
		if answer.Err != nil {
			return fmt.Errorf("take snapshot: %w", answer.Err)
		}
		if v.Snapshot, err = cache.ParseSnapshot(answer.Rows[0][0]); err != nil {
			return err
		}
		if d.server.blur {
			s.lives(string(answer.Rows[0][2])) // else the session is not comparable from here on
		}
		switch {
		case string(answer.Rows[0][1]) == "t":
			v.Refused = cache.RefusedSnapshot
			return nil
		case !s.comparable():
			if rule.Freshness != rules.TTLOnly {
				v.Refused = cache.RefusedSnapshot
			}
			return nil
		}
		d.vantages.keep(at, v)
		return nil
	})
	if err != nil {
		return Vantage{}, err
	}
	return d.judgeVantage(v, rule, oids), nil
}

// sharedVantage returns that of a moment ago, if the rule's tables are known already.
func (d *Database) sharedVantage(rule *rules.Rule) (Vantage, bool) {
	v, ok := d.vantages.recent(d.clock.Now())
	if !ok {
		return Vantage{}, false
	}
	oids, ok := d.vantages.tables(rule, d.catalogue.generation.Load())
	if !ok {
		return Vantage{}, false
	}
	return d.judgeVantage(v, rule, oids), true
}

// judgeVantage adds what the rule depends on, and whether its changes will be heard of.
func (d *Database) judgeVantage(v Vantage, rule *rules.Rule, oids []uint32) Vantage {
	v.Dependencies = dependenciesOf(oids)
	feed := d.log.Feed()
	switch {
	case d.strays.concern(v.Dependencies):
		v.Refused = cache.RefusedSnapshot
	case v.Refused != cache.Storable || feed.Mode == cache.FeedOff || rule.Freshness == rules.TTLOnly:
	case feed.Live && !d.leadsToTheFeed():
		v.Refused = cache.RefusedSnapshot
	default:
		v.Refused = d.admit(v.Asked, v.Snapshot, oids, feed)
	}
	return v
}

// declared returns the oids of the tables that the rule declares, once per catalogue state, and has the feed
// follow them.
func (s *session) declared(ctx context.Context, rule *rules.Rule) ([]uint32, error) {
	since, generation := s.db.compared.Load(), s.db.catalogue.generation.Load()
	if oids, ok := s.db.vantages.tables(rule, generation); ok {
		return oids, nil
	}
	oids, err := s.resolve(ctx, rule.DependsOn)
	if err != nil {
		return nil, err
	}
	relations, err := s.relations(ctx, oids)
	if err != nil {
		return nil, err
	}
	s.db.vantages.know(rule, generation, since, oids, relations)
	s.db.follow()
	return oids, nil
}

// Followed reports whether the feed follows all that it was asked to, as far as it ever will.
func (d *Database) Followed() bool {
	feed := d.log.Feed()
	if feed.Mode == cache.FeedOff {
		return true
	}
	d.mu.Lock()
	wanted := d.following.wanted
	d.mu.Unlock()
	if !feed.Live {
		return false
	}
	for oid := range wanted { // replaced, never written
		if _, covered := feed.Covered[oid]; covered {
			continue
		}
		if _, forGood := d.unheardOf([]uint32{oid}, feed); !forGood {
			return false
		}
	}
	return true
}
