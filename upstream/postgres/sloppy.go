package postgres

import (
	"context"
	"fmt"
	"strings"
)

// sloppyQuery tells whether a statement may compare texts by a collation that takes different ones for equal: $1
// are the relations that planning it locked, $2 its text in lower case, $3 the functions that it may reach. Its answer is why; it is empty if not.
//
// A plan does not show by which collation it compares, and the collation of an equality need not be its column's: it
// may be the one of another column that is equal to both (c = o.sloppy AND o.sloppy = $1 becomes c = $1), of an
// argument of a function that is inlined, or of a domain. A collation comes from a COLLATE in some text, from a
// column, or from a type; and types come from columns, names and functions. So it is enough that none of the relations
// has such a column, neither in itself nor in its views' and policies' parsed texts, and that neither the statement
// nor a function that it reaches names such a type. Names count as words wherever they stand.
const sloppyQuery = `with recursive
sloppy (oid) as materialized (select l.oid from pg_catalog.pg_collation l where not l.collisdeterministic),
uses (oid, used) as (
  select t.oid, t.typelem from pg_catalog.pg_type t where t.typelem <> 0
  union all select t.oid, t.typbasetype from pg_catalog.pg_type t where t.typbasetype <> 0
  union all select r.rngtypid, r.rngsubtype from pg_catalog.pg_range r
  union all select c.reltype, a.atttypid from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
    where c.reltype <> 0 and a.attnum > 0 and not a.attisdropped),
kind (oid) as (
  select t.oid from pg_catalog.pg_type t where t.typcollation in (select oid from sloppy)
  union select r.rngtypid from pg_catalog.pg_range r where r.rngcollation in (select oid from sloppy)
  union select c.reltype from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
    where a.attcollation in (select oid from sloppy) and c.reltype <> 0
  union select uses.oid from kind join uses on uses.used = kind.oid),
named (word) as (select pg_catalog.lower(t.typname) from kind join pg_catalog.pg_type t on t.oid = kind.oid),
number (pattern) as (select '\m(' || pg_catalog.string_agg(oid::text, '|') || ')\M' from (select oid from sloppy union select oid from kind) n),
parsed (of, tree) as (
  select 'the view ' || r.ev_class::pg_catalog.regclass::text, r.ev_action::text from pg_catalog.pg_rewrite r where r.ev_class = any ($1::pg_catalog.oid[])
  union all select 'the policy ' || p.polname, coalesce(p.polqual::text, '') from pg_catalog.pg_policy p where p.polrelid = any ($1::pg_catalog.oid[])
  union all select 'a column of ' || d.adrelid::pg_catalog.regclass::text, d.adbin::text from pg_catalog.pg_attrdef d where d.adrelid = any ($1::pg_catalog.oid[])),
reached (name, source, tree, types) as (
  select p.proname, case when l.lanname = 'sql' then pg_catalog.lower(p.prosrc) else '' end,
    coalesce(p.prosqlbody::text, '') || coalesce(p.proargdefaults::text, ''), p.prorettype || coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[])
  from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang where p.oid >= 16384 and pg_catalog.lower(p.proname) = any ($3::text[]))
select coalesce(
  (select 'the statement says COLLATE' where pg_catalog.strpos($2, 'collate') > 0),
  (select 'a column of ' || a.attrelid::pg_catalog.regclass::text || ' has such a collation' from pg_catalog.pg_attribute a
    where a.attrelid = any ($1::pg_catalog.oid[]) and a.attcollation in (select oid from sloppy) limit 1),
  (select c.oid::pg_catalog.regclass::text || ' has a column of a type that has such a collation' from pg_catalog.pg_class c
    where c.oid = any ($1::pg_catalog.oid[]) and c.reltype in (select oid from kind) limit 1),
  (select parsed.of || ' has such a collation in it' from parsed, number where parsed.tree ~ number.pattern limit 1),
  (select 'the function ' || f.name || ' has such a collation in it' from reached f, number
    where pg_catalog.strpos(f.source, 'collate') > 0 or f.tree ~ number.pattern or exists (select from kind where kind.oid = any (f.types)) limit 1),
  (select 'the type ' || n.word || ' has such a collation, and is named' from named n
    where exists (select from (select $2 as source union all select f.source from reached f) texts where case when n.word ~ '^\w+$'
      then texts.source ~ ('\m' || n.word || '\M') else pg_catalog.strpos(texts.source, n.word) > 0 end) limit 1),
  '')`

// sloppiness returns why texts that are different may count as equal in the statements, whose plans have locked these
// relations and which may reach these functions; "" if they do not.
func (s *session) sloppiness(ctx context.Context, statements []*statement, oids []uint32, reached []string) (string, error) {
	var text strings.Builder
	for _, st := range statements {
		text.WriteString(strings.ToLower(st.sql) + ";")
	}
	answer := s.interpreted(ctx, sloppyQuery, oidArray(oids), []byte(text.String()), textArray(reached))
	if answer.Err != nil {
		return "", fmt.Errorf("read collations: %w", answer.Err)
	}
	if why := string(answer.Rows[0][0]); why != "" {
		return "texts may be compared by a collation that takes different ones for equal: " + why, nil
	}
	return "", nil
}

// textArray writes an array literal.
func textArray(texts []string) []byte {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = `"` + quote.Replace(text) + `"`
	}
	return []byte("{" + strings.Join(quoted, ",") + "}")
}
