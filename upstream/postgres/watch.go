package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"forebay/cache"
)

const (
	// watchEvery is how often the catalogue is compared: how long DDL that nobody sends goes unnoticed.
	watchEvery = time.Second
	// watchFirst is how soon the first comparison is tried again.
	watchFirst = 100 * time.Millisecond
	// watchPatience bounds the wait for a connection of the pool.
	watchPatience = time.Second / 2
	// forgetAfter is how long what is known of a rule is kept that nobody calls: a reload makes new rules.
	forgetAfter = 10 * time.Minute
)

// watch compares the catalogue until ctx ends.
func (d *Database) watch(ctx context.Context) {
	if d.primary == nil {
		d.log.Watched(d.clock.Now()) // from here on it is missed
	}
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

// glance does work on a session that is free soon, or else on one of its own: who waits for a connection may be
// answered by what is stored as well as anybody. It neither asks nor tells the breaker.
func (d *Database) glance(ctx context.Context, w work) error {
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
		if pool.Stat().AcquiredConns() < pool.Stat().MaxConns() {
			return fmt.Errorf("acquire connection: %w", err)
		}
		return d.glanceBeside(ctx, w)
	}
	defer d.giveBack(conn)
	return w(ctx, sessionOf(conn.Conn().PgConn()))
}

// glanceBeside does work on a connection beside the pool, all of which is in use.
func (d *Database) glanceBeside(ctx context.Context, w work) error {
	conn, err := pgx.ConnectConfig(ctx, d.connect.ConnConfig.Copy())
	if err != nil {
		return fmt.Errorf("connect beside the pool: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := d.afterConnect(ctx, conn); err != nil {
		return err
	}
	defer d.connect.BeforeClose(conn)
	return w(ctx, sessionOf(conn.PgConn()))
}
