package redis

import (
	"context"
	"maps"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
)

const (
	chainEvery = 100 * time.Millisecond // between two looks at the chain
	chainPage  = 1000                   // entries a read
	maxAskers  = 1000                   // whose questions are kept; most of them are gone
)

// askScript puts the question of ARGV[1] in the place of its last one. It may do so although the server has no room,
// and what is there is bounded: whoever still wants to know asks again.
const askScript = `
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then redis.call('DEL', KEYS[1]) end
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
`

// exact is what an instance has that shares the values of exact rules.
type exact struct {
	key   string
	asked string // the key of the questions
	ask   *script
	tap   *tap
	chain *chain
}

// newExact makes it, and has the log tell it what it learns.
func newExact(s *Store) *exact {
	bound := s.cfg.MaxLag
	if bound <= 0 {
		bound = time.Second
	}
	x := &exact{key: s.cfg.Prefix + "chain", asked: s.cfg.Prefix + "asked", ask: newScript(askScript), chain: newChain(bound)}
	x.tap = &tap{clock: s.clock, outbox: s.outbox, chain: x.chain}
	s.log.Observe(x.tap)
	return x
}

// judges reports whether the chain is held, was the newest lately, and reaches to where this process's own log goes
// on, for all tables that its feed covers.
func (s *Store) judges(now cache.Instant) bool {
	end := s.exact.chain.next().ms
	_, _, held := s.exact.chain.holds(now)
	asked, meets := s.exact.tap.moment(end)
	if !held || !meets {
		return false
	}
	tables := slices.Collect(maps.Keys(s.log.Feed().Covered))
	if s.log.Admit(asked, cache.Snapshot{Replayed: end}, tables) != cache.Storable {
		return false
	}
	// What stands there must not be outdated by the very beginning of the feed: see cache.ChangeLog.SetFeed.
	dependencies := make([]cache.Dependency, len(tables))
	for i, oid := range tables {
		dependencies[i] = cache.Relation(oid)
	}
	return s.log.Stand(nil, asked, cache.AllSeeing(), dependencies).Check() != cache.Outdated
}

// readChain follows the chain until ctx ends.
func (s *Store) readChain(ctx context.Context) {
	ticker := time.NewTicker(chainEvery)
	defer ticker.Stop()
	for {
		more, err := s.readChainOnce(ctx)
		if err != nil && ctx.Err() == nil {
			s.logger.Debug("cannot follow the chain of changes", "err", err)
		}
		if more && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// readChainOnce asks the owner something, looks where the chain ends, and reads on. More: there is more to read.
func (s *Store) readChainOnce(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	c := s.exact.chain
	look := chainLook{epoch: c.present(), at: s.clock.Now()}
	look.question = s.askOwner(ctx)
	from := c.next()
	pipe := s.chainClient.Pipeline()
	end := pipe.XRevRangeN(ctx, s.exact.key, "+", "-", 1)
	on := pipe.XRangeN(ctx, s.exact.key, "("+from.String(), "+", chainPage)
	if _, err := pipe.Exec(ctx); err != nil {
		return false, err
	}
	var id uint64
	if last := end.Val(); len(last) > 0 {
		if look.head, id, err = parseChainHead(last[0]); err != nil {
			id = 0
		}
	}
	held, _, _ := c.holds(look.at)
	if !c.meet(look, id) {
		if held != 0 {
			s.metrics.chainBreaks.Inc()
		}
		return held != 0 && id != 0, nil
	}
	return s.takeChain(id, on.Val()), nil
}

// askOwner asks something new; 0: it could not.
func (s *Store) askOwner(ctx context.Context) (question uint64) {
	question = newNonce()
	err := s.exact.ask.run(ctx, s.chainClient, s.exact.asked, incarnationText(s.instance), incarnationText(question), maxAskers).Err()
	if err != nil {
		return 0
	}
	return question
}

// takeChain takes in what was read of the chain, and reports whether to read on at once.
func (s *Store) takeChain(id uint64, messages []goredis.XMessage) (more bool) {
	c := s.exact.chain
	for _, m := range messages {
		e, err := parseChainEntry(m)
		if err != nil {
			c.giveUp(id)
			s.metrics.chainBreaks.Inc()
			s.logger.Warn("the chain of changes has an entry that cannot be read; exact responses of other instances are not used", "id", m.ID)
			return false
		}
		s.metrics.chainEntries.Inc()
		if !c.take(&e) {
			s.metrics.chainBreaks.Inc()
			return false
		}
	}
	return len(messages) == chainPage
}
