package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"forebay/cache"
)

// watchQuery makes a print of each relation in $1, and tells of each whether a column of it may have changed since
// the snapshot that began with its id in $2; a print of all relations together, for those that are not
// watched yet; and of what may change what any statement means: functions, operators, casts, types, the labels of
// enums, collations and which columns have those that take different texts for equal, text search, settings, and what the roles may see that statements run as, or views and functions in them. VACUUM and
// ANALYZE leave them as they are, and so do other sessions' temporary tables. The array that Postgres makes beside
// each type, each table's row type too, says nothing that its element does not.
//
// A name finds another relation when the schema of one is renamed, or when one comes to stand before it in the
// search path: so the print of a relation has all those of its name, each with its schema. Another schema alone is
// no news, nor another role: there may be one for each customer.
const watchQuery = `with recursive schemas as (select n.oid, n.xmin from pg_catalog.pg_namespace n where n.nspname !~ '^pg_(toast_)?temp_'),
acting (oid) as (
  select r.oid from pg_catalog.pg_roles r where r.rolname = current_user
  union select c.relowner from unnest($1::pg_catalog.oid[]) w (oid) join pg_catalog.pg_class c on c.oid = w.oid
  union select p.proowner from pg_catalog.pg_proc p where p.oid >= 16384 and p.prosecdef
  union select m.roleid from acting join pg_catalog.pg_auth_members m on m.member = acting.oid)
select c.oid::text, pg_catalog.md5(pg_catalog.concat_ws(',', c.xmin, c.relfilenode,
  (select pg_catalog.string_agg(a.xmin::text, ',' order by a.attnum) from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0),
  (select pg_catalog.string_agg(r.oid || ':' || r.xmin, ',' order by r.oid) from pg_catalog.pg_rewrite r where r.ev_class = c.oid),
  (select pg_catalog.string_agg(p.oid || ':' || p.xmin, ',' order by p.oid) from pg_catalog.pg_policy p where p.polrelid = c.oid),
  (select pg_catalog.string_agg(i.inhrelid || ':' || i.xmin, ',' order by i.inhrelid) from pg_catalog.pg_inherits i where i.inhparent = c.oid),
  (select pg_catalog.string_agg(o.oid || ':' || s.oid || ':' || s.xmin, ',' order by o.oid) from pg_catalog.pg_class o
    join schemas s on s.oid = o.relnamespace where o.relname = c.relname and o.relkind in ('r', 'p', 'v', 'm', 'f', 'S')))),
  coalesce((select pg_catalog.min(pg_catalog.age(a.xmin)) from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0)
    <= pg_catalog.age(w.since::pg_catalog.xid), false)
from unnest($1::pg_catalog.oid[], $2::pg_catalog.xid8[]) w (oid, since) join pg_catalog.pg_class c on c.oid = w.oid
union all select 'life', ` + lifeExpression + `, false
union all select 'relations', pg_catalog.md5(pg_catalog.concat_ws(';',
  (select pg_catalog.string_agg(c.oid || ':' || c.xmin, ',' order by c.oid) from pg_catalog.pg_class c
    where c.oid >= 16384 and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'),
  (select pg_catalog.string_agg(s.oid || ':' || s.xmin, ',' order by s.oid) from schemas s),
  (select pg_catalog.string_agg(r.oid || ':' || r.xmin, ',' order by r.oid) from pg_catalog.pg_rewrite r
    join pg_catalog.pg_class c on c.oid = r.ev_class where r.oid >= 16384 and c.relpersistence <> 't'),
  (select pg_catalog.string_agg(p.oid || ':' || p.xmin, ',' order by p.oid) from pg_catalog.pg_policy p
    join pg_catalog.pg_class c on c.oid = p.polrelid where c.relpersistence <> 't'))), false
union all select 'meanings', pg_catalog.md5(pg_catalog.concat_ws(';',
  pg_catalog.current_setting('search_path'), pg_catalog.current_setting('default_text_search_config'),
  (select pg_catalog.string_agg(p.oid || ':' || p.xmin || ':' || s.xmin, ',' order by p.oid) from pg_catalog.pg_proc p
    join schemas s on s.oid = p.pronamespace where p.oid >= 16384),
  (select pg_catalog.string_agg(o.oid || ':' || o.xmin || ':' || s.xmin, ',' order by o.oid) from pg_catalog.pg_operator o
    join schemas s on s.oid = o.oprnamespace where o.oid >= 16384),
  (select pg_catalog.string_agg(c.oid || ':' || c.xmin, ',' order by c.oid) from pg_catalog.pg_cast c where c.oid >= 16384),
  (select pg_catalog.string_agg(e.oid || ':' || e.xmin, ',' order by e.oid) from pg_catalog.pg_enum e),
  (select pg_catalog.string_agg(t.oid || ':' || t.xmin || ':' || s.xmin, ',' order by t.oid) from pg_catalog.pg_type t
    join schemas s on s.oid = t.typnamespace where t.oid >= 16384 and t.typtype in ('d', 'b', 'r')
      and not exists (select from pg_catalog.pg_type e where e.oid = t.typelem and e.typarray = t.oid)),
  (select pg_catalog.string_agg(a.attrelid || ':' || a.xmin, ',' order by a.attrelid, a.attnum) from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind = 'c' join schemas s on s.oid = c.relnamespace),
  (select pg_catalog.string_agg(l.oid || ':' || l.xmin || ':' || s.xmin, ',' order by l.oid) from pg_catalog.pg_collation l
    join schemas s on s.oid = l.collnamespace where l.oid >= 16384),
  (select pg_catalog.string_agg(d.oid || ':' || d.xmin, ',' order by d.oid) from pg_catalog.pg_ts_dict d),
  (select pg_catalog.string_agg(g.oid || ':' || g.xmin || ':' || s.xmin, ',' order by g.oid) from pg_catalog.pg_ts_config g
    join schemas s on s.oid = g.cfgnamespace),
  (select pg_catalog.string_agg(m.mapcfg || ':' || m.xmin, ',' order by m.mapcfg, m.maptokentype, m.mapseqno) from pg_catalog.pg_ts_config_map m),
  (select pg_catalog.string_agg(pg_catalog.concat_ws(':', r.oid, r.rolname, r.rolsuper, r.rolinherit, r.rolbypassrls,
    (select pg_catalog.string_agg(m.roleid || ':' || m.xmin, ',' order by m.roleid, m.xmin::text) from pg_catalog.pg_auth_members m where m.member = r.oid)), ',' order by r.oid)
    from acting join pg_catalog.pg_roles r on r.oid = acting.oid),
  (select pg_catalog.string_agg(l.oid || ':' || a.attrelid || ':' || a.attnum, ',' order by l.oid, a.attrelid, a.attnum)
    from pg_catalog.pg_collation l join pg_catalog.pg_attribute a on a.attcollation = l.oid where not l.collisdeterministic))), false`

// horizonQuery asks for the next transaction id, and then for those that are at work in this database; a standby
// knows no database of those. In this order, and before the prints are taken: what is missing has ended by then.
// The snapshot's own horizon would do, and let any transaction of the cluster that writes for long make every
// table younger than it is.
const horizonQuery = `select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text, pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text,
  pg_catalog.pg_is_in_recovery();
select a.backend_xid::text from pg_catalog.pg_stat_get_activity(null) a
  where a.backend_xid is not null and a.datid = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
union all select p.transaction::text from pg_catalog.pg_prepared_xact() p
  where p.dbid = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())`

// comparison is the state of the catalogue at one moment, as far as it is compared. Immutable.
//
// What a fill or a survey finds out is of no earlier state than the comparison that it began after: the first is
// made before the first connection is used for anything. So a relation that was in no comparison yet is judged
// from there on:
//
//	compare: A
//	fill:    begins after A, reads a table for the first time, and is stored
//	others:  change the table
//	compare: B, the first with the table in it, must not take what it is by now for what it was
type comparison struct {
	epoch  uint64            // of the server, in which its session was met
	nth    uint64            // in the order in which they were asked for
	xmin   string            // what this database's transactions before it did was there
	prints map[string]string // by the first column of watchQuery
	young  map[uint32]bool   // relations of which a column may have changed since whoever found them began
}

// compare takes the prints and acts on what is different from the last comparison. False: it could not, and
// what happened meanwhile is noticed the next time.
func (d *Database) compare(ctx context.Context) bool {
	watched := d.watched()
	turn, position, asOf := d.floor.turn(), uint64(0), d.clock.Now()
	var now *comparison
	err := d.glance(ctx, func(ctx context.Context, s *session) error {
		var err error
		if now, err = s.prints(ctx, watched); err != nil {
			return err
		}
		switch {
		case d.primary != nil: // a position needs no epoch
			err = d.lookAtStandby(ctx, s)
		case d.server.blur:
			s.lives(now.prints["life"]) // else the comparison is of another epoch
		}
		if err == nil && d.standby != nil {
			position, err = s.position(ctx) // behind all that the prints show
		}
		if err != nil {
			return err
		}
		return d.lookAfterStrays(ctx, s)
	})
	if err != nil || now.epoch != d.server.epoch.Load() {
		return false
	}
	d.react(now, d.compared.Load(), watched, position)
	d.floor.settle(turn, position)
	if d.primary == nil {
		d.log.Watched(asOf)
	}
	return true
}

// firstComparison is made on the first connection. If it cannot be, everything that is found before the next
// one counts as changed by then.
func (d *Database) firstComparison(ctx context.Context, s *session) {
	if d.compared.Load() != nil {
		return
	}
	if first, err := s.prints(ctx, nil); err == nil {
		d.compared.CompareAndSwap(nil, first)
	}
}

// react makes a comparison the last one, and outdates what hangs on the differences to the one before, which is nil
// if nothing was compared yet. Position lies behind the differences; it is for standbys.
func (d *Database) react(now, before *comparison, watched map[uint32]*comparison, position uint64) {
	unlike := before == nil || before.epoch != now.epoch // of another server, or of before a crash
	otherMeanings := unlike || now.prints["meanings"] != before.prints["meanings"]
	changed := now.changed(before, watched)
	if len(changed) == 0 && !otherMeanings && now.prints["relations"] == before.prints["relations"] {
		d.compared.Store(now)
		return
	}
	d.floor.raise(position)
	if d.standby != nil {
		d.standby.catalogue.advance()
	}
	d.catalogue.advance() // first: a fill that began before it and asks after the purge refuses itself
	d.compared.Store(now) // then: who begins after this comparison takes nothing for known that is older
	purge := dependenciesOf(d.withAncestors(changed))
	if otherMeanings {
		d.eachKnown(func(_, k any) bool {
			purge = append(purge, cache.Rule(k.(*knowledge).rule.Name))
			return true
		})
	}
	if len(purge) > 0 {
		d.log.Purge(cache.Purge{Dependencies: purge})
	}
	if d.primary != nil {
		return // the primary's poll tells of it
	}
	d.metrics.catalogue.Inc()
	d.logger.Info("the database's catalogue has changed", "relations", len(changed))
}

// changed returns the relations whose print is another one, or that are gone; and those that were not compared
// yet, if any relation of the database has changed since they were found, for it may have been them, or one of
// their columns.
func (c *comparison) changed(before *comparison, watched map[uint32]*comparison) []uint32 {
	var changed []uint32
	for _, oid := range slices.Sorted(maps.Keys(watched)) {
		since, key := watched[oid], strconv.FormatUint(uint64(oid), 10)
		compared := false
		old := ""
		if before != nil && before.epoch == c.epoch {
			old, compared = before.prints[key]
		}
		switch {
		case compared && c.prints[key] == old:
		case !compared && since != nil && since.epoch == c.epoch && since.prints["relations"] == c.prints["relations"] && !c.young[oid]:
		default:
			changed = append(changed, oid)
		}
	}
	return changed
}

// watched returns the relations that any rule depends on, each with the comparison after which whoever found it
// began; nil if there was none.
func (d *Database) watched() map[uint32]*comparison {
	set := make(map[uint32]*comparison)
	add := func(oids []uint32, since *comparison) {
		for _, oid := range oids {
			if known, ok := set[oid]; !ok || since.before(known) {
				set[oid] = since
			}
		}
	}
	find := func(since func(*finding) *comparison) func(_, k any) bool {
		return func(_, k any) bool {
			if f := k.(*knowledge).found.Load(); f != nil {
				add(oidsOf(f.relations), since(f))
				add(f.declared, since(f))
			}
			return true
		}
	}
	d.known.Range(find(func(f *finding) *comparison { return f.since }))
	if d.standby != nil {
		// What a standby knows may be older than any comparison of the primary's that it began after.
		d.standby.known.Range(find(func(*finding) *comparison { return nil }))
	}
	d.vantages.each(add)
	return set
}

// before reports whether the comparison was made before the other; nil was before all.
func (c *comparison) before(other *comparison) bool {
	return other != nil && (c == nil || c.nth < other.nth)
}

// prints makes a comparison of the relations and of all that is compared as a whole.
func (s *session) prints(ctx context.Context, watched map[uint32]*comparison) (*comparison, error) {
	c := &comparison{epoch: s.epoch, nth: s.db.comparisons.Add(1), prints: make(map[string]string), young: make(map[uint32]bool)}
	oids := slices.Sorted(maps.Keys(watched))
	since := []byte{'{'}
	for i, oid := range oids {
		if i > 0 {
			since = append(since, ',')
		}
		if w := watched[oid]; w != nil {
			since = append(since, w.xmin...)
		} else {
			since = append(since, "NULL"...)
		}
	}
	var err error
	if c.xmin, err = s.horizon(ctx); err != nil {
		return nil, err
	}
	answer := s.pg.ExecParams(ctx, watchQuery, [][]byte{oidArray(oids), append(since, '}')}, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, fmt.Errorf("compare catalogue: %w", answer.Err)
	}
	for _, row := range answer.Rows {
		c.prints[string(row[0])] = string(row[1])
		if string(row[2]) == "t" {
			oid, err := strconv.ParseUint(string(row[0]), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("compare catalogue: %w", err)
			}
			c.young[uint32(oid)] = true
		}
	}
	return c, nil
}

// horizon returns the id before which no transaction is at work in this database.
func (s *session) horizon(ctx context.Context) (string, error) {
	answers, err := s.pg.Exec(ctx, horizonQuery).ReadAll()
	if err != nil {
		return "", fmt.Errorf("compare catalogue: %w", err)
	}
	if len(answers) != 2 || len(answers[0].Rows) != 1 {
		return "", errors.New("compare catalogue: no answer")
	}
	row := answers[0].Rows[0]
	next, err := strconv.ParseUint(string(row[0]), 10, 64)
	if err != nil || string(row[2]) == "t" {
		return string(row[1]), err
	}
	oldest := next
	for _, row := range answers[1].Rows {
		xid, err := strconv.ParseUint(string(row[0]), 10, 32)
		if err != nil {
			return "", fmt.Errorf("compare catalogue: %w", err)
		}
		oldest = min(oldest, cache.Widen(uint32(xid), next))
	}
	return strconv.FormatUint(oldest, 10), nil
}
