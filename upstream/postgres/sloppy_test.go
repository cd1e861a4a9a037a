package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"forebay/cache"
)

const sloppySchema = `
create collation sloppy (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create domain loose as text collate sloppy;
create type pair as (a text collate sloppy, b int);
create type pairs as (one pair, many pair[]);
create table t (id int primary key, txt text, vc varchar(20));
create table users (id int primary key, email text collate sloppy, status text);
create table lists (id int primary key, txt text, tags loose[]);
create table secured (id int primary key, txt text);
alter table secured enable row level security;
create policy own on secured using (txt = current_setting('app.user', true) collate sloppy);
create view plain as select id, txt from t;
create view sorted as select id, txt, txt collate sloppy as s from t;
create view joined as select t.id, t.txt from t join users u on u.email = t.txt;
create function equal(a text, b text) returns bool language sql immutable as 'select a = b';
create function same(a text, b text) returns bool language sql immutable as 'select a = b collate sloppy';
create function fixed(a text, b text) returns bool language sql immutable return a = b collate sloppy;
create function third(a text, b text, c text) returns bool language sql immutable as 'select a = b';
create function loosely(a text) returns loose language sql immutable as 'select a';
create function unreached(a text) returns bool language sql stable as 'select exists (select from users where email = a)';
alter table t replica identity full; alter table users replica identity full;
insert into t values (1, 'Ann', 'Ann'), (2, 'Bob', 'Bob'); insert into users values (1, 'ann', 'on'), (2, 'bob', 'off');
`

// sloppyCases are statements with @s, and the rows they are to be told apart by, or words of the reason why not.
var sloppyCases = []struct{ query, rows, reason string }{
	{"select id from t where txt = @s", "t[txt]", ""},
	{"select id from t where vc = @s", "t[vc]", ""},
	{"select id from plain where txt = @s", "t[txt]", ""},
	{"select id from t where equal(txt, @s)", "t[txt]", ""},
	{"select u.id from users u where u.id = @s::int", "users[id]", ""},
	{"select id from users where email = @s", "", "not limited to rows"},
	{"select id from users where status = @s", "", "users has such a collation"},
	{"select id from t where txt = @s collate sloppy", "", "says COLLATE"},
	{"select id from t where same(txt, @s)", "", "function same"},
	{"select id from t where fixed(txt, @s)", "", "function fixed"},
	{"select t.id from t join users u on u.email = t.txt where u.email = @s", "", "users has"},
	{"select id from t where third(txt, @s, (select email from users where users.id = 1))", "", "users has"},
	{"select id from t where txt = @s and id = any (select p.b from jsonb_populate_recordset(null::pair, '[]') p)", "", "type pair"},
	{"select id from t where txt::loose = @s", "", "type loose"},
	{`select id from t where txt = @s and txt <> ''::"loose"`, "", "type loose"},
	{"select id from t where txt = @s and txt <> loosely('x')", "", "function loosely"},
	{"select id from t where txt = @s and to_jsonb(null::pairs) is null", "", "type pairs"},
	{"select id from lists where txt = @s", "", "lists has"},
	{"select id from secured where txt = @s", "", "policy own"},
	{"select id from sorted where txt = @s", "", "sorted has"},
	{"select id from joined where txt = @s", "", "users has"},
}

// Texts are told apart where nothing can take different ones for equal, and the reason is said where something may.
func TestTextsAreToldApartWhereNothingIsSloppy(t *testing.T) {
	t.Parallel()
	routes := ""
	for i, c := range sloppyCases {
		routes += fmt.Sprintf("- route: GET /%d\n  ttl: 60s\n  params: {s: text}\n  query: |\n    %s\n", i, c.query)
	}
	database := newDatabase(t, server, sloppySchema)
	for way, option := range bothWays {
		s := newSiteOn(t, database, routes, option)
		if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
			t.Fatal(err)
		}
		for i, c := range sloppyCases {
			got := s.Classification(s.call(t, fmt.Sprintf("GET /%d?s=1", i), "").Rule)
			if rows := strings.Join(got.Rows, " "); !got.Known || rows != c.rows || !strings.Contains(strings.Join(got.Whole, " "), c.reason) {
				t.Errorf("%s: %s\ntells rows of %q apart, and of others: %q; want %q, %q", way, c.query, rows, got.Whole, c.rows, c.reason)
			}
		}
	}
}

// What counts as equal is outdated together, whichever way the collation comes in; and texts that do not are not.
func TestSloppyEqualityIsOutdated(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, sloppySchema, `
- {route: GET /join, ttl: 60s, params: {s: text}, query: "select t.id from t join users u on u.email = t.txt where u.email = @s"}
- {route: GET /own, ttl: 60s, params: {s: text}, query: select id from users where email = @s}
- {route: GET /text, ttl: 60s, params: {s: text}, query: select id from t where txt = @s}
`)
	s.watch(t)
	becomes := func(change string, requests ...string) {
		t.Helper()
		standing := make([]*cache.Standing, len(requests))
		for i, request := range requests {
			standing[i] = s.stored(t, request)
		}
		s.exec(t, change)
		for i, request := range requests {
			eventually(t, change+" outdates "+request, func() bool { return standing[i].Check() == cache.Outdated })
		}
	}
	bob := s.stored(t, "GET /text?s=Bob")
	becomes("update t set txt = 'ANN' where id = 1", "GET /join?s=aNn", "GET /text?s=Ann", "GET /text?s=ANN")
	becomes("update users set email = 'ANN' where id = 1", "GET /own?s=aNn", "GET /join?s=ann")
	if got := bob.Check(); got != cache.Current {
		t.Errorf("another text is %s, because of %+v", got, bob.Cause())
	}
	if got := s.body(t, "GET /join?s=aNN"); got != `[{"id":1}]` {
		t.Fatalf("the join answers %s: the collation is not what this test is about", got)
	}
	becomes("drop view plain, sorted, joined; alter table t alter txt type text collate sloppy", "GET /text?s=BOB")
	becomes("update t set txt = 'bOb' where id = 2", "GET /text?s=BOB")
}

// A survey asks three things of each rule: its plans, its tables' columns, and the texts of views and policies. What
// may take different texts for equal is asked only of statements that texts would tell rows apart for, and only where
// the database has a collation that does.
func TestSurveysAskLittle(t *testing.T) {
	t.Parallel()
	const many, beside = 40, 25 // connecting and what is asked once
	for _, c := range []struct {
		schema, condition string
		each              int64
	}{
		{"create table t (id int primary key, txt text)", "txt = @s", 3},
		{sloppySchema, "id = @s::int", 3},
		{sloppySchema, "txt = @s", 4},
	} {
		routes := ""
		for i := range many {
			routes += fmt.Sprintf("- {route: GET /%d, ttl: 60s, params: {s: text}, query: 'select %d as n, * from t where %s'}\n", i, i, c.condition)
		}
		r := newRelay(t, newDatabase(t, server, c.schema))
		s := newSiteOn(t, r.url, routes)
		if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
			t.Fatal(err)
		}
		if got := r.turns.Load(); got > many*c.each+beside || got < many {
			t.Errorf("%q: a survey of %d rules asked %d times; want %d for each", c.condition, many, got, c.each)
		}
		if got := s.Classification(s.call(t, "GET /0?s=1", "").Rule).Rows; len(got) != 1 {
			t.Errorf("%q: rows of %q are told apart", c.condition, got)
		}
	}
}

// Where it is not known what $n is in a plan, that is the reason, and not that there is no condition.
func TestResultsOfSubqueriesAreTheReason(t *testing.T) {
	t.Parallel()
	s := newSite(t, "create table t (id int primary key)", `
- route: GET /t/{id}
  ttl: 60s
  params: {id: int}
  query: select exists (select from t where id = @id), (select count(*) from t where id = @id) n
`)
	if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
		t.Fatal(err)
	}
	got := s.Classification(s.call(t, "GET /t/1", "").Rule)
	rows, whole := "", "result Postgres, before 17"
	if s.one(t, "select current_setting('server_version_num')::int >= 170000") == "t" {
		rows, whole = "t[id]", ""
	}
	if strings.Join(got.Rows, " ") != rows || !strings.Contains(strings.Join(got.Whole, " "), whole) {
		t.Errorf("rows %v, whole %v; want %q, %q", got.Rows, got.Whole, rows, whole)
	}
}
