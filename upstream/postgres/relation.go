package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

// firstUserOid is the first oid that is not the server's own.
const firstUserOid = 16384

// relation is a table, view or the like of the database. A value.
type relation struct {
	oid         uint32
	schema      string
	name        string
	kind        byte     // pg_class.relkind; 0: it is no longer there
	persistence byte     // pg_class.relpersistence
	secured     bool     // has row security
	ancestors   []uint32 // that it is a partition or an heir of, in any distance
}

// String returns the name as people say it: without the schema public.
func (r relation) String() string {
	switch {
	case r.kind == 0:
		return "relation " + strconv.FormatUint(uint64(r.oid), 10)
	case r.schema == "public":
		return r.name
	}
	return r.schema + "." + r.name
}

// dependable reports whether a response can depend on it. Indexes and TOAST tables change with their
// table; what is gone may have been a table.
func (r relation) dependable() bool { return strings.IndexByte("\x00rpvmfS", r.kind) >= 0 }

// unheard returns how the relation may change without a transaction that marks it; "" for a plain one.
func (r relation) unheard() string {
	switch {
	case r.kind == 'm':
		return fmt.Sprintf("materialized view %s changes with its REFRESH only", r)
	case r.kind == 'f':
		return fmt.Sprintf("foreign table %s changes on another server, unheard", r)
	case r.kind == 'S':
		return fmt.Sprintf("sequence %s changes outside of transactions", r)
	case r.persistence == 'u':
		return fmt.Sprintf("unlogged table %s leaves no trace in the WAL", r)
	}
	return ""
}

// tops leaves out the partitions of tables that are among the relations. Whoever changes a partition marks the
// tables that it is of: the stream does, a write's locks do, and so do DDL and purges. Foreign ones stay, whose
// writes take no transaction id.
func tops(relations []relation) []relation {
	var partitioned []uint32
	for _, r := range relations {
		if r.kind == 'p' {
			partitioned = append(partitioned, r.oid)
		}
	}
	if partitioned == nil {
		return relations
	}
	return slices.DeleteFunc(slices.Clone(relations), func(r relation) bool {
		return (r.kind == 'r' || r.kind == 'p') &&
			slices.ContainsFunc(r.ancestors, func(oid uint32) bool { return slices.Contains(partitioned, oid) })
	})
}

// withoutAbove leaves out what others among the relations are partitions of, where the statement does not name it: that
// was locked to plan for the partition, and only if the session did not remember what it asked there. Nothing of it
// is read. It holds for statements that read what they name and what is below, and nothing by functions; named is
// nil of others, which keep all.
func withoutAbove(relations []relation, named []uint32) []relation {
	if named == nil {
		return relations
	}
	is := func(oid uint32) bool { return slices.Contains(named, oid) }
	return slices.DeleteFunc(slices.Clone(relations), func(r relation) bool {
		return r.kind == 'p' && !is(r.oid) && !slices.ContainsFunc(r.ancestors, is) &&
			slices.ContainsFunc(relations, func(below relation) bool { return slices.Contains(below.ancestors, r.oid) })
	})
}

const relationsQuery = `select c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relrowsecurity,
  coalesce((
    with recursive above (oid) as (
      select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid
      union select i.inhparent from above join pg_catalog.pg_inherits i on i.inhrelid = above.oid)
    select pg_catalog.string_agg(above.oid::text, ',') from above), '')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = any ($1::pg_catalog.oid[])`

// relations returns what the oids stand for, in their order, asking the server for those nobody asked
// for yet.
func (s *session) relations(ctx context.Context, oids []uint32) ([]relation, error) {
	catalogue := s.db.catalogue
	generation := catalogue.generation.Load()
	list := make([]relation, len(oids))
	var missing []uint32
	for i, oid := range oids {
		r, ok := catalogue.relation(oid)
		if list[i] = r; !ok {
			list[i].oid = oid
			missing = append(missing, oid)
		}
	}
	if len(missing) == 0 {
		return list, nil
	}
	answer := s.pg.ExecParams(ctx, relationsQuery, [][]byte{oidArray(missing)}, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, fmt.Errorf("read relations: %w", answer.Err)
	}
	found := make([]relation, 0, len(answer.Rows))
	for _, row := range answer.Rows {
		r, err := parseRelation(row)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
		list[slices.Index(oids, r.oid)] = r
	}
	catalogue.addRelations(found, generation)
	return list, nil
}

func parseRelation(row [][]byte) (relation, error) {
	oid, err := strconv.ParseUint(string(row[0]), 10, 32)
	if err != nil {
		return relation{}, fmt.Errorf("read relation: %w", err)
	}
	r := relation{
		oid: uint32(oid), schema: string(row[1]), name: string(row[2]),
		kind: row[3][0], persistence: row[4][0], secured: string(row[5]) == "t",
	}
	r.ancestors, err = parseOids(string(row[6]))
	return r, err
}

// parseOids reads a list of oids with commas between them.
func parseOids(text string) ([]uint32, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, ",")
	list := make([]uint32, len(parts))
	for i, part := range parts {
		oid, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read oids: %w", err)
		}
		list[i] = uint32(oid)
	}
	return list, nil
}

// oidArray writes an array literal.
func oidArray(oids []uint32) []byte {
	dst := []byte{'{'}
	for i, oid := range oids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(oid), 10)
	}
	return append(dst, '}')
}

// dependenciesOf returns the dependencies on relations, with no room behind them: the list may be shared.
func dependenciesOf(oids []uint32) []cache.Dependency {
	list := make([]cache.Dependency, len(oids))
	for i, oid := range oids {
		list[i] = cache.Relation(oid)
	}
	return list
}

// wholesOf returns what a change to relations concerns of which nobody can tell the rows: responses that
// depend on a relation, and those that depend on rows of it.
func wholesOf(oids []uint32) []cache.Dependency {
	list := make([]cache.Dependency, 0, 2*len(oids))
	for _, oid := range oids {
		list = append(list, cache.Relation(oid), cache.Whole(oid))
	}
	return list
}

// errNoTable : no relation has that name.
var errNoTable = errors.New("there is no such table")

// resolve returns the oids of tables by their names, as search_path finds them.
func (s *session) resolve(ctx context.Context, names []string) ([]uint32, error) {
	list := make([]uint32, 0, len(names))
	for _, name := range names {
		answer := s.pg.ExecParams(ctx, `select coalesce(pg_catalog.to_regclass($1)::pg_catalog.oid, 0)`, [][]byte{[]byte(name)}, nil, nil, nil).Read()
		if answer.Err != nil {
			return nil, fmt.Errorf("find table %q: %w", name, answer.Err)
		}
		oid, err := parseOids(string(answer.Rows[0][0]))
		switch {
		case err != nil:
			return nil, err
		case oid[0] == 0:
			return nil, fmt.Errorf("find table %q: %w", name, errNoTable)
		}
		list = append(list, oid[0])
	}
	return list, nil
}

// TableName returns the name of the relation that the dependency is on, as it was when a fill, a write or
// TableDependencies last met it; "" if none has. It may have been renamed or dropped since.
func (d *Database) TableName(dependency cache.Dependency) string {
	oid, ok := dependency.Oid()
	if !ok {
		return ""
	}
	name := d.catalogue.name(oid)
	if name == "" && d.standby != nil {
		name = d.standby.catalogue.name(oid)
	}
	return name
}

// TableDependencies returns the dependencies on the table of that name, "table" or "schema.table", and on what it
// is a partition of: responses depend on these alone. A name that no table has is an *Error of class Invalid.
func (d *Database) TableDependencies(ctx context.Context, name string) ([]cache.Dependency, error) {
	var oids []uint32
	var missing error // no fault of the database's
	err := d.run(ctx, func(ctx context.Context, s *session) error {
		found, err := s.resolve(ctx, []string{name})
		if noTable(err) {
			missing = err
			return nil
		}
		if err != nil {
			return err
		}
		relations, err := s.relations(ctx, found)
		if err == nil {
			oids = append(found, relations[0].ancestors...)
		}
		return err
	})
	if missing != nil {
		return nil, &Error{Class: Invalid, Status: 404, Detail: fmt.Sprintf("There is no table %q.", name), Err: missing}
	}
	return dependenciesOf(oids), err
}

// noTable reports whether a name was refused: no table has it, or none could have.
func noTable(err error) bool {
	var refused *pgconn.PgError
	return errors.Is(err, errNoTable) || errors.As(err, &refused) && slices.Contains([]string{
		"42602", // invalid_name: to_regclass() could not read it
		"42601", // syntax_error: too many dots
		"0A000", // feature_not_supported: a table of another database
		"3D000", // invalid_catalog_name
	}, refused.Code)
}

// names returns what the relations are called, for observations: tables first of all, so views of them
// are left out.
func names(relations []relation) []string {
	list := make([]string, 0, len(relations))
	for _, r := range relations {
		if r.kind != 'v' && r.kind != 0 {
			list = append(list, r.String())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
