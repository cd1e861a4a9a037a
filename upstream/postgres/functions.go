package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// function is a function that somebody added to the database.
type function struct {
	name       string
	language   string
	trusted    bool // the language: it reaches nothing outside of the database
	volatility byte // pg_proc.provolatile
	source     string
	support    string // of an aggregate: the names of the functions it is made of
	operators  []string
	behind     []uint32 // types, domains among them, behind which or behind whose casts it is; nothing gives it away there. 0: any
	inlines    bool     // where it stands for rows the planner may put its text in its place
}

// functions are all of them. Immutable; safe for concurrent use.
type functions struct {
	byName map[string][]*function
	odd    []*function // those whose names are not one word
	hidden []*function // behind types

	operators []*function
}

const functionsQuery = `select p.proname, l.lanname, l.lanpltrusted, p.provolatile,
  coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), case when l.lanname in ('c', 'internal') then '' else p.prosrc end)
    || ' ' || coalesce(pg_catalog.pg_get_function_arguments(p.oid), ''),
  coalesce((select pg_catalog.string_agg(f.proname, ' ') from pg_catalog.pg_aggregate a join pg_catalog.pg_proc f
    on f.oid in (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
    where a.aggfnoid = p.oid), ''),
  coalesce((select pg_catalog.string_agg(distinct o.oprname, ' ') from pg_catalog.pg_operator o where o.oprcode = p.oid), ''),
  coalesce((select pg_catalog.string_agg(distinct case when t.typname ~ '^[A-Za-z_][A-Za-z0-9_$]*$' then t.oid else 0 end::text, ',') from (
    select case when greatest(c.castsource, c.casttarget) >= 16384 then greatest(c.castsource, c.casttarget) else 0 end
      from pg_catalog.pg_cast c where c.castfunc = p.oid
    union all select t.oid from pg_catalog.pg_type t where p.oid in (t.typinput, t.typoutput, t.typsend, t.typreceive)
    union all select c.contypid from pg_catalog.pg_depend d join pg_catalog.pg_constraint c on c.oid = d.objid and c.contypid <> 0
      where d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
        and d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.refobjid = p.oid) as behind (oid)
    left join pg_catalog.pg_type t on t.oid = behind.oid), ''),
  p.proretset and p.prokind = 'f' and p.provolatile = 's' and l.lanname = 'sql' and not p.proisstrict and not p.prosecdef and p.proconfig is null
from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
where p.oid >= 16384 and not exists (
  select from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid
  where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e'
    and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and e.extname in (` + bystanders + `))`

// bystanders are the extensions that come with Postgres whose functions read nothing but their arguments. They
// are compiled and stand behind operators, where no name gives them away: with pg_trgm installed, every rule
// would otherwise be looked at on every fill.
const bystanders = `'pg_trgm', 'citext', 'hstore', 'btree_gin', 'btree_gist', 'cube', 'earthdistance', 'fuzzystrmatch',
  'intarray', 'isn', 'ltree', 'seg', 'tsm_system_rows', 'tsm_system_time', 'bloom', 'plpgsql'`

// functions returns the functions of the database, asking the server once per catalogue state.
func (s *session) functions(ctx context.Context) (*functions, error) {
	if f := s.db.catalogue.knownFunctions(); f != nil {
		return f, nil
	}
	generation := s.db.catalogue.generation.Load()
	answer := s.pg.ExecParams(ctx, functionsQuery, nil, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, fmt.Errorf("read functions: %w", answer.Err)
	}
	all := &functions{byName: make(map[string][]*function)}
	for _, row := range answer.Rows {
		f := &function{
			name: strings.ToLower(string(row[0])), language: string(row[1]), trusted: string(row[2]) == "t",
			volatility: row[3][0], source: string(row[4]), support: string(row[5]),
			operators: strings.Fields(string(row[6])), inlines: string(row[8]) == "t",
		}
		var err error
		if f.behind, err = parseOids(string(row[7])); err != nil {
			return nil, fmt.Errorf("read functions: %w", err)
		}
		all.add(f)
	}
	s.db.catalogue.setFunctions(all, generation)
	return all, nil
}

func (all *functions) add(f *function) {
	if isWord(f.name) {
		all.byName[f.name] = append(all.byName[f.name], f)
	} else {
		all.odd = append(all.odd, f)
	}
	if len(f.behind) > 0 {
		all.hidden = append(all.hidden, f)
	}
	if len(f.operators) > 0 {
		all.operators = append(all.operators, f)
	}
}

// beside returns the functions without those that are behind other types than used ones, for a text through
// which values of no other type pass. That cannot be said of one that names a function or an operator which somebody
// added: it may take them.
func (all *functions) beside(text string, used []uint32) *functions {
	read := withoutStrings(text)
	for word := range wordsOf(text) {
		if len(all.byName[word]) > 0 {
			return all
		}
	}
	if slices.ContainsFunc(all.odd, func(f *function) bool { return strings.Contains(strings.ToLower(text), f.name) }) ||
		slices.ContainsFunc(all.operators, func(f *function) bool {
			return slices.ContainsFunc(f.operators, func(operator string) bool { return strings.Contains(read, operator) })
		}) {
		return all
	}
	fewer := *all
	fewer.hidden = nil
	for _, f := range all.hidden {
		if slices.ContainsFunc(f.behind, func(oid uint32) bool { return oid == 0 || slices.Contains(used, oid) }) {
			fewer.hidden = append(fewer.hidden, f)
		}
	}
	return &fewer
}

// compiled reports whether nobody can look into the function.
func (f *function) compiled() bool { return f.language == "c" || f.language == "internal" }

// plain reports whether the function's own text cannot read a table: no way into one without these words.
// Only texts in SQL and PL/pgSQL can be judged so.
func (f *function) plain() bool {
	if f.language != "sql" && f.language != "plpgsql" {
		return false
	}
	return !wordsOf(f.source).hasAny("from", "table", "execute", "perform", "call", "do", "open", "fetch", "copy",
		"insert", "update", "delete", "merge", "truncate", "refresh", "lock")
}
