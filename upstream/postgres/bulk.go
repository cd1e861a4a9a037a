package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/rules"
)

// bulk is the INSERT of a batch rule in the form that inserts all items at once. Immutable; safe for
// concurrent use.
type bulk struct {
	generation uint64     // of the catalogue
	statement  *statement // nil: the items have to be inserted one by one
	reason     string     // why they have to
	table      []byte     // as the statement names it
	columns    string     // the types of its columns
}

// BatchWay is how the items of a batch are sent, as far as a survey or a batch has shown.
type BatchWay struct {
	Known  bool
	AtOnce bool   // as one statement; otherwise as one for each item, in one round trip all the same
	Reason string // why not at once
}

// BatchWay returns how the items of the rule's batches are sent.
func (d *Database) BatchWay(r *rules.Rule) BatchWay {
	k, ok := d.known.Load(r)
	if !ok {
		return BatchWay{}
	}
	b := k.(*knowledge).bulk.Load()
	if b == nil {
		return BatchWay{}
	}
	return BatchWay{Known: true, AtOnce: b.statement != nil, Reason: b.reason}
}

// String says it to people.
func (w BatchWay) String() string {
	switch {
	case !w.Known:
		return "not known before the first batch"
	case w.AtOnce:
		return "as one statement"
	}
	return "item by item: " + w.Reason
}

// errOneByOne : this table would tell many rows in one statement from as many statements.
var errOneByOne = errors.New("the items have to be inserted one by one")

// aloneQuery asks why rows that one statement inserts would not come out as if each had a statement of its own; ”
// if they do. They do not where something that is run for a row sees the others of its statement, or does not see
// them, as the case may be: triggers for each row, rules, policies, a foreign key to the table itself, and STABLE
// functions in defaults and constraints. A trigger for each statement would run once. One that asked for the new
// rows as a table was made for that. And it asks for the types of the columns, which may check what they hold.
//
// It is asked behind the INSERT, whose lock keeps all of these as they are until the commit.
const aloneQuery = `select coalesce((
  select case
    when c.relispartition or c.relkind = 'p' then 'the table has partitions or is one'
    when c.relkind <> 'r' then 'it is no plain table'
    when c.relhasrules then 'the table has rules'
    when pg_catalog.row_security_active(c.oid) then 'the table has row security'
    when exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D'
      and t.tgtype & 4 <> 0 and t.tgtype & 1 <> 0) then 'the table has a trigger for each row'
    when exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D'
      and t.tgtype & 4 <> 0 and t.tgnewtable is null) then 'the table has a trigger for each statement that does not ask for the new rows as a table'
    when exists (select from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = c.oid)
      then 'the table has a foreign key to itself'
    when exists (select from pg_catalog.pg_constraint k
      join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and d.objid = k.oid
      join pg_catalog.pg_proc p on d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass and p.oid = d.refobjid
      where k.conrelid = c.oid and p.provolatile = 's') then 'a constraint of the table calls a function that may read tables'
    when exists (select from pg_catalog.pg_attrdef a
      join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and d.objid = a.oid
      join pg_catalog.pg_proc p on d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass and p.oid = d.refobjid
      where a.adrelid = c.oid and p.provolatile = 's') then 'a default of the table calls a function that may read tables'
    else '' end
  from pg_catalog.pg_class c where c.oid = pg_catalog.to_regclass($1)), 'there is no such table'),
  coalesce((select pg_catalog.string_agg(a.atttypid::text, ',' order by a.attnum) from pg_catalog.pg_attribute a
    where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped), '')`

// typesQuery returns the types that values may pass through on their way into a table: those of its columns, of its
// defaults, constraints and indexes, of the parameters, and those that the statement names; and what these are made of.
const typesQuery = `with recursive used (oid) as (
  select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped
  union select p.oid from pg_catalog.unnest($2::pg_catalog.oid[]) as p (oid)
  union select t.oid from pg_catalog.pg_type t where pg_catalog.lower(t.typname) = any ($3::pg_catalog.text[])
  union select d.refobjid from pg_catalog.pg_depend d where d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass and (
    d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and d.objid in (
      select e.oid from pg_catalog.pg_attrdef e where e.adrelid = pg_catalog.to_regclass($1))
    or d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and d.objid in (
      select k.oid from pg_catalog.pg_constraint k where k.conrelid = pg_catalog.to_regclass($1))
    or d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid in (
      select i.indexrelid from pg_catalog.pg_index i where i.indrelid = pg_catalog.to_regclass($1)))
  union select part.oid from used join pg_catalog.pg_type t on t.oid = used.oid cross join lateral (
    select t.typbasetype union all select t.typelem
    union all select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    union all select r.rngsubtype from pg_catalog.pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)) as part (oid)
)
select coalesce(pg_catalog.string_agg(used.oid::text, ','), '') from used where used.oid <> 0`

// arraysQuery returns the types of arrays of these types; NULL where an array's text would be another
// than that of most, or has no elements of its own. And whether one of the names is that of a function that
// makes several rows of one.
const arraysQuery = `select case when t.typarray <> 0 and t.typdelim = ',' then pg_catalog.format_type(t.typarray, null) end,
  exists (select from pg_catalog.pg_proc p where p.proretset and p.proname = any ($2::pg_catalog.text[]))
from pg_catalog.unnest($1::pg_catalog.oid[]) with ordinality as p (oid, nth) left join pg_catalog.pg_type t on t.oid = p.oid
order by p.nth`

// bulk returns the form of the rule's statement that inserts many rows, made ready; without a statement if
// there is none. The rule's statement has been made ready.
func (s *session) bulk(ctx context.Context, k *knowledge) (*bulk, error) {
	generation := s.db.catalogue.generation.Load()
	b := k.bulk.Load()
	if b == nil || b.generation != generation {
		var err error
		if b, err = s.newBulk(ctx, k.statements[0], generation); err != nil {
			return nil, err
		}
		k.bulk.Store(b)
	}
	if b.statement == nil {
		return b, nil
	}
	err := s.ready(ctx, b.statement, s.db.own.alone)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !s.pg.IsClosed() && !isFailure(s.db.explain(ctx, err, 0).Class) {
		b = &bulk{generation: generation, reason: "the server cannot read its statement as one for many rows"}
		k.bulk.Store(b)
		return b, nil
	}
	return b, err
}

// surveyBulk finds out how the rule's items are sent, without any.
func (s *session) surveyBulk(ctx context.Context, k *knowledge) error {
	if err := s.ready(ctx, k.statements[0]); err != nil {
		return err
	}
	b, err := s.bulk(ctx, k)
	if err != nil || b.statement == nil {
		return err
	}
	reason, _, err := s.alone(ctx, b.table)
	if err == nil && reason != "" {
		k.bulk.Store(&bulk{generation: b.generation, reason: reason})
	}
	return err
}

// alone asks aloneQuery.
func (s *session) alone(ctx context.Context, table []byte) (reason, columns string, err error) {
	answer := s.pg.ExecParams(ctx, aloneQuery, [][]byte{table}, nil, nil, nil).Read()
	if answer.Err != nil {
		return "", "", fmt.Errorf("ask how the table takes many rows: %w", answer.Err)
	}
	return string(answer.Rows[0][0]), string(answer.Rows[0][1]), nil
}

func (s *session) newBulk(ctx context.Context, st *statement, generation uint64) (*bulk, error) {
	b := &bulk{generation: generation, reason: "its statement is not a plain INSERT of one row: INSERT INTO … VALUES (…) RETURNING …"}
	in, ok := parseInsertion(st.sql)
	if !ok || len(st.params) == 0 {
		return b, nil
	}
	b.table = []byte(in.table)
	types, err := s.parameterTypes(ctx, st)
	if err != nil {
		return nil, err
	}
	reads, err := s.reads(ctx, b, st, types)
	if err != nil {
		return nil, err
	}
	if reads {
		b.reason = "its statement, or a type of its table, reaches a function that may read tables"
		return b, nil
	}
	arrays, err := s.arrayTypes(ctx, types, in.called)
	if err != nil {
		return nil, err
	}
	if arrays == nil {
		b.reason = "its statement calls a function that makes several rows of one, or has a parameter whose type has no arrays"
		return b, nil
	}
	sql := in.many(arrays)
	b.reason, b.statement = "", &statement{name: preparedName(sql), label: st.label, sql: sql, rows: st.rows}
	return b, nil
}

// reads reports whether the INSERT may read a table: what it reads may see the rows before it in one form and not
// in the other.
func (s *session) reads(ctx context.Context, b *bulk, st *statement, types []uint32) (bool, error) {
	all, err := s.functions(ctx)
	if err != nil {
		return false, err
	}
	if _, b.columns, err = s.alone(ctx, b.table); err != nil {
		return false, err
	}
	names := []byte{'{'}
	for word := range wordsOf(st.sql) {
		names = appendElement(names, []byte(word))
	}
	answer := s.interpreted(ctx, typesQuery, b.table, oidArray(types), append(names, '}'))
	if answer.Err != nil {
		return false, fmt.Errorf("read types of the table: %w", answer.Err)
	}
	used, err := parseOids(string(answer.Rows[0][0]))
	if err != nil {
		return false, err
	}
	v := all.beside(st.sql, used).judge([]string{st.sql}, true, true)
	return v.every || len(v.inlined) > 0, nil
}

// arrayTypes returns the types of arrays of the types; nil if one has none that serves, or if a function of one
// of these names makes several rows of one.
func (s *session) arrayTypes(ctx context.Context, types []uint32, called []string) ([]string, error) {
	names := []byte{'{'}
	for _, name := range called {
		names = appendElement(names, []byte(name))
	}
	answer := s.pg.ExecParams(ctx, arraysQuery, [][]byte{oidArray(types), append(names, '}')}, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, fmt.Errorf("read types of arrays: %w", answer.Err)
	}
	var arrays []string
	for _, row := range answer.Rows {
		if row[0] == nil || string(row[1]) == "t" {
			return nil, nil
		}
		arrays = append(arrays, string(row[0]))
	}
	return arrays, nil
}

// parameterTypes returns the types that the server gave the statement's parameters.
func (s *session) parameterTypes(ctx context.Context, st *statement) ([]uint32, error) {
	if p := s.prepared[st.name]; p != nil {
		return p.description.ParamOIDs, nil
	}
	description, err := s.description(ctx, st)
	if err != nil {
		return nil, err
	}
	return description.ParamOIDs, nil
}

// appendElement appends an element to an array's text that begins with '{' and has no end yet; nil is NULL.
func appendElement(dst, element []byte) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	if element == nil {
		return append(dst, "NULL"...)
	}
	dst = append(dst, '"')
	for _, c := range element {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// inBulk sends all items as one statement, in a transaction that any error ends.
func (b *batch) inBulk(ctx context.Context) error {
	return b.inOne(ctx, func(r *round) {
		r.send(b.bulk.statement, b.arrays())
		r.send(b.d.own.alone, [][]byte{b.bulk.table})
	}, b.receiveBulk)
}

// arrays returns the items' arguments, the n-th of each of them in the n-th array.
func (b *batch) arrays() [][]byte {
	st := b.k.statements[0]
	arrays := make([][]byte, len(st.params))
	for p := range arrays {
		arrays[p] = append(make([]byte, 0, 16*len(b.outcomes)), '{')
	}
	for i := range b.outcomes {
		if b.outcomes[i].err != nil {
			continue
		}
		item := &b.call.Input.Items[i]
		b.scratch.values = st.arguments(b.scratch.values[:0], item.Arguments, item.Body)
		for p, value := range b.scratch.values {
			arrays[p] = appendElement(arrays[p], value)
		}
	}
	for p := range arrays {
		arrays[p] = append(arrays[p], '}')
	}
	return arrays
}

// receiveBulk reads the rows, which come in the order of the items, and whether they are what the items
// would have come to one by one.
func (b *batch) receiveBulk(r *round) error {
	st := b.bulk.statement
	reader, err := r.next()
	if err != nil {
		return fmt.Errorf("run statement %q for all items: %w", st.label, err)
	}
	if err := b.readBulk(st, reader); err != nil {
		return fmt.Errorf("read rows of statement %q for all items: %w", st.label, err)
	}
	alone, err := r.row(2)
	if err != nil {
		return fmt.Errorf("ask how the table takes many rows: %w", err)
	}
	if alone[0] == "" && alone[1] == b.bulk.columns {
		return nil
	}
	b.apartFor = alone[0]
	return errOneByOne
}

func (b *batch) readBulk(st *statement, reader *pgconn.ResultReader) error {
	one := reading{statement: st, shape: b.s.shapeOf(st), json: true}
	if st.rows != rules.None && !one.shape.fits(reader.FieldDescriptions()) {
		return errShapeChanged
	}
	short := false
	for i := range b.outcomes {
		if b.outcomes[i].err != nil || st.rows == rules.None {
			continue
		}
		if short = !reader.NextRow(); short {
			break
		}
		result := result{rows: 1}
		if err := one.row(&result, reader.Values(), nil); err != nil {
			return err
		}
		b.outcomes[i].json = result.json
	}
	tag, err := reader.Close()
	if err == nil && (short || tag.RowsAffected() != int64(len(b.outcomes)-b.failed())) {
		err = errOneByOne
	}
	return err
}
