package postgres_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// bulkSchema counts the rows of each statement that inserts.
const bulkSchema = `
create table made (id int primary key, name text, up int);
create table counted (nth int generated always as identity, rows int);
create function count_made() returns trigger language plpgsql as $$ begin insert into counted (rows) select count(*) from added; return null; end $$;
create trigger counted after insert on made referencing new table as added for each statement execute function count_made();
create function tally() returns int language sql stable as 'select count(*)::int from made';
create function note() returns trigger language plpgsql as $$ begin return new; end $$;
`

const bulkRoute = `
- route: POST /made
  batch: {max_items: 50, item: {id: int, name: {type: text, optional: true}}, failed: "@error"}
  query: %s
  rows: one
  response: {made: "@succeeded", failed: "@failed"}
`

// A batch is one statement only where that comes to the same as one for each item.
func TestBatchIsOneStatementWhereThatComesToTheSame(t *testing.T) {
	t.Parallel()
	const plain = "insert into made (id, name) values (@id, @name) returning id"
	const together, apart = "3", "1,1,1"
	f := func(name, alteration, query, want string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, bulkSchema+alteration, fmt.Sprintf(bulkRoute, query))
			w := s.write(t, "POST /made", `[{"id": 3, "name": "c"}, {"id": 1}, {"id": 2, "name": "b"}]`)
			if got := string(w.Response.Body); got != `{"made":[{"id":3},{"id":1},{"id":2}],"failed":[]}` {
				t.Errorf("answered %s", got)
			}
			if got := s.one(t, "select string_agg(rows::text, ',' order by nth) from counted"); got != want {
				t.Errorf("inserted so many at once: %s; want %s", got, want)
			}
			told := s.BatchWay(s.rules.Rules()[0])
			if told.AtOnce != (want == together) || told.AtOnce != (told.Reason == "") {
				t.Errorf("it is said to be sent %s", told)
			}
			fresh := newSiteOn(t, s.url, fmt.Sprintf(bulkRoute, query))
			if err := fresh.Survey(t.Context(), fresh.rules.Rules()); err != nil {
				t.Error(err)
			}
			if got := fresh.BatchWay(fresh.rules.Rules()[0]); got != told {
				t.Errorf("a survey says %s; a batch %s", got, told)
			}
		})
	}
	f("plain", "", plain, together)
	f("no columns", "", "insert into made values (@id, @name) returning id", together)
	f("expressions", "", `INSERT INTO public."made" AS m (id, name) /* why */ VALUES (@id::int, upper(coalesce(@name, '(' || now()))) RETURNING m.id`, together)
	f("a volatile default", "alter table made alter up set default random() * 100;", plain, together)
	f("row security that does not apply", "alter table made enable row level security;", plain, together)
	f("a trigger for updates", "create trigger t before update on made for each row execute function note();", plain, together)
	f("a disabled trigger", "create trigger t before insert on made for each row execute function note(); alter table made disable trigger t;", plain, together)

	f("a query inside", "", "insert into made (id, name) values (@id, (select count(*)::text || @name from made)) returning id", apart)
	f("a query behind", "", "insert into made (id, name) values (@id, @name) returning (select made.id) as id", apart)
	f("a function that reads", "", "insert into made (id, name, up) values (@id, @name, tally()) returning id", apart)
	f("a function of several rows", "", "insert into made (id, name) values (@id, regexp_split_to_table(coalesce(@name, ''), ',')) returning id", apart)
	f("a default", "", "insert into made (id, name, up) values (@id, @name, default) returning id", apart)
	f("on conflict", "", "insert into made (id, name) values (@id, @name) on conflict (id) do update set name = excluded.name returning id", apart)
	f("a trigger for each row", "create trigger t before insert on made for each row execute function note();", plain, apart)
	f("a trigger for each statement", "create trigger t before insert on made for each statement execute function note();", plain, apart)
	f("a rule", "create rule r as on insert to made do also notify made;", plain, apart)
	f("a key to itself", "alter table made add foreign key (up) references made;", plain, apart)
	f("a default that reads", "alter table made alter up set default tally();", plain, apart)
	f("a constraint that reads", "alter table made add check (tally() >= 0);", plain, apart)
	f("a view", "alter table made rename to base; create view made as select * from base;", plain, apart)
	// A domain that reads holds up those alone whose values pass through it.
	const listed = "create domain listed as text check (tally() >= 0); create type pair as (a int, b listed); "
	f("a domain elsewhere", listed+"create table other (l listed);", plain, together)
	f("a domain", listed+"alter table made alter name type listed;", plain, apart)
	f("a domain in an array", listed+"alter table made add more listed[];", plain, apart)
	f("a domain of a domain", listed+"create domain above as listed; alter table made add more above;", plain, apart)
	f("a domain in a row", listed+"alter table made add more pair;", plain, apart)
	f("a domain in a default", listed+"alter table made add more text default 'x'::listed;", plain, apart)
	f("a domain in a constraint", listed+"alter table made add check (name::listed is distinct from 'x');", plain, apart)
	f("a domain in the statement", listed, "insert into made (id, name) values (@id, @name::listed) returning id", apart)
	f("a domain in a function", listed+"create function pass(l listed) returns text language sql volatile as 'select l::text';",
		"insert into made (id, name) values (@id, pass(@name)) returning id", apart)
	f("a cast elsewhere", listed+"create function to_pair(text) returns pair language sql stable as 'select row(tally(), $1)::pair'; create cast (text as pair) with function to_pair(text) as assignment;", plain, together)
	f("a cast of plain types", "create function to_text(point) returns text language sql stable as 'select tally()::text'; create cast (point as text) with function to_text(point) as assignment;", plain, apart)

	f("partitions", `drop table made; create table made (id int primary key, name text) partition by range (id);
		create table made_1 partition of made default;
		create trigger counted after insert on made referencing new table as added for each statement execute function count_made();`, plain, apart)
}

// With a parameter among what is returned, that is asked for by item.
func TestBatchReturnsWhatEachItemBrought(t *testing.T) {
	t.Parallel()
	s := newSite(t, bulkSchema, fmt.Sprintf(bulkRoute, "insert into made (id, name) values (@id, 'x') returning id, @name::text as name"))
	w := s.write(t, "POST /made", `[{"id": 3, "name": "c"}, {"id": 1}, {"id": 2, "name": "b"}]`)
	if got := string(w.Response.Body); got != `{"made":[{"id":3,"name":"c"},{"id":1,"name":null},{"id":2,"name":"b"}],"failed":[]}` {
		t.Errorf("answered %s", got)
	}
}

const valuesSchema = bulkSchema + `
create domain short as text check (length(value) < 4);
create type mood as enum ('sad, "so"', 'ok');
create table kept (id int primary key, name text, code varchar(5), tag short, how mood, amount numeric(8,2), day date, at timestamptz, doc jsonb, flag bool, ref uuid unique, nothing text);
create table kept_apart (like kept including all);
create trigger counted after insert on kept referencing new table as added for each statement execute function count_made();`

const valuesRoute = `
- route: POST /%[1]s
  batch:
    max_items: 50
    item:
      id: int
      name: {type: text, optional: true, nullable: true}
      code: {type: text, optional: true}
      tag: {type: text, optional: true}
      how: {type: ['sad, "so"', ok], optional: true}
      amount: {type: number, optional: true}
      day: {type: date, optional: true}
      at: {type: timestamptz, optional: true}
      doc: {type: json, optional: true}
      flag: {type: bool, optional: true}
      ref: {type: uuid, optional: true}
    failed: {item: "@item", error: "@error", index: "@index"}
  query: insert into %[1]s (id, name, code, tag, how, amount, day, at, doc, flag, ref)
    values (@id, @name, @code, @tag, @how, @amount, @day, coalesce(@at::timestamptz, '2026-01-02'), @doc, @flag, @ref%[2]s)
    returning *, name is null as unnamed
  rows: %[3]s
  response: {made: "@succeeded", failed: "@failed"}
`

// Whatever the items say, one statement stores and answers what one for each does, and refuses what that does.
func TestBatchAsOneStatementEqualsOneByOne(t *testing.T) {
	t.Parallel()
	for way, option := range bothWays {
		for _, rows := range []string{"one", "none"} {
			t.Run(way+" "+rows, func(t *testing.T) {
				t.Parallel()
				apart := fmt.Sprintf(valuesRoute, "kept_apart", ", (select null)", rows) // a query inside keeps them apart
				apart = strings.Replace(apart, "flag, ref)", "flag, ref, nothing)", 1)
				compareBulk(t, newSite(t, valuesSchema, fmt.Sprintf(valuesRoute, "kept", "", rows)+apart, option))
			})
		}
	}
}

func compareBulk(t *testing.T, s *site) {
	text := rapid.OneOf(rapid.SampledFrom([]string{"", "NULL", "null", `\`, `"`, `{},"x"`, "'", " a ", "ü", `\"\\`, "a\nb", "abcd"}), rapid.StringN(0, 6, -1))
	uuid := rapid.SampledFrom([]string{"3b241101-e2bb-4255-8caf-4136c566a962", "3b241101-e2bb-4255-8caf-4136c566a963"})
	optional := func(r *rapid.T, item map[string]any, name string, value any) {
		if rapid.Bool().Draw(r, "with "+name) {
			item[name] = value
		}
	}
	atOnce := 0
	rapid.Check(t, func(r *rapid.T) {
		s.exec(t, "truncate kept, kept_apart, counted")
		items := make([]map[string]any, rapid.IntRange(2, 8).Draw(r, "items"))
		for i := range items {
			item := map[string]any{"id": rapid.IntRange(1, 40).Draw(r, "id")}
			optional(r, item, "name", strings.ReplaceAll(text.Draw(r, "name"), "\x00", ""))
			optional(r, item, "code", rapid.StringMatching(`[a-z"\\,{} ]{0,6}`).Draw(r, "code"))
			optional(r, item, "tag", rapid.StringMatching(`[a-c"]{0,4}`).Draw(r, "tag"))
			optional(r, item, "how", rapid.SampledFrom([]string{`sad, "so"`, "ok"}).Draw(r, "how"))
			optional(r, item, "amount", json.Number(rapid.SampledFrom([]string{"0", "-1.5", "1.005", "123456789"}).Draw(r, "amount")))
			optional(r, item, "day", "2026-02-03")
			optional(r, item, "at", "2026-02-03T04:05:06Z")
			optional(r, item, "doc", map[string]any{text.Draw(r, "key"): text.Draw(r, "value")})
			optional(r, item, "flag", rapid.Bool().Draw(r, "flag"))
			optional(r, item, "ref", uuid.Draw(r, "ref"))
			items[i] = item
		}
		body, err := json.Marshal(items)
		if err != nil {
			r.Fatal(err)
		}
		one, apart := s.write(t, "POST /kept", string(body)), s.write(t, "POST /kept_apart", string(body))
		answer := strings.ReplaceAll(string(apart.Response.Body), "kept_apart", "kept")
		if string(one.Response.Body) != answer {
			r.Fatalf("%s\nanswered %s\none by one %s", body, one.Response.Body, answer)
		}
		const all = "select coalesce(jsonb_agg(to_jsonb(k) order by id), '[]') from %s k"
		if a, z := s.one(t, fmt.Sprintf(all, "kept")), s.one(t, fmt.Sprintf(all, "kept_apart")); a != z {
			r.Fatalf("%s\nstored %s\none by one %s", body, a, z)
		}
		if s.one(t, "select count(*) from counted where rows > 1") == "1" {
			atOnce++
		}
	})
	if atOnce == 0 {
		t.Error("no batch was inserted as one statement")
	}
}
