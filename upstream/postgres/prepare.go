package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/rules"
	"forebay/upstream/postgres/wire"
)

// Prepare has the server prepare every statement of the rules, without running any, and returns what is
// wrong with them and with what the rules say of their results: all of it, in the order of the rules. A
// database that cannot be reached is one mistake.
func (d *Database) Prepare(ctx context.Context, rs []*rules.Rule) []rules.Mistake {
	var mistakes []rules.Mistake
	for _, r := range rs {
		if r.Query == nil {
			continue
		}
		c := &checking{d: d, rule: r}
		err := d.run(ctx, func(ctx context.Context, s *session) error {
			c.s, c.mistakes = s, nil
			return c.check(ctx)
		})
		mistakes = append(mistakes, c.mistakes...)
		if err != nil {
			cause := errors.Unwrap(err)
			return append(mistakes, rules.Mistake{
				Position: r.Position, Rule: r.Name,
				Message: fmt.Sprintf("statements cannot be prepared: %v; check postgres.url and that the database is up", cause),
			})
		}
	}
	return mistakes
}

// checking looks at one rule.
type checking struct {
	d        *Database
	s        *session
	rule     *rules.Rule
	mistakes []rules.Mistake
	header   []string // columns that response fields may name
}

func (c *checking) check(ctx context.Context) error {
	for i := range c.rule.Query.Statements {
		if err := c.statement(ctx, &c.rule.Query.Statements[i]); err != nil {
			return err
		}
	}
	for _, name := range c.rule.DependsOn {
		oids, err := c.s.resolve(ctx, []string{name})
		var declared []relation
		if err == nil {
			declared, err = c.s.relations(ctx, oids)
		}
		if err == nil && declared[0].kind == 'v' {
			c.mistake(c.rule.Position, "depends_on names the view %q, which changes with its tables only; name these", name)
		}
		if errors.Is(err, errNoTable) {
			c.mistake(c.rule.Position, "depends_on names the table %q, which is not there; write schema.table, or create it", name)
		} else if err != nil {
			return err
		}
	}
	c.fields()
	return nil
}

// parsedQuery lists what parsing a statement has locked, which is all that it names, views and policies
// looked through; and how: to write, or to lock rows (FOR UPDATE and its like).
const parsedQuery = `select l.relation::text, bool_or(l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')),
  pg_catalog.row_security_active(l.relation), bool_or(l.mode = 'RowShareLock')
from pg_catalog.pg_lock_status() l
where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.database <> 0 and l.relation >= 16384
  and exists (select from pg_catalog.pg_class c where c.oid = l.relation and c.relkind in ('r', 'p', 'v', 'm', 'f'))
group by l.relation order by l.relation`

// statement checks one, and returns an error only if the database could not be asked.
func (c *checking) statement(ctx context.Context, st *rules.Statement) error {
	p := c.s.pg.StartPipeline(ctx)
	p.SendQueryParams("BEGIN", nil, nil, nil, nil)
	p.SendPrepare("", st.SQL, nil)
	p.SendQueryParams(parsedQuery, nil, nil, nil, nil)
	p.SendQueryParams("ROLLBACK", nil, nil, nil, nil)
	err := p.Sync()
	var description *pgconn.StatementDescription
	var parsed [][][]byte
	if err == nil {
		_, err = p.GetResults()
	}
	if err == nil {
		description, err = c.s.prepareResult(p, false)
	}
	if err == nil {
		parsed, err = rowsOf(p)
	}
	if closeErr := p.Close(); err == nil {
		err = closeErr
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !isFailure(c.d.explain(ctx, err, 0).Class) {
		c.refused(st, refused)
		return c.s.rollback(ctx)
	}
	if err != nil {
		return err
	}
	c.parameters(st, description.ParamOIDs)
	c.security(st, parsed)
	if err := c.calls(ctx, st); err != nil {
		return err
	}
	return c.result(ctx, st, description.Fields)
}

func rowsOf(p *pgconn.Pipeline) ([][][]byte, error) {
	result, err := p.GetResults()
	if err != nil {
		return nil, err
	}
	reader, ok := result.(*pgconn.ResultReader)
	if !ok {
		return nil, fmt.Errorf("read answer: unexpected %T", result)
	}
	all := reader.Read()
	return all.Rows, all.Err
}

// refused reports what the server said of the statement, where it said it.
func (c *checking) refused(st *rules.Statement, e *pgconn.PgError) {
	message := fmt.Sprintf("statement %q cannot be prepared: %s (SQLSTATE %s)", st.Name, e.Message, e.Code)
	if e.Hint != "" {
		message += "; " + strings.TrimSuffix(e.Hint, ".")
	}
	c.mistake(st.Place(int(e.Position)), "%s", message)
}

// param returns the parameter that an index of Statement.Params means, or nil for @body.
func (c *checking) param(index int) *rules.Param {
	list := c.rule.Params
	if c.rule.Batch != nil {
		list = c.rule.Batch.Item
	}
	if index < 0 || index >= len(list) {
		return nil
	}
	return &list[index]
}

// textual are the types that take any text: text, varchar, bpchar, name and unknown.
var textual = []uint32{25, 1043, 1042, 19, 705}

// accepted are the types, beside those, that a parameter's normal form is an input of.
var accepted = map[rules.Type][]uint32{
	rules.UUID:        {2950},
	rules.Int:         {20, 21, 23, 26, 700, 701, 790, 1700},
	rules.Number:      {700, 701, 790, 1700},
	rules.Bool:        {16},
	rules.Date:        {1082, 1114, 1184},
	rules.Timestamptz: {1082, 1114, 1184, 1083, 1266},
	rules.JSON:        {114, 3802},
	rules.Text:        {17, 114, 3802, 142, 3614, 3615, 1186, 869, 650},
	rules.Email:       {},
}

// parameters warns of a parameter that the server takes for another type than the rule.
func (c *checking) parameters(st *rules.Statement, oids []uint32) {
	for i, oid := range oids {
		if i >= len(st.Params) {
			break
		}
		p := c.param(st.Params[i])
		if p == nil || p.List || p.Type == rules.Enum || oid >= firstUserOid || slices.Contains(textual, oid) {
			continue
		}
		if !slices.Contains(accepted[p.Type], oid) {
			c.warn(st.Place(0), "statement %q takes @%s for another type than the rule declares; write a cast, as in @%s::text", st.Name, p.Name, p.Name)
		}
	}
}

// security warns of row security under a rule that tells callers not apart, and of reads that write.
func (c *checking) security(st *rules.Statement, parsed [][][]byte) {
	for _, row := range parsed {
		name := "a table"
		if oid, err := parseOids(string(row[0])); err == nil {
			if relations, err := c.s.relations(context.Background(), oid); err == nil {
				name = relations[0].String()
			}
		}
		if string(row[2]) == "t" && len(c.rule.Identity) == 0 && !c.rule.Writes() {
			c.warn(st.Place(0), "table %s has row security, and the rule gives every caller the same answer; name what tells them apart under identity", name)
		}
		if string(row[1]) == "t" && !c.rule.Writes() {
			c.mistake(st.Place(0), "statement %q writes to %s in a rule that reads; use POST, PUT, PATCH or DELETE without reads: true", st.Name, name)
		}
		if string(row[3]) == "t" && !c.rule.Writes() {
			c.mistake(st.Place(0), "statement %q locks rows of %s in a rule that reads, on a read-only connection, where that is refused; leave FOR UPDATE or FOR SHARE out, or use POST, PUT, PATCH or DELETE without reads: true", st.Name, name)
		}
	}
}

// result checks what the rule says of the statement's rows.
func (c *checking) result(ctx context.Context, st *rules.Statement, fields []pgconn.FieldDescription) error {
	at := st.Place(0)
	if len(fields) == 0 && st.Rows != rules.None {
		c.mistake(at, "statement %q returns no rows; add RETURNING, or say rows: none", st.Name)
		return nil
	}
	if st.Rows == rules.Value && len(fields) != 1 {
		c.mistake(at, "statement %q returns %d columns; rows: value wants one", st.Name, len(fields))
	}
	types, err := c.s.types(ctx, oids(fields))
	if err != nil {
		return err
	}
	for _, f := range fields {
		c.header = append(c.header, f.Name)
		if wire.NeedsToJSON(types, f.DataTypeOID) {
			c.mistake(at, "column %q of statement %q can be written by the server only; write to_json(…) around it", f.Name, st.Name)
		}
	}
	for i := range c.rule.Query.Formats {
		for _, column := range c.rule.Query.Formats[i].Columns {
			if !slices.ContainsFunc(fields, func(f pgconn.FieldDescription) bool { return f.Name == column.Name }) {
				c.mistake(c.rule.Position, "formats[%d] names the column %q, which statement %q does not return", i, column.Name, st.Name)
			}
		}
	}
	return nil
}

// fields checks what response_headers name.
func (c *checking) fields() {
	for _, h := range c.rule.Query.Header {
		for _, part := range h.Parts {
			isParam := slices.ContainsFunc(c.rule.Params, func(p rules.Param) bool { return p.Name == part.Name })
			if part.Name != "" && !isParam && !slices.Contains(c.header, part.Name) && len(c.header) > 0 {
				c.mistake(c.rule.Position, "response_headers names {%s}, which is neither a column of the result nor a parameter", part.Name)
			}
		}
	}
}

func (c *checking) mistake(at rules.Position, format string, args ...any) {
	c.mistakes = append(c.mistakes, rules.Mistake{Position: at, Rule: c.rule.Name, Message: fmt.Sprintf(format, args...)})
}

func (c *checking) warn(at rules.Position, format string, args ...any) {
	c.mistake(at, format, args...)
	c.mistakes[len(c.mistakes)-1].Warning = true
}
