package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"testing"

	"forebay/cache"
	"forebay/upstream/postgres"
)

const discoverySchema = `
create table plain (id int primary key, v text);
create table other (id int primary key, v text);
insert into plain select i, 'v' || i from generate_series(1, 10) i;
insert into other select i, 'w' || i from generate_series(1, 10) i;

create view looking as select p.id, o.v from plain p left join other o using (id);

create table parted (id int, k int) partition by list (k);
create table parted_1 partition of parted for values in (1);
create table parted_2 partition of parted for values in (2) partition by list (id);
create table parted_2_1 partition of parted_2 for values in (1);

create table secured (id int primary key, owner text);
create table grants (who text primary key);
alter table secured enable row level security, force row level security;
create policy seen on secured using (exists (select from grants where who = owner));

create function caught(want int) returns text language plpgsql stable as $$
declare found text;
begin
  select v into strict found from plain where id = want;
  return found;
exception when no_data_found then return 'nobody';
end $$;

create function branch(want int) returns text language plpgsql stable as $$
begin
  if want > 5 then return (select v from other where id = want); end if;
  return (select v from plain where id = want);
end $$;

create function dynamic(name text) returns bigint language plpgsql stable as $$
declare n bigint; begin execute format('select count(*) from %I', name) into n; return n; end $$;

create function inlined(want int) returns text language sql stable as 'select v from other where id = want';
create function listed(want int) returns setof other language sql stable as 'select * from other where id = want';
create function strictly(want int) returns setof other language sql stable strict as 'select * from other where id = want';
create function "Quoted"(want int) returns setof other language sql stable strict as 'select * from other where id = want';
create function hiding(want int) returns setof other language sql volatile as 'select listed(want)';
create function nested(want int) returns setof other language sql stable as 'select l.* from plain p, listed(p.id) l where p.id = want';
create function folded() returns text language sql immutable as 'select v from other where id = 1';
create function adds(a int, b int) returns int language sql immutable as 'select a + b';
create function pure_adds(a int, b int) returns int language plpgsql immutable as 'begin return a + b; end';

create materialized view kept as select count(*) from plain;
create unlogged table scratch (id int primary key);
create sequence numbers;
create table parent (id int primary key); create table child () inherits (parent);
create table big (id int, filler text) with (parallel_workers = 4); insert into big select i, repeat('x', 100) from generate_series(1, 20000) i; analyze big;
`

// discoveries are statements, what they depend on, and why not exactly, if so.
var discoveries = map[string]struct {
	query, tables, reason string
	every, timed          bool
}{
	"plain":        {query: "select v from plain where id = 1", tables: "plain"},
	"join":         {query: "select * from plain join other using (id)", tables: "other plain"},
	"subquery":     {query: "select (select v from other where id = p.id) as v from plain p", tables: "other plain"},
	"unreached":    {query: "select v from plain where false union all select v from other where false", tables: "other plain"},
	"cte":          {query: "with o as (select * from other) select count(*) from plain", tables: "other plain"},
	"no rows":      {query: "select v from plain where id = -1", tables: "plain"},
	"view":         {query: "select * from looking", tables: "looking other plain"},
	"partitioned":  {query: "select * from parted", tables: "parted"},
	"inherited":    {query: "select * from parent", tables: "child parent"},
	"now":          {query: "select now() - interval '1 day' < now() as b, v from plain", tables: "plain", reason: "its TTL bounds what time alone changes (it calls now())", timed: true},
	"inlined":      {query: "select inlined(1) as v from plain limit 1", tables: "other plain", every: true},
	"in its place": {query: "select v from listed(1)", tables: "other"},
	"both inlined": {query: "select v from nested(1)", tables: "other plain"},
	"not read":     {query: "select v from plain where false union all select v from listed(1) where false", tables: "other plain"},
	"called":       {query: "select v from strictly(1)", tables: "other", every: true},
	"not called":   {query: "select v from plain left join lateral strictly(plain.id) s using (v) where plain.id = -1", tables: "plain", every: true},
	"called rows":  {query: "select (listed(1)).v as v", tables: "other", every: true},
	"called twice": {query: "select v, (select count(*) from hiding(1)) as n from listed(1)", tables: "other", every: true},
	"quoted":       {query: "select v from \"Quoted\"(1)", tables: "other", every: true},
	"simple":       {query: "select adds(id, 1) as v from plain", tables: "plain"},
	"caught":       {query: "select caught(1) as v", tables: "plain", every: true},
	"caught none":  {query: "select caught(99) as v", tables: "plain", every: true},
	"branch low":   {query: "select branch(1) as v", tables: "plain", every: true},
	"branch high":  {query: "select branch(9) as v", tables: "other", every: true},
	"dynamic":      {query: "select dynamic('other') as n", tables: "other", every: true},
	"xml":          {query: "select query_to_xml('select * from other', true, true, '')::text as x", tables: "other", every: true},
	"parallel":     {query: "select count(*) as n from big where filler <> 'y'", tables: "big"},
	"folded":       {query: "select folded() as v", tables: "other", reason: "folded() is IMMUTABLE and may read tables"},
	"random":       {query: "select random() as r from plain", tables: "plain", reason: "random() gives another result"},
	"sequence":     {query: "select last_value from numbers", tables: "numbers", reason: "sequence numbers changes outside of transactions"},
	"shared":       {query: "select count(*) as n from pg_database", reason: "the server's own catalogue"},
	"size":         {query: "select pg_total_relation_size('plain') as n from plain limit 1", tables: "plain", reason: "pg_total_relation_size() reads the state of the server"},
	"type":         {query: "select pg_typeof(v)::text as t from plain", tables: "plain"},
	"uncounted":    {query: "select set_config('track_counts', 'off', true) as o, caught(99) as v", tables: "", reason: "track_counts off"},
	"catalogue":    {query: "select count(*) as n from pg_class", reason: "the server's own catalogue"},
	"materialized": {query: "select * from kept", tables: "kept", reason: "materialized view kept changes with its REFRESH only"},
	"unlogged":     {query: "select * from scratch", tables: "scratch", reason: "unlogged table scratch leaves no trace"},
}

func TestDependenciesAreFound(t *testing.T) {
	t.Parallel()
	var routes strings.Builder
	for name, c := range discoveries {
		routes.WriteString("\n- route: GET /" + strings.ReplaceAll(name, " ", "-") + "\n  ttl: 60s\n  query: " + c.query)
	}
	database := newDatabase(t, server, discoverySchema)
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSiteOn(t, database, routes.String(), option)
			for name, c := range discoveries {
				request := "GET /" + strings.ReplaceAll(name, " ", "-")
				for round := range 3 { // found at first, and still known
					f := s.fill(t, request)
					if f.Refused != cache.Storable {
						t.Errorf("%s, round %d: refused %q", name, round, f.Refused)
					}
					if got := s.tables(f); got != c.tables {
						t.Errorf("%s, round %d: depends on %q; want %q", name, round, got, c.tables)
					}
				}
				got := s.Classification(s.call(t, request, "").Rule)
				if got.Timed != c.timed {
					t.Errorf("%s is judged %+v; want timed %t, reason %q", name, got, c.timed, c.reason)
				}
				if got.EveryFill != c.every && c.reason == "" || !strings.Contains(got.Reason, c.reason) || c.reason == "" && !got.Exact {
					t.Errorf("%s is judged %+v; want every fill %t, reason %q", name, got, c.every, c.reason)
				}
			}
		})
	}
}

// A parallel worker takes locks and counts scans in a process of its own: what a function reads there shows
// nowhere else. So nothing runs in parallel while somebody looks.
func TestParallelWorkersHideNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, discoverySchema+`
		create function elsewhere(want int) returns int language plpgsql stable parallel safe cost 10000 as $$
		begin return (select count(*) from other where id = want); end $$;
		do $$ begin execute format('alter database %I set parallel_setup_cost = 0', current_database());
		  execute format('alter database %I set parallel_tuple_cost = 0', current_database());
		  execute format('alter database %I set min_parallel_table_scan_size = 0', current_database());
		  execute format('alter database %I set parallel_leader_participation = off', current_database()); end $$;`, `
- route: GET /parallel
  ttl: 60s
  query: select count(*) from big where elsewhere(id) > 0
`)
	conn := connect(t, s.url)
	if plan := one(t, conn, "select setting from pg_settings where name = 'parallel_leader_participation'"); plan != "off" {
		t.Fatalf("the leader takes part: %s", plan)
	}
	for range 3 {
		if got := s.tables(s.fill(t, "GET /parallel")); got != "big other" {
			t.Errorf("depends on %q; want big other", got)
		}
	}
}

// What row security looks at decides what is read, so it is depended on, too.
func TestPoliciesAreDependedOn(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, server, discoverySchema)
	s := newSiteOn(t, as(t, database, "grant select on secured, grants to %s"), `
- route: GET /secured
  ttl: 60s
  query: select id from secured
`)
	for range 3 {
		if got := s.tables(s.fill(t, "GET /secured")); got != "grants secured" {
			t.Errorf("depends on %q; want grants secured", got)
		}
	}
}

// A rule of SQL alone is looked at once per catalogue state: a view that is replaced by one of another
// table is another state, and what was stored under the old set is outdated.
func TestReplacedViewIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, discoverySchema, `
- route: GET /looking
  ttl: 60s
  query: select v from looking where id = 1
`)
	s.watch(t)
	s.fill(t, "GET /looking")
	old := s.fill(t, "GET /looking")
	standing := s.stand(old)
	if got := s.tables(old); got != "looking other plain" {
		t.Fatalf("depends on %q", got)
	}
	s.exec(t, "create or replace view looking as select id, v from plain")
	eventually(t, "the change of the catalogue outdates", func() bool { return standing.Check() == cache.Outdated })
	f := s.fill(t, "GET /looking")
	if got := string(f.Response.Body); s.tables(f) != "looking plain" || !strings.Contains(got, "v1") {
		t.Errorf("answers %s and depends on %q; want v1 of looking plain", got, s.tables(f))
	}
}

// A table renamed into the place of another is another table, and a row put into it has to be seen.
func TestRenameSwapOutdates(t *testing.T) {
	t.Parallel()
	s := newSite(t, discoverySchema, `
- route: GET /plain
  ttl: 60s
  query: select v from plain where id = 1
  rows: value
`)
	s.watch(t)
	s.fill(t, "GET /plain")
	standing := s.stand(s.fill(t, "GET /plain"))
	s.exec(t, "begin; alter table plain rename to plain_old; alter table other rename to plain; commit")
	eventually(t, "the swap outdates", func() bool { return standing.Check() == cache.Outdated })
	if got := s.body(t, "GET /plain"); got != `"w1"` {
		t.Errorf("answers %s; want the other table's row", got)
	}
}

// Where another look finds more than was known, what was stored under less is outdated.
func TestWhatWasStoredUnderLessIsOutdated(t *testing.T) {
	t.Parallel()
	s := newSite(t, `create table items (n int); insert into items values (1);
		create schema nearer; create table nearer.items (n int); insert into nearer.items values (2)`, `
- route: GET /items
  ttl: 60s
  query: select n from items
- route: GET /moves
  query: select set_config('search_path', 'nearer', false)
`, func(c *postgres.Config) { c.MaxConnections = 1 }) // for a session that means something else by the same words
	standing := s.stand(s.fill(t, "GET /items"))
	s.fill(t, "GET /moves")
	f := s.fill(t, "GET /items")
	if got := s.tables(f); got != "items nearer.items" {
		t.Errorf("%s depends on %q", f.Response.Body, got)
	}
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("what was stored before is %s", got)
	}
}

// as returns the URL of a database for a role of its own, which the script gives its rights to.
func as(t testing.TB, database, script string) string {
	t.Helper()
	role := fmt.Sprintf("forebay_role_%d_%d", os.Getpid(), rand.Uint32())
	execOn(t, database, "create role "+role+" login; "+fmt.Sprintf(script, role))
	t.Cleanup(func() { execOn(t, database, "drop owned by "+role+"; drop role "+role) })
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

// watch has the site watch its catalogue until the test ends, and waits for the first look, which later ones
// are compared with.
func (s *site) watch(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the first look is taken", func() bool {
		return s.one(t, "select count(*) from pg_stat_activity where query like 'with recursive schemas%' and state = 'idle' and datname = current_database()") != "0"
	})
}
