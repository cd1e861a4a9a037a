package postgres

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
	"forebay/rules"
)

// maxRows is how many rows one response depends on; with more it is the table.
const maxRows = 1000

// rowCondition says that a rule reads of a table only rows in which the column equals an argument, or one
// of a list. Immutable.
type rowCondition struct {
	column   int16 // attribute number
	name     string
	kind     uint32 // the column's type
	array    uint32 // the type of a list that the column is compared with
	enum     bool
	list     bool
	argument int // index in the rule's arguments
}

// appendRows appends the rows of the table that an argument stands for. Not ok: it is not known by which
// text Postgres knows them. A NULL equals nothing, so there is no such row.
func (c *rowCondition) appendRows(dst []cache.Dependency, oid uint32, arguments []rules.Argument) ([]cache.Dependency, bool) {
	if c.argument < 0 || c.argument >= len(arguments) {
		return dst, false
	}
	a := arguments[c.argument]
	switch {
	case !a.Present:
		return dst, true
	case c.list:
		return c.appendList(dst, oid, a.Text)
	}
	text, ok := c.text(string(a.Text))
	return append(dst, cache.Row(oid, c.column, text)), ok
}

// appendList appends the rows that the elements of an array literal stand for.
func (c *rowCondition) appendList(dst []cache.Dependency, oid uint32, literal []byte) ([]cache.Dependency, bool) {
	inside, begins := bytes.CutPrefix(literal, []byte("{"))
	inside, ends := bytes.CutSuffix(inside, []byte("}"))
	if !begins || !ends {
		return dst, false
	}
	var element []byte
	for i, n := 0, 0; i < len(inside); n++ {
		var quoted bool
		element, quoted, i = arrayElement(element[:0], inside, i)
		if !quoted && string(element) == "NULL" {
			continue
		}
		text, ok := c.text(string(element))
		if !ok || n >= maxRows {
			return dst, false
		}
		dst = append(dst, cache.Row(oid, c.column, text))
	}
	return dst, true
}

// text returns the text that the stream has for a value in the column, which was written so. Not ok: it may
// have another one.
func (c *rowCondition) text(written string) (text string, ok bool) {
	if c.enum {
		return written, true
	}
	return valueText(c.kind, written)
}

// examination is what looking at a rule's statements without running them found.
type examination struct {
	oids []uint32 // what they have locked when they were planned
	// named are those of oids that their texts name, and the texts of the views and policies in these: what had been
	// locked before they were planned.
	named []uint32
	rows  map[uint32][]rowCondition
	// whole says why a table is depended on as a whole, for those that appear in a plan.
	whole    map[uint32]string
	words    words  // of the plans: what is called there
	sloppy   string // why texts that are different may count as equal; "" if they do not
	mentions []mention
}

// examineScript plans a statement without running it, in a transaction that is rolled back, and asks what
// that has locked. The plan is the generic one, in which parameters stay parameters.
const examineScript = `begin; select pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
  pg_catalog.set_config('enable_partition_pruning', '%[5]s', true);
prepare %[1]s as %[2]s
;
select coalesce(pg_catalog.string_agg(distinct l.relation::text, ','), '') from pg_catalog.pg_lock_status() l
where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation'
  and l.database = %[4]d;
explain (verbose, format json) execute %[1]s%[3]s;
select coalesce(pg_catalog.string_agg(distinct l.relation::text, ','), '') from pg_catalog.pg_lock_status() l
where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation'
  and l.database in (%[4]d, 0);
select coalesce(pg_catalog.array_to_string(p.parameter_types::pg_catalog.oid[], ','), '') from pg_catalog.pg_prepared_statement() p where p.name = '%[1]s';
rollback; deallocate %[1]s`

// mention is one scan of a statement, with the types of its parameters.
type mention struct {
	scan
	relation  relation
	statement *statement
	types     []uint32
}

// examine plans the rule's statements without running them. What cannot be planned so has no rows told
// apart: the error says why.
func (s *session) examine(ctx context.Context, k *knowledge) (*examination, error) {
	e := &examination{rows: make(map[uint32][]rowCondition), whole: make(map[uint32]string), words: make(words)}
	for i, st := range k.statements {
		found, incomplete, err := s.plan(ctx, st, i, "on", e)
		if err == nil && incomplete {
			found, _, err = s.plan(ctx, st, i, "off", e)
		}
		if err != nil {
			return nil, err
		}
		e.mentions = append(e.mentions, found...)
	}
	slices.Sort(e.oids)
	e.oids = slices.Compact(e.oids)
	slices.Sort(e.named)
	e.named = slices.Compact(e.named)
	return e, nil
}

// tellApart finds out which rows of its tables the rule reads. Known are relations that were found before; v is of
// the functions that the statements reach.
func (s *session) tellApart(ctx context.Context, k *knowledge, e *examination, known []relation, v verdict) error {
	e.oids = append(e.oids, oidsOf(known)...)
	slices.Sort(e.oids)
	e.oids = slices.Compact(e.oids)
	relations, err := s.relations(ctx, e.oids)
	if err != nil {
		return err
	}
	if len(v.inlined) == 0 {
		relations = withoutAbove(relations, e.named)
	}
	columns, anySloppy, err := s.columns(ctx, e.oids)
	if err != nil {
		return err
	}
	resolve(e.mentions, relations)
	byText := func(m mention) bool {
		c, ok, _ := m.condition(columns[m.relation.oid], true)
		return ok && c.isText()
	}
	if anySloppy && slices.ContainsFunc(e.mentions, byText) {
		if e.sloppy, err = s.sloppiness(ctx, k.statements, e.oids, v.reached); err != nil {
			return err
		}
	}
	for _, r := range tops(relations) {
		e.tell(r, e.mentions, columns)
	}
	return nil
}

// plan plans one statement and returns its mentions of tables. Incomplete: pruning has left partitions out.
func (s *session) plan(ctx context.Context, st *statement, nth int, pruning string, e *examination) (mentions []mention, incomplete bool, err error) {
	name := fmt.Sprintf("forebay_plan_%d", nth)
	arguments := ""
	if n := len(st.params); n > 0 {
		arguments = "(" + strings.Repeat("null, ", n-1) + "null)"
	}
	sql := strings.TrimRight(st.sql, "; \t\r\n")
	results, err := s.pg.Exec(ctx, fmt.Sprintf(examineScript, name, sql, arguments, s.db.server.facts().database, pruning)).ReadAll()
	if err != nil {
		if rollbackErr := s.rollback(ctx); rollbackErr == nil {
			_, _ = s.pg.Exec(ctx, "deallocate "+name).ReadAll() // which may not be there
		}
		return nil, false, fmt.Errorf("plan statement %q: %w", st.label, err)
	}
	if len(results) != 9 || slices.ContainsFunc(results[3:7], func(r *pgconn.Result) bool { return len(r.Rows) == 0 }) {
		return nil, false, fmt.Errorf("plan statement %q: %d answers", st.label, len(results))
	}
	explained := results[4].Rows[0][0]
	scans, incomplete, err := parsePlan(explained)
	if err != nil {
		return nil, false, err
	}
	var lists [3][]uint32
	for i, at := range []int{3, 5, 6} {
		if lists[i], err = parseOids(string(results[at].Rows[0][0])); err != nil {
			return nil, false, err
		}
	}
	named, locked, types := lists[0], lists[1], lists[2]
	for word, called := range wordsOf(strings.ReplaceAll(string(explained), `\"`, `"`)) {
		e.words[word] = e.words[word] || called
	}
	e.oids, e.named = append(e.oids, locked...), append(e.named, named...)
	mentions = make([]mention, len(scans))
	for i := range scans {
		mentions[i] = mention{scan: scans[i], statement: st, types: types}
	}
	return mentions, incomplete, nil
}

// resolve finds the relations that are mentioned.
func resolve(mentions []mention, relations []relation) {
	for i := range mentions {
		m := &mentions[i]
		at := slices.IndexFunc(relations, func(r relation) bool { return m.schema == r.schema && m.name == r.name })
		if at >= 0 {
			m.relation = relations[at]
		}
	}
}

// tell decides whether the table's rows are told apart: every mention of it has to name those it reads. A
// partitioned table is mentioned by its partitions, whose columns have its columns' names and other numbers.
func (e *examination) tell(r relation, mentions []mention, columns map[uint32]map[string]rowCondition) {
	var conditions []rowCondition
	mentioned := false
	for i := range mentions {
		m := &mentions[i]
		if m.relation.oid != r.oid && !(r.kind == 'p' && slices.Contains(m.relation.ancestors, r.oid)) {
			continue
		}
		mentioned = true
		condition, ok, doubtful := m.condition(columns[m.relation.oid], e.sloppy == "")
		if ok && m.relation.oid != r.oid {
			condition, ok = condition.as(columns[r.oid])
		}
		if !ok && doubtful {
			e.whole[r.oid] = e.sloppy
			return
		}
		if !ok && m.ambiguous {
			e.whole[r.oid] = "its statement has a subquery whose result Postgres, before 17, writes in plans as it does parameters; " +
				"without EXISTS and (SELECT …) that depend on nothing around them, rows may be told apart"
			return
		}
		if !ok {
			e.whole[r.oid] = "a mention of it is not limited to rows by column = @parameter"
			return
		}
		if !slices.Contains(conditions, condition) {
			conditions = append(conditions, condition)
		}
	}
	if mentioned {
		e.rows[r.oid] = conditions
	}
}

// condition returns the first equality of the mention by which rows can be told apart: a column of the
// parameter's type. Doubtful: there is one of texts, and these are not strict.
func (m *mention) condition(columns map[string]rowCondition, strict bool) (condition rowCondition, ok, doubtful bool) {
	for _, eq := range m.equalities {
		c, known := columns[eq.column]
		if !known || eq.parameter < 1 || eq.parameter > len(m.types) || eq.parameter > len(m.statement.params) {
			continue
		}
		if kind := m.types[eq.parameter-1]; !c.comparedWith(kind, eq) {
			continue
		}
		if c.isText() && !strict {
			doubtful = true
			continue
		}
		c.list = eq.any
		if c.argument = m.statement.params[eq.parameter-1]; c.argument >= 0 {
			return c, true, false
		}
	}
	return rowCondition{}, false, doubtful
}

func (c *rowCondition) isText() bool { return c.kind == oidText || c.kind == oidVarchar }

// as returns the condition on a partition as one on its table.
func (c rowCondition) as(columns map[string]rowCondition) (rowCondition, bool) {
	above, known := columns[c.name]
	if !known || above.kind != c.kind {
		return rowCondition{}, false
	}
	c.column = above.column
	return c, true
}

// comparedWith reports whether the column is compared with a parameter of that type as it is: by the equality
// of their common type.
func (c *rowCondition) comparedWith(kind uint32, eq equality) bool {
	switch {
	case eq.any:
		return kind != 0 && kind == c.array && (c.isText() || !eq.asText)
	case c.isText():
		return kind == oidText || kind == oidVarchar
	}
	return kind == c.kind && !eq.asText
}

// columnsQuery lists the columns by which rows can be told apart. One that is generated does not come with
// the stream; equality that somebody defined anew is not what is thought here. A text that is compared by a collation
// of its own that takes different texts for equal is none; that another one may come in is sloppiness's matter, and the
// row of relation 0 says whether the database has any. It is asked anew each time, in one snapshot with the columns:
// one that was created since what is known of the catalogue was read comes in with the statement that it is for.
const columnsQuery = `select a.attrelid, a.attname, a.attnum, a.atttypid, t.typtype = 'e',
  case a.atttypid when 1043 then 1009 else t.typarray end
from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_collation l on l.oid = a.attcollation
where a.attrelid = any ($1::pg_catalog.oid[]) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
  and (t.typtype = 'e' or a.atttypid in (16, 17, 20, 21, 23, 25, 26, 1043, 1082, 1114, 1184, 2950))
  and coalesce(l.collisdeterministic, true)
  and not exists (select from pg_catalog.pg_operator o where o.oprname = '=' and o.oid >= 16384
    and (a.atttypid in (o.oprleft, o.oprright) or 25 in (o.oprleft, o.oprright) and a.atttypid = 1043))
union all select 0, '', 0, 0, exists (select from pg_catalog.pg_collation l where not l.collisdeterministic), 0`

// columns returns the columns of each relation by which its rows can be told apart, by name, and whether the
// database has a collation that takes different texts for equal.
func (s *session) columns(ctx context.Context, oids []uint32) (all map[uint32]map[string]rowCondition, anySloppy bool, err error) {
	answer := s.pg.ExecParams(ctx, columnsQuery, [][]byte{oidArray(oids)}, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, false, fmt.Errorf("read columns: %w", answer.Err)
	}
	all = make(map[uint32]map[string]rowCondition)
	for _, row := range answer.Rows {
		var numbers [4]uint64
		for i, at := range []int{0, 2, 3, 5} {
			if numbers[i], err = strconv.ParseUint(string(row[at]), 10, 32); err != nil {
				return nil, false, fmt.Errorf("read columns: %w", err)
			}
		}
		oid := uint32(numbers[0])
		if oid == 0 {
			anySloppy = string(row[4]) == "t"
			continue
		}
		if all[oid] == nil {
			all[oid] = make(map[string]rowCondition)
		}
		name := string(row[1])
		all[oid][name] = rowCondition{
			name: name, column: int16(numbers[1]), kind: uint32(numbers[2]), array: uint32(numbers[3]), enum: string(row[4]) == "t",
		}
	}
	return all, anySloppy, nil
}

// dependOn returns what a response depends on that touched these relations: rows of those that the feed
// tells apart as the rule does, and others as a whole. The feed is the one that was in effect when the log's
// position was asked for: what it ceases to tell apart later, it purges.
func (f *finding) dependOn(touched []relation, feed *cache.Feed, arguments []rules.Argument) []cache.Dependency {
	list := make([]cache.Dependency, 0, len(touched)+len(f.declared)+1)
	for _, r := range touched {
		if !slices.Contains(f.declared, r.oid) {
			list = f.appendTable(list, r.oid, feed, arguments)
		}
	}
	return append(list, dependenciesOf(f.declared)...)
}

// appendTable appends the dependencies on one table.
func (f *finding) appendTable(dst []cache.Dependency, oid uint32, feed *cache.Feed, arguments []rules.Argument) []cache.Dependency {
	conditions := f.rows[oid]
	if len(conditions) == 0 || f.every {
		return append(dst, cache.Relation(oid))
	}
	told, start := feed.Covered[oid].Columns, len(dst)
	dst = append(dst, cache.Whole(oid))
	for i := range conditions {
		ok := slices.Contains(told, conditions[i].column)
		if ok {
			dst, ok = conditions[i].appendRows(dst, oid, arguments)
		}
		if !ok {
			return append(dst[:start], cache.Relation(oid))
		}
	}
	return dst
}

// byRows reports whether any table is depended on by rows.
func (f *finding) byRows() bool { return len(f.rows) > 0 && !f.every }
