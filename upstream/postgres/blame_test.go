package postgres_test

import (
	"testing"

	"forebay/upstream/postgres"
)

const dataSchema = `
create type mood as enum ('sad', 'ok');
create table kept (id int primary key, small smallint, name varchar(4), slug varchar(4), amount numeric(4,1), how mood, day date, big bigint);
create function fails() returns trigger language plpgsql as $$ begin perform 99999999999::text::int; return new; end $$;
create table watched (id int, name text);
create trigger fails before insert on watched for each row execute function fails();
create sequence short minvalue 100 maxvalue 101;`

const dataRoutes = `
- route: GET /kept/{id}
  ttl: 60s
  params: {id: int, ids: {type: int, list: true, optional: true}}
  query: select id from kept where id = @id or id = any (@ids)
- route: GET /two
  params: {a: int, b: {type: text, optional: true}}
  queries:
    first: {sql: select @a::bigint as a}
    second: {sql: "select @a::int + 1 as a, @b::text::mood as b"}
  response: {first: "@first", second: "@second"}
- route: GET /read
  params: {by: int}
  query: select (@by::bigint * 1000000)::int as n
- route: POST /kept
  body:
    id: int
    small: {type: int, optional: true}
    name: {type: text, optional: true}
    slug: {type: text, optional: true}
    amount: {type: number, optional: true}
    how: {type: text, optional: true}
    when: {type: text, as: day, optional: true}
  query: insert into kept (id, small, name, slug, amount, how, day) values (@id, @small, @name, @slug, @amount, @how::text::mood, @day::text::date)
  rows: none
- route: POST /watched
  body: {id: int, name: text}
  query: insert into watched values (@id, @name)
  rows: none
- route: POST /short
  body: {n: int}
  query: insert into kept (id, big) values (nextval('short'), @n)
  rows: none
- route: POST /batch
  batch: {max_items: 9, atomic: true, item: {id: int, name: text}}
  query: insert into kept (id, name) values (@id, @name)
  rows: none
  response: {made: "@succeeded_count"}
`

// A value that the database cannot work with is told by its name where that is certain, and never by a wrong one.
func TestDataErrorsNameTheirParameter(t *testing.T) {
	t.Parallel()
	const whole, tiny = "must be between -2147483648 and 2147483647", "must be between -32768 and 32767"
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, dataSchema, dataRoutes, option)
			f := func(request, body, in, field, detail string) {
				t.Helper()
				var err error
				if body == "" {
					_, err = s.Fill(t.Context(), s.call(t, request, body))
				} else {
					_, err = s.tryWrite(t, request, body)
				}
				e := failure(t, err)
				if e.Status != 422 || e.In != in || e.Field != field || e.Detail != detail {
					t.Errorf("%s %s: %d in %q, %q, %q; want 422 in %q, %q, %q", request, body, e.Status, e.In, e.Field, e.Detail, in, field, detail)
				}
			}
			// Integers that the type of the column does not hold.
			f("GET /kept/2147483648", "", "path", "id", "id "+whole)
			f("GET /kept/1?ids=-2147483648,7,-2147483649", "", "query", "ids", "ids[2] "+whole)
			f("POST /kept", `{"id": 1, "small": 32768}`, "body", "small", "small "+tiny)
			// Values that the server refuses while it reads them, in whichever statement.
			f("GET /two?a=99999999999", "", "query", "a", "a "+whole)
			f("GET /two?a=1&b=glad", "", "query", "b", "b has the wrong form for its type.")
			f("POST /kept", `{"id": 1, "how": "glad"}`, "body", "how", "how has the wrong form for its type.")
			f("POST /kept", `{"id": 1, "when": "2026-02-30", "name": "a"}`, "body", "when", "when is not valid.")
			// The only one that can have been too long or too large.
			f("POST /kept", `{"id": 1, "name": "abcde"}`, "body", "name", "name is too long.")
			f("POST /kept", `{"id": 1, "amount": 12345.6}`, "body", "amount", "amount is out of range.")
			// One of several.
			f("POST /kept", `{"id": 1, "name": "abcde", "slug": "b"}`, "", "", "A text is too long; the database does not say which.")
			// What is stored, or a trigger, may have been the cause.
			s.exec(t, "insert into kept (id, big) values (7, 9000000000000000000)")
			f("GET /read?by=99999999", "", "", "", "A number is out of range; the database does not say which.")
			f("POST /watched", `{"id": 1, "name": "a"}`, "", "", "A number is out of range; the database does not say which.")
			f("POST /batch", `[{"id": 1, "name": "a"}, {"id": 2147483648, "name": "b"}, {"id": 3, "name": "abcde"}]`, "", "",
				"Nothing was stored, because 1 of 3 items were refused: item [1]: id "+whole)
			f("POST /batch", `[{"id": 1, "name": "a"}, {"id": 3, "name": "abcde"}]`, "", "",
				"Nothing was stored, because 1 of 2 items were refused: item [1]: name is too long.")
			// A sequence at its end is not the caller's fault.
			s.write(t, "POST /short", `{"n": 1}`)
			s.write(t, "POST /short", `{"n": 1}`)
			if _, err := s.tryWrite(t, "POST /short", `{"n": 1}`); failure(t, err).Status != 500 {
				t.Errorf("a sequence at its end: %v", err)
			}
			if got := s.one(t, "select count(*) from kept where id <> 7"); got != "2" {
				t.Errorf("%s rows were stored", got)
			}
		})
	}
}

// The bounds are those of the types that the statement was prepared with last.
func TestBoundsFollowTheColumn(t *testing.T) {
	t.Parallel()
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "create table kept (id smallint primary key)", `
- route: GET /kept/{id}
  ttl: 60s
  params: {id: int}
  query: select id from kept where id = @id
`, option, single)
			refused := func(id string) bool {
				t.Helper()
				_, err := s.Fill(t.Context(), s.call(t, "GET /kept/"+id, ""))
				if err != nil && failure(t, err).Field != "id" {
					t.Fatal(err)
				}
				return err != nil
			}
			if refused("32767") || !refused("32768") {
				t.Error("a smallint has other bounds")
			}
			s.exec(t, "alter table kept alter id type int")
			postgres.Compare(t.Context(), s.Database)
			if refused("32768") || !refused("2147483648") {
				t.Error("an int has other bounds")
			}
			s.exec(t, "alter table kept alter id type bigint")
			postgres.Compare(t.Context(), s.Database)
			if refused("2147483648") {
				t.Error("a bigint has bounds")
			}
		})
	}
}
