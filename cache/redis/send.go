package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"forebay/cache"
)

// errCollapsed is the fate of a purge that one of everything took the place of.
var errCollapsed = errors.New("too many purges wait for the shared log; one of everything was put in their place")

// Purge tells every instance of the purge, this one's later self included. The caller has applied it to
// the log of this process, and it holds against all that this instance finds in Redis from now on. It waits
// for the first attempt, up to the tier's budget; an error means that the purge is kept and sent again until
// it is in the shared log, for as long as this process lives.
func (s *Store) Purge(ctx context.Context, p cache.Purge) error {
	o := s.outbox.purge(p)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Budget)
	defer cancel()
	select {
	case err := <-o.done:
		if err != nil {
			return fmt.Errorf("share purge: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("share purge: %w", ctx.Err())
	}
}

// Change tells other instances that the dependencies were written to, so that their memory tiers go by
// it. It never blocks, and nothing is promised: an instance that is told nothing serves what it has for
// its lifetime.
func (s *Store) Change(c cache.Change) { s.outbox.change(c.Dependencies) }

// send writes what the outbox has to the shared log, until ctx ends and then once more.
func (s *Store) send(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	wait := retryFirst
	var changesFrom cache.Instant
	for {
		select {
		case <-ctx.Done():
			s.farewell(ctx)
			return
		case <-s.outbox.wake:
		case <-timer.C:
		}
		now := s.clock.Now()
		if err := s.sendNow(ctx, now >= changesFrom); err != nil {
			s.health.callFailed(err)
			timer.Reset(wait)
			wait = min(2*wait, retryMost)
			continue
		}
		if now >= changesFrom {
			changesFrom = now + cache.Instant(changesEvery)
		}
		wait = retryFirst
		switch purges, changes := s.outbox.next(); {
		case purges:
			timer.Reset(0)
		case changes:
			timer.Reset(changesFrom.Sub(now))
		}
	}
}

// farewell tries once more to say what is left: nobody else knows of it.
func (s *Store) farewell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	if err := s.sendNow(ctx, true); err != nil {
		s.logger.Warn("purges and writes of the last moments were not shared with other instances", "err", err)
	}
}

// sendNow sends what waits, in one step.
func (s *Store) sendNow(ctx context.Context, changes bool) error {
	purges, changed := s.outbox.take(changes)
	var bodies [][]byte
	for _, o := range purges {
		bodies = append(bodies, s.entryBody(&o.entry))
	}
	if len(changed) > 0 {
		bodies = append(bodies, s.entryBody(&entry{kind: entryChange, purge: cache.Purge{Dependencies: changed}}))
	}
	if len(bodies) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := s.write(ctx, bodies)
	s.outbox.sentOff(purges, changed, err, s.clock.Now())
	return err
}

// entryBody returns the entry as it is written. One that would be too large says everything instead.
func (s *Store) entryBody(e *entry) []byte {
	e.instance = s.instance
	body := e.appendBody(nil)
	if len(body) > maxEntrySize {
		all := entry{kind: e.kind, instance: e.instance, number: e.number}
		all.purge = cache.Purge{Dependencies: []cache.Dependency{cache.Everything}, Soft: e.purge.Soft}
		if e.kind == entryDoubt {
			all.kind = entryPurge // a doubt of everything is of what this instance wrote
		}
		body = all.appendBody(nil)
	}
	return body
}
