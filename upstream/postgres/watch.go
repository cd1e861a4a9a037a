package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"forebay/cache"
)

const (
	// watchEvery is how often the catalogue is compared: how long DDL that nobody sends goes unnoticed.
	watchEvery = time.Second
	// watchFirst is how soon the first comparison is tried again: what changes before it goes unnoticed.
	watchFirst = 100 * time.Millisecond
	// watchPatience bounds the wait for a connection.
	watchPatience = time.Second
	// forgetAfter is how long what is known of a rule is kept that nobody calls: a reload makes new rules.
	forgetAfter = 10 * time.Minute
)

// watchQuery makes a print of each relation in $1; of all relations together, for those that are not
// watched yet and for names that find another one; and of what may change what any statement means:
// functions, operators, casts, types. VACUUM and ANALYZE leave them as they are, and so do other sessions'
// temporary tables. The array that Postgres makes beside each type, each table's row type too, says nothing
// that its element does not.
const watchQuery = `with passing as (select n.oid from pg_catalog.pg_namespace n where n.nspname ~ '^pg_(toast_)?temp_')
select c.oid::text, pg_catalog.md5(pg_catalog.concat_ws(',', c.xmin, c.relfilenode,
  (select pg_catalog.string_agg(a.xmin::text, ',' order by a.attnum) from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0),
  (select pg_catalog.string_agg(r.oid || ':' || r.xmin, ',' order by r.oid) from pg_catalog.pg_rewrite r where r.ev_class = c.oid),
  (select pg_catalog.string_agg(p.oid || ':' || p.xmin, ',' order by p.oid) from pg_catalog.pg_policy p where p.polrelid = c.oid),
  (select pg_catalog.string_agg(i.inhrelid::text, ',' order by i.inhrelid) from pg_catalog.pg_inherits i where i.inhparent = c.oid)))
from pg_catalog.pg_class c where c.oid = any ($1::pg_catalog.oid[])
union all select 'relations', pg_catalog.md5(pg_catalog.concat_ws(';',
  (select pg_catalog.string_agg(c.oid || ':' || c.xmin, ',' order by c.oid) from pg_catalog.pg_class c
    where c.oid >= 16384 and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'),
  (select pg_catalog.string_agg(r.oid || ':' || r.xmin, ',' order by r.oid) from pg_catalog.pg_rewrite r
    join pg_catalog.pg_class c on c.oid = r.ev_class where r.oid >= 16384 and c.relpersistence <> 't'),
  (select pg_catalog.string_agg(p.oid || ':' || p.xmin, ',' order by p.oid) from pg_catalog.pg_policy p
    join pg_catalog.pg_class c on c.oid = p.polrelid where c.relpersistence <> 't')))
union all select 'meanings', pg_catalog.md5(pg_catalog.concat_ws(';',
  (select pg_catalog.string_agg(p.oid || ':' || p.xmin, ',' order by p.oid) from pg_catalog.pg_proc p
    where p.oid >= 16384 and p.pronamespace not in (select oid from passing)),
  (select pg_catalog.string_agg(o.oid || ':' || o.xmin, ',' order by o.oid) from pg_catalog.pg_operator o
    where o.oid >= 16384 and o.oprnamespace not in (select oid from passing)),
  (select pg_catalog.string_agg(c.oid || ':' || c.xmin, ',' order by c.oid) from pg_catalog.pg_cast c where c.oid >= 16384),
  (select pg_catalog.string_agg(t.oid || ':' || t.xmin, ',' order by t.oid) from pg_catalog.pg_type t
    where t.oid >= 16384 and t.typtype in ('d', 'b', 'r') and t.typnamespace not in (select oid from passing)
      and not exists (select from pg_catalog.pg_type e where e.oid = t.typelem and e.typarray = t.oid)),
  (select pg_catalog.string_agg(a.attrelid || ':' || a.xmin, ',' order by a.attrelid, a.attnum) from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind = 'c' and c.relnamespace not in (select oid from passing))))`

// prints are what watchQuery answered, by the first column.
type prints map[string]string

// watch compares the catalogue until ctx ends.
func (d *Database) watch(ctx context.Context) {
	ticker := time.NewTicker(watchFirst)
	defer ticker.Stop()
	var before prints
	for {
		d.tidy()
		if now := d.compare(ctx, before); now != nil {
			if before == nil {
				ticker.Reset(watchEvery)
			}
			before = now
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

// compare takes the prints and acts on what is different. It returns nil when it could not: then what
// happened meanwhile is noticed the next time.
func (d *Database) compare(ctx context.Context, before prints) prints {
	oids := d.watched()
	var now prints
	err := d.glance(ctx, func(ctx context.Context, s *session) error {
		var err error
		if now, err = s.prints(ctx, oids); err != nil {
			return err
		}
		return d.lookAfterStrays(ctx, s)
	})
	if err != nil || now == nil {
		return nil
	}
	if before != nil {
		d.react(now, before, oids)
	}
	return now
}

// react outdates what hangs on the differences.
func (d *Database) react(now, before prints, oids []uint32) {
	otherMeanings := now["meanings"] != before["meanings"]
	changed := now.changed(before, oids)
	if len(changed) == 0 && now["relations"] == before["relations"] && !otherMeanings {
		return
	}
	d.metrics.catalogue.Inc()
	d.logger.Info("the database's catalogue has changed", "relations", len(changed))
	d.catalogue.advance() // first: a fill that began before it and asks after the purge refuses itself
	purge := dependenciesOf(d.withAncestors(changed))
	if otherMeanings {
		d.known.Range(func(_, k any) bool {
			purge = append(purge, cache.Rule(k.(*knowledge).rule.Name))
			return true
		})
	}
	if len(purge) > 0 {
		d.log.Purge(cache.Purge{Dependencies: purge})
	}
}

// changed returns the relations whose print is another one, or that are gone; and, when any relation of
// the database has changed, those that were found after the last comparison: it may have been them.
func (p prints) changed(before prints, oids []uint32) []uint32 {
	var changed []uint32
	for _, oid := range oids {
		key := strconv.FormatUint(uint64(oid), 10)
		old, watched := before[key]
		if watched && p[key] != old || !watched && p["relations"] != before["relations"] {
			changed = append(changed, oid)
		}
	}
	return changed
}

// watched returns the relations that any rule depends on.
func (d *Database) watched() []uint32 {
	set := make(map[uint32]bool)
	d.known.Range(func(_, k any) bool {
		if f := k.(*knowledge).found.Load(); f != nil {
			for _, r := range f.relations {
				set[r.oid] = true
			}
			for _, oid := range f.declared {
				set[oid] = true
			}
		}
		return true
	})
	return slices.Sorted(maps.Keys(set))
}

// withAncestors adds what relations are partitions or heirs of, as far as any rule reads them.
func (d *Database) withAncestors(oids []uint32) []uint32 {
	all := slices.Clone(oids)
	d.known.Range(func(_, k any) bool {
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

func (s *session) prints(ctx context.Context, oids []uint32) (prints, error) {
	answer := s.pg.ExecParams(ctx, watchQuery, [][]byte{oidArray(oids)}, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, fmt.Errorf("compare catalogue: %w", answer.Err)
	}
	p := make(prints, len(answer.Rows))
	for _, row := range answer.Rows {
		p[string(row[0])] = string(row[1])
	}
	return p, nil
}
