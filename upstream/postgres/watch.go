package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"forebay/cache"
)

const (
	// watchEvery is how often the catalogue is compared: how long DDL that nobody sends goes unnoticed.
	watchEvery = time.Second
	// watchFirst is how soon the first comparison is tried again.
	watchFirst = 100 * time.Millisecond
	// watchPatience bounds the wait for a connection.
	watchPatience = time.Second
	// forgetAfter is how long what is known of a rule is kept that nobody calls: a reload makes new rules.
	forgetAfter = 10 * time.Minute
)

// watch compares the catalogue until ctx ends.
func (d *Database) watch(ctx context.Context) {
	ticker := time.NewTicker(watchFirst)
	defer ticker.Stop()
	for first := true; ; {
		d.tidy()
		if d.compare(ctx) && first {
			first = false
			ticker.Reset(watchEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.hurried:
		case <-ticker.C:
		}
	}
}

// Hurry has the catalogue compared at once: somebody knows that it has changed. It does not block.
func (d *Database) Hurry() {
	select {
	case d.hurried <- struct{}{}:
	default:
	}
}

// tidy forgets rules that are no longer called.
func (d *Database) tidy() {
	now := d.clock.Now()
	forgot := false
	d.known.Range(func(rule, k any) bool {
		if k := k.(*knowledge); !k.surveyed.Load() && now.Sub(cache.Instant(k.used.Load())) > forgetAfter {
			d.known.Delete(rule)
			forgot = true
		}
		return true
	})
	if forgot {
		d.follow()
	}
}

// withAncestors adds what relations are partitions or heirs of, as far as any rule reads them.
func (d *Database) withAncestors(oids []uint32) []uint32 {
	all := slices.Clone(oids)
	d.eachKnown(func(_, k any) bool {
		if f := k.(*knowledge).found.Load(); f != nil {
			for _, r := range f.relations {
				if slices.Contains(oids, r.oid) {
					all = append(all, r.ancestors...)
				}
			}
		}
		return true
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// glance does work on a session if one is free soon. It neither waits for nor tells the breaker: while
// the circuit is open, probing is the callers' business.
func (d *Database) glance(ctx context.Context, w work) error {
	if d.BreakerState() != "closed" {
		return errClosed
	}
	ctx, cancel := context.WithTimeout(ctx, max(d.cfg.StatementTimeout, time.Second))
	defer cancel()
	pool, err := d.open()
	if err != nil {
		return err
	}
	wait, stop := context.WithTimeout(ctx, watchPatience)
	defer stop()
	conn, err := pool.Acquire(wait)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	defer conn.Release()
	return w(ctx, sessionOf(conn.Conn().PgConn()))
}
