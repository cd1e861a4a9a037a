package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"forebay/upstream/postgres"
)

const rowsSchema = `
create type mood as enum ('good', 'bad''', 'so "so"');
create table t (id int primary key, big bigint, small smallint, flag bool, u uuid, d date, e mood, txt text, vc varchar(20), bp char(4),
  num numeric, ts timestamptz, plain timestamp, o oid, bytes bytea, js jsonb, gen int generated always as (id * 2) stored, "Order" int, n int, arr int[]);
create index on t (n); create index on t (big, n);
create table o (id int primary key, t int, v text);
create table "select" (id int primary key, "from" text);
create view v as select * from t;
create view twice as select t.id, (select count(*) from t) as all_of_them from t;
create view barrier with (security_barrier) as select * from t where n > 0;
create table parted (id int, k int) partition by list (k);
create table parted_1 partition of parted for values in (1);
create table parted_2 partition of parted for values in (2);
create table deep (k int, id int) partition by list (k);
create table deep_1 (id int, k int) partition by range (id);
create table deep_11 (k int, dropped int, id int);
alter table deep_11 drop dropped;
alter table deep_1 attach partition deep_11 for values from (0) to (100);
alter table deep attach partition deep_1 for values in (1);
create table deep_2 partition of deep default;
create table parent (id int primary key); create table child () inherits (parent);
create function opaque(x int) returns int language plpgsql stable as $$ begin return (select count(*) from t); end $$;
create function plus(x int) returns int language sql immutable as 'select x + 1';
create function within(x int) returns setof t language sql stable as 'select * from t where id = x';
`

// toldApart are statements, and the tables of which certain rows alone decide what they answer.
var toldApart = []struct{ query, rows string }{
	// equality with a parameter of the column's type, alone or beside other conditions
	{"select * from t where id = @i", "t[id]"},
	{"select * from t where @i = id", "t[id]"},
	{"select * from t where id = @i and txt like '%a) AND (b''%' and num > 1", "t[id]"},
	{"select * from t where big = @i", "t[big]"},
	{"select * from t where small = @i", "t[small]"},
	{"select * from t where flag = @b", "t[flag]"},
	{"select * from t where u = @u", "t[u]"},
	{"select * from t where d = @d", "t[d]"},
	{"select * from t where ts = @s", "t[ts]"},
	{"select * from t where ts = @s::timestamptz", "t[ts]"},
	{"select * from t where plain = @s", "t[plain]"},
	{"select * from t where o = @i", "t[o]"},
	{"select * from t where bytes = @s", "t[bytes]"},
	{"select * from t where ts = any(@k::timestamptz[])", "t[ts]"},
	{"select * from t where bytes = any(@k::bytea[])", "t[bytes]"},
	{"select * from t where e = any(@k::mood[])", "t[e]"},
	{"select * from t where e = @s", "t[e]"},
	{"select * from t where txt = @s", "t[txt]"},
	{"select * from t where vc = @s", "t[vc]"},
	{`select * from t where "Order" = @i`, "t[Order]"},
	{`select * from "select" where id = @i`, "select[id]"},
	{`select * from "select" as "my ""own"" name" where "from" = @s`, "select[from]"},
	{"select count(*), max(id) from t where n = @i", "t[n]"},
	{"select * from t where id = any(@l)", "t[id]"},
	{"select * from t where txt = any(@k)", "t[txt]"},
	{"select * from t where vc = any(@k)", "t[vc]"},
	{"select * from t where u = any(@k::uuid[])", "t[u]"},
	{"select * from t where n in (@i)", "t[n]"},
	{"select * from t where n = @i order by id limit 10", "t[n]"},
	{"select * from t where n between 1 and @i and id = @i", "t[id]"},
	{"with x as materialized (select * from t where n = @i) select * from x a join x b using (id)", "t[n]"},
	{"select * from v where id = @i", "t[id]"},
	{"select * from barrier where id = @i", "t[id]"},
	{"select * from within(@i)", "t[id]"}, // the planner puts its text in its place
	{"select * from within(@i) where opaque(1) > 0", ""},
	{"select plus(n) from t where id = @i", "t[id]"},
	{"select now() from t where id = @i", "t[id]"},
	// joins: each table for itself, and what follows from a condition on the other
	{"select * from t join o on o.t = t.id where t.id = @i", "o[t] t[id]"},
	{"select * from t left join o on o.t = t.n where t.id = @i", "t[id]"},
	{"select * from t left join o on o.id = @i", "o[id]"},
	{"select * from t left join o on t.id = @i", ""},
	{"select * from t where id = (select t from o where id = @i)", ""},
	{"select * from t where id = @i and exists (select from o where v = t.txt)", "t[id]"},
	{"select * from t a join t b on a.id = b.n where a.id = @i and b.n = @i", "t[id,n]"},
	{"select * from t a join t b on a.big = b.n where a.id = @i", ""},
	{"select id from t where n = @i union all select id from t where id = @i", "t[n,id]"},
	{"select id from t where n = @i union all select id from t", ""},
	{"select *, (select count(*) from t) from t where id = @i", ""},
	{"select * from twice where id = @i", ""},
	// what is no condition of every row
	{"select * from t where id = @i or n = 1", ""},
	{"select * from t where not (id = @i)", ""},
	{"select * from t where (@i::int is null or id = @i)", ""},
	{"select * from t where coalesce(@i, 1) = id", ""},
	{"select * from t where id = @i + 1", ""},
	{"select * from t where id > @i", ""},
	{"select * from t where id <> all(@l)", ""},
	{"select * from t where id > any(@l)", ""},
	{"select * from t where id = any(arr)", ""},
	{"select * from t where big = any(@l::int[])", ""},
	{"select * from t where @i = any(arr)", ""},
	{"select * from t where id = 1", ""},
	{"select * from t where case when id = @i then true end", ""},
	{"select count(*) filter (where id = @i) from t", ""},
	{"select * from t order by id = @i", ""},
	{"select bool_or(id = @i) from t", ""},
	{"select * from t where txt = 'x.id = $1' and num = 1 and @i > 0", ""},
	// equal is not the same text
	{"select * from t where num = @i", ""},
	{"select * from t where bp = @s", ""},
	{"select * from t where ts = @s::timestamp", ""},
	{"select * from t where plain = @s::timestamptz", ""},
	{"select * from t where d = @s::timestamp", ""},
	{"select * from t where ts::date = @d", ""},
	{"select * from t where ts at time zone 'UTC' = @s", ""},
	{"select * from t where ts = any(@k::timestamp[])", ""},
	{"select * from t where o = @i::bigint", ""},
	{"select * from t where bytes = @s::text::bytea", ""},
	{"select * from t where js = @s::jsonb", ""},
	{"select * from t where gen = @i", ""},
	{"select * from t where lower(txt) = @s", ""},
	{"select * from t where txt = @s collate \"C\"", "t[txt]"},
	{"select * from t where id::text = @s", ""},
	{"select * from t where big = @i::int", ""},
	{"select * from t where arr = array[@i::int]", ""},
	{"select * from t where id = any(array[@i::int, 5])", ""},
	// functions that may read anything
	{"select opaque(id) from t where id = @i", ""},
	{"select * from t where id = @i and opaque(1) > 0", ""},
	// heirs are tables of their own, partitions are not
	{"select * from parent where id = @i", "child[id] parent[id]"},
	{"select * from parted where id = @i", "parted[id]"},
	{"select * from parted where k = @i", "parted[k]"}, // though pruning leaves every partition out
	{"select * from parted where k = 2 and id = @i", "parted[id]"},
	{"select * from parted where k = @i or id = @i", ""},
	{"select * from parted where id = @i union all select * from parted_1", ""},
	{"select * from deep where id = @i", "deep[id]"},
	{"select * from deep where k = @i", "deep[k]"},
	{"select * from deep join parted p using (k) where deep.id = @i and p.id = @i", "deep[id] parted[id]"},
}

func TestRowsAreToldApart(t *testing.T) {
	t.Parallel()
	routes := ""
	for i, c := range toldApart {
		routes += fmt.Sprintf("- route: GET /%d\n  ttl: 60s\n  params: {i: {type: int, optional: true}, l: {type: int, list: true, optional: true}, k: {type: text, list: true, optional: true}, s: {type: text, optional: true}, b: {type: bool, optional: true}, u: {type: uuid, optional: true}, d: {type: date, optional: true}}\n  query: |\n    %s\n", i, withAll(c.query))
	}
	database := newDatabase(t, server, rowsSchema)
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSiteOn(t, database, routes, option)
			if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
				t.Fatal(err)
			}
			for i, c := range toldApart {
				got := s.Classification(s.call(t, fmt.Sprintf("GET /%d", i), "").Rule)
				slices.Sort(got.Rows)
				if rows := strings.Join(got.Rows, " "); rows != c.rows || !got.Known {
					t.Errorf("%s\ntells rows of %q apart; want %q; of others: %q", c.query, rows, c.rows, got.Whole)
				}
			}
		})
	}
}

// withAll adds the parameters that a statement does not use, since each that is declared has to be used.
func withAll(query string) string {
	var unused []string
	for _, p := range []string{"i", "s", "b", "u", "d", "l", "k"} {
		if !strings.Contains(query, "@"+p) {
			unused = append(unused, "@"+p+"::text")
		}
	}
	return "select q.* from (" + query + ") as q, (select concat(" + strings.Join(unused, ", ") + ") as unused offset 0) as p"
}

// A response of a list depends on the rows of its elements.
func TestListsAreRowsOfTheirElements(t *testing.T) {
	t.Parallel()
	s := newSite(t, rowsSchema, `
- route: GET /ids
  ttl: 60s
  params: {ids: {type: int, list: true, optional: true}}
  query: select id from t where id = any(@ids)
- route: GET /names
  ttl: 60s
  params: {names: {type: text, list: true, separator: ";"}}
  query: select id from t where txt = any(@names)
`)
	if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string][]string{
		"GET /ids?ids=1,02,-7": {"1", "2", "-7"},
		"GET /ids":             nil,
		`GET /names?names=a,b;"q";NULL;%7Bx%7D;\`: {"a,b", `"q"`, "NULL", "{x}", `\`},
	} {
		got, ok := postgres.RowsOf(s.Database, s.call(t, request, ""))
		if !ok || !slices.Equal(got, want) {
			t.Errorf("%s depends on %q, %t; want %q", request, got, ok, want)
		}
	}
}
