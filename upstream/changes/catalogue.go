package changes

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

const firstUserOid = 16384 // the first that is not the server's own

// catalogue is what the database says of the wanted relations and everything below them. Immutable.
type catalogue struct {
	relations map[uint32]*entry
	events    string // a print of the event triggers; "": they are not in place, or do not always fire
}

// entry is one relation. Immutable.
type entry struct {
	oid         uint32
	quoted      string // schema and name as SQL takes them
	kind        byte   // pg_class.relkind
	persistence byte   // pg_class.relpersistence
	identity    byte   // pg_class.relreplident
	owner       string // as SQL takes it
	role        string // whose connection it is, as SQL takes it
	owned       bool   // the role may publish it
	usable      bool   // the replica identity is there
	keys        []int16
	children    []uint32 // directly below
	ancestors   []uint32 // in any distance
	triggers    string   // a print of those of mode notify; "": they are not there, or do not always fire
	attributes  []attribute
}

// attribute is a column as the stream sends it: none that is dropped or generated.
type attribute struct {
	number int16
	name   string
	kind   uint32
	exact  bool // equal values have equal texts
}

// identityCondition holds for the index i that is the replica identity of c.
const identityCondition = `i.indisvalid
    and (c.relreplident = 'd' and i.indisprimary and i.indimmediate or c.relreplident = 'i' and i.indisreplident)`

const relationsQuery = `with recursive down (oid) as (
  select unnest($1::pg_catalog.oid[])
  union select i.inhrelid from down join pg_catalog.pg_inherits i on i.inhparent = down.oid)
select c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
  c.relkind::text, c.relpersistence::text, c.relreplident::text,
  pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)), pg_catalog.quote_ident(current_user),
  pg_catalog.pg_has_role(c.relowner, 'USAGE'),
  c.relreplident = 'f' or k.keys is not null,
  coalesce(k.keys, '{}'),
  array(select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent = c.oid order by 1),
  array(with recursive up (oid) as (
      select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid
      union select i.inhparent from up join pg_catalog.pg_inherits i on i.inhrelid = up.oid)
    select up.oid from up order by 1),
  coalesce((select case when pg_catalog.count(*) = 2 then pg_catalog.string_agg(t.oid || ' ' || t.xmin::text, ',' order by t.oid) end
    from pg_catalog.pg_trigger t where t.tgrelid = c.oid
    and t.tgname in ('` + triggerRows + `', '` + triggerTruncate + `') and t.tgenabled = 'A'), '')
from down join pg_catalog.pg_class c on c.oid = down.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join lateral (
  select array(select u.number from unnest(i.indkey::int2[]) with ordinality u (number, place)
    where u.place <= i.indnkeyatts order by u.place) as keys
  from pg_catalog.pg_index i
  where i.indrelid = c.oid and ` + identityCondition + `
  limit 1) k on true`

// A value is exact if equal values have one text: see maxValue for another limit. bpchar, numeric,
// intervals, json and what a nondeterministic collation compares are not.
const attributesQuery = `select a.attrelid, a.attnum, a.attname, a.atttypid,
  t.typtype = 'e' or a.atttypid in (16, 17, 20, 21, 23, 26, 1082, 1114, 1184, 2950)
    or a.atttypid in (25, 1043) and coalesce(l.collisdeterministic, true)
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_collation l on l.oid = a.attcollation
where a.attrelid = any ($1::pg_catalog.oid[]) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
order by a.attrelid, a.attnum`

const eventsQuery = `select coalesce(case when pg_catalog.count(*) = 2 then pg_catalog.string_agg(e.oid || ' ' || e.xmin::text, ',' order by e.oid) end, '') from pg_catalog.pg_event_trigger e
where e.evtname in ('` + eventCommand + `', '` + eventDrop + `') and e.evtenabled = 'A'`

// readCatalogue asks for what matters of the wanted relations, in one round trip.
func readCatalogue(ctx context.Context, conn *pgx.Conn, wanted map[uint32][]int16) (*catalogue, error) {
	oids := slices.Sorted(maps.Keys(wanted))
	c := &catalogue{relations: make(map[uint32]*entry)}
	batch := new(pgx.Batch)
	// Not compiled: what the server estimates of so many parts makes it take a hundred times as long for that as for the answer.
	batch.Queue("select pg_catalog.set_config('jit', 'off', true)")
	batch.Queue(relationsQuery, oids).Query(c.readRelations)
	batch.Queue(eventsQuery).QueryRow(func(row pgx.Row) error { return row.Scan(&c.events) })
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	rows, err := conn.Query(ctx, attributesQuery, c.withRows(wanted))
	if err == nil {
		err = c.readAttributes(rows)
	}
	if err != nil {
		return nil, fmt.Errorf("read columns: %w", err)
	}
	return c, nil
}

// withRows returns the relations whose rows somebody wants to tell apart, or those of an ancestor, and
// these ancestors.
func (c *catalogue) withRows(wanted map[uint32][]int16) []uint32 {
	var oids []uint32
	for oid, e := range c.relations {
		if len(wanted[oid]) > 0 || slices.ContainsFunc(e.ancestors, func(a uint32) bool { return len(wanted[a]) > 0 }) {
			oids = append(oids, oid)
		}
	}
	return oids
}

func (c *catalogue) readRelations(rows pgx.Rows) error {
	for rows.Next() {
		e := new(entry)
		var kind, persistence, identity string
		err := rows.Scan(&e.oid, &e.quoted, &kind, &persistence, &identity, &e.owner, &e.role,
			&e.owned, &e.usable, &e.keys, &e.children, &e.ancestors, &e.triggers)
		if err != nil {
			return err
		}
		e.kind, e.persistence, e.identity = kind[0], persistence[0], identity[0]
		c.relations[e.oid] = e
	}
	return rows.Err()
}

func (c *catalogue) readAttributes(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		var oid uint32
		var a attribute
		if err := rows.Scan(&oid, &a.number, &a.name, &a.kind, &a.exact); err != nil {
			return err
		}
		e := c.relations[oid]
		e.attributes = append(e.attributes, a)
	}
	return rows.Err()
}

// attribute makes the attribution of what the catalogue says. A relation that stays as it was in before
// keeps its pointer.
func (c *catalogue) attribute(wanted map[uint32][]int16, before *attribution) *attribution {
	next := &attribution{relations: make(map[uint32]*relation)}
	same := len(c.relations) == len(before.relations)
	for oid, e := range c.relations {
		r := &relation{oid: oid, identity: e.identity}
		for _, a := range e.attributes {
			r.columns = append(r.columns, column{name: a.name, kind: a.kind, key: e.keyed(a.number)})
		}
		r.targets = append(r.targets, newTarget(oid, c.followed(e, e, wanted[oid])))
		for _, up := range e.ancestors {
			var columns []followed
			if above := c.relations[up]; above != nil {
				columns = c.followed(above, e, wanted[up])
			}
			r.targets = append(r.targets, newTarget(up, columns))
		}
		if old := before.relations[oid]; r.equal(old) {
			r = old
		} else {
			same = false
		}
		next.relations[oid] = r
	}
	if same {
		return before
	}
	return next
}

// keyed reports whether the stream brings the column's old value.
func (e *entry) keyed(number int16) bool { return e.identity == 'f' || slices.Contains(e.keys, number) }

// followed returns those of the target's wanted columns by which each change to the leaf can be told apart.
// A partition has the columns of its ancestors by name, in an order of its own.
func (c *catalogue) followed(target, leaf *entry, wanted []int16) []followed {
	var list []followed
	for _, number := range wanted {
		at := slices.IndexFunc(target.attributes, func(a attribute) bool { return a.number == number })
		if at < 0 {
			continue
		}
		a := target.attributes[at]
		index := slices.IndexFunc(leaf.attributes, func(b attribute) bool { return b.name == a.name && b.kind == a.kind })
		if index >= 0 && a.exact && leaf.attributes[index].exact && leaf.keyed(leaf.attributes[index].number) {
			list = append(list, followed{number: number, index: index})
		}
	}
	return list
}

// below returns the relation and all below it, those without rows of their own left out.
func (c *catalogue) below(oid uint32) []*entry {
	var list []*entry
	seen := make(map[uint32]bool)
	var walk func(uint32)
	walk = func(oid uint32) {
		e := c.relations[oid]
		if e == nil || seen[oid] {
			return
		}
		seen[oid] = true
		if e.kind != 'p' {
			list = append(list, e)
		}
		for _, child := range e.children {
			walk(child)
		}
	}
	walk(oid)
	return list
}
