package postgres_test

import (
	"strings"
	"testing"

	"forebay/cache"
	"forebay/rules"
)

// What is prepared survives whatever is done to the schema, also in a transaction that writes.
func TestStatementsSurviveDDL(t *testing.T) {
	t.Parallel()
	const routes = `
- route: GET /all
  ttl: 60s
  query: select * from things order by id
- route: GET /one
  ttl: 60s
  query: select id, v from things where id = 1
  rows: one
- route: POST /things
  body: {id: int, v: text}
  query: insert into things (id, v) values (@id, @v::text::int) returning *
  rows: one
- route: POST /batch
  batch: {max_items: 9, item: {id: int, v: text}, failed: "@error"}
  query: insert into things (id, v) values (@id, @v::text::int) returning *
  rows: one
  response: {made: "@succeeded", refused: "@failed"}
- route: GET /export
  query: select * from things order by id
  formats: [{accept: application/x-ndjson, filename: x}]
`
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "create table things (id int primary key, v int); insert into things values (1, 10)", routes, option, single)
			next := 100
			f := func(name, script, all, one string) {
				t.Helper()
				s.exec(t, script)
				if got := s.body(t, "GET /all"); got != "["+all+"]" {
					t.Errorf("%s: all is %s; want %s", name, got, all)
				}
				if got := s.body(t, "GET /one"); got != one {
					t.Errorf("%s: one is %s; want %s", name, got, one)
				}
				next++
				made := strings.Replace(all, `"id":1,`, `"id":`+itoa(next)+`,`, 1)
				if got := string(s.write(t, "POST /things", `{"id": `+itoa(next)+`, "v": "10"}`).Response.Body); got != made {
					t.Errorf("%s: made %s; want %s", name, got, made)
				}
				s.exec(t, "delete from things where id > 1")
			}
			f("at first", "", `{"id":1,"v":10}`, `{"id":1,"v":10}`)
			f("a column more", "alter table things add extra text", `{"id":1,"v":10,"extra":null}`, `{"id":1,"v":10}`)
			f("another type", "alter table things alter v type bigint", `{"id":1,"v":10,"extra":null}`, `{"id":1,"v":10}`)
			f("text", "alter table things alter v type text", `{"id":1,"v":"10","extra":null}`, `{"id":1,"v":"10"}`)
			f("numeric", "alter table things alter v type numeric(5,1) using v::numeric", `{"id":1,"v":10.0,"extra":null}`, `{"id":1,"v":10.0}`)
			f("a column less", "alter table things drop extra", `{"id":1,"v":10.0}`, `{"id":1,"v":10.0}`)
			f("dropped and made anew", "drop table things; create table things (id int primary key, v int, w bool default true); insert into things values (1, 10, true)",
				`{"id":1,"v":10,"w":true}`, `{"id":1,"v":10}`)
			f("renamed away", "alter table things rename to older; create table things (id int primary key, v int); insert into things values (1, 10)",
				`{"id":1,"v":10}`, `{"id":1,"v":10}`)
		})
	}
}

func TestBatchAndExportSurviveDDL(t *testing.T) {
	t.Parallel()
	const routes = `
- route: POST /batch
  batch: {max_items: 9, item: {id: int}, failed: "@error"}
  query: insert into things (id) values (@id) returning *
  rows: one
  response: {made: "@succeeded", refused: "@failed"}
- route: GET /export
  query: select * from things where id = 1
  formats: [{accept: application/x-ndjson, filename: x}]
`
	s := newSite(t, "create table things (id int primary key, v int default 10); insert into things values (1)", routes, single)
	f := func(script, id, row string) {
		t.Helper()
		s.exec(t, script)
		want := `{"made":[` + strings.Replace(row, `"id":1`, `"id":`+id, 1) + `],"refused":["A row with this id already exists."]}`
		if got := string(s.write(t, "POST /batch", `[{"id": `+id+`}, {"id": 1}]`).Response.Body); got != want {
			t.Errorf("%q: made %s; want %s", script, got, want)
		}
		if got := readAll(t, s.open(t, "GET /export", 0)); got != row+"\n" {
			t.Errorf("%q: exported %s; want %s", script, got, row)
		}
	}
	f("", "2", `{"id":1,"v":10}`)
	f("alter table things add w text default 'x'", "3", `{"id":1,"v":10,"w":"x"}`)
	f("alter table things alter v type text", "4", `{"id":1,"v":"10","w":"x"}`)
	f("alter table things drop v, drop w", "5", `{"id":1}`)
}

// Somebody takes away what a session has prepared: a pooler's reset query, or a function that does.
func TestStatementsSurviveBeingDeallocated(t *testing.T) {
	t.Parallel()
	s := newSite(t, clientsSchema, clientsRoutes+`
- route: GET /do
  ttl: 0s
  params: {what: text}
  query: select run(@what)
  rows: none
`, single)
	s.exec(t, "create function run(what text) returns void language plpgsql as $$ begin execute what; end $$")
	for _, what := range []string{"deallocate all", "discard plans", "deallocate all"} {
		s.body(t, "GET /clients/1")
		s.fill(t, "GET /do?what="+strings.ReplaceAll(what, " ", "%20"))
		if f := s.fill(t, "GET /clients/1"); f.Refused != cache.Storable {
			t.Errorf("after %s: refused %q", what, f.Refused)
		}
		s.write(t, "PUT /clients/1", `{"name": "Ann"}`)
	}
	if got := s.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s", got)
	}
}

func TestPrepareFindsEveryMistake(t *testing.T) {
	t.Parallel()
	s := newSite(t, clientsSchema+"create view seen as select 1 as n; create table hidden (id int); alter table hidden enable row level security;", `
- route: GET /fine
  query: select id from clients
- route: GET /typo
  query: select naem from clients
- route: GET /gone
  query: select 1 from nowhere
- route: GET /syntax
  query: selct 1
- route: GET /depends
  ttl: 60s
  depends_on: [nothing_such]
  query: select 1 as n
- route: GET /view
  ttl: 60s
  depends_on: [seen]
  query: select 1 as n
- route: GET /writes
  query: with gone as (delete from clients returning id) select id from gone
- route: POST /silent
  query: delete from clients
- route: GET /wide
  query: select 1 as a, 2 as b
  rows: value
- route: GET /secured
  ttl: 60s
  query: select id from hidden
- route: GET /typed/{id}
  params: {id: uuid}
  query: select 1 as n where @id > 5
`)
	want := map[string]string{
		"GET /typo":       `column "naem" does not exist`,
		"GET /gone":       `relation "nowhere" does not exist`,
		"GET /syntax":     `syntax error`,
		"GET /depends":    `depends_on names the table "nothing_such", which is not there`,
		"GET /view":       `depends_on names the view "seen"`,
		"GET /writes":     `writes to clients in a rule that reads`,
		"POST /silent":    `returns no rows; add RETURNING`,
		"GET /wide":       `returns 2 columns; rows: value wants one`,
		"GET /secured":    "",
		"GET /typed/{id}": `takes @id for another type than the rule declares`,
	}
	found := make(map[string]string)
	for _, m := range s.Prepare(t.Context(), s.rules.Rules()) {
		found[m.Rule] += m.Message
	}
	for rule, text := range want {
		if text != "" && !strings.Contains(found[rule], text) {
			t.Errorf("%s: %q; want %q", rule, found[rule], text)
		}
		delete(found, rule)
	}
	if len(found) > 0 {
		t.Errorf("mistakes that are none: %v", found)
	}
	if got := s.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s", got)
	}
}

func TestPrepareWithoutDatabaseIsOneMistake(t *testing.T) {
	t.Parallel()
	r := newRelay(t, newDatabase(t, server, clientsSchema))
	r.refuse(true)
	s := newSiteOn(t, r.url, clientsRoutes)
	got := s.Prepare(t.Context(), s.rules.Rules())
	if len(got) != 1 || !strings.Contains(got[0].Message, "check postgres.url") || !rules.Mistakes(got).Fatal() {
		t.Errorf("mistakes: %v", got)
	}
}
