package postgres_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"forebay/cache"
)

const batchRoutes = `
- route: POST /clients/batch
  batch:
    max_items: 50
    item: {id: int, email: {type: text, max_length: 20}, age: {type: int, optional: true}}
    failed: {item: "@item", error: "@error", index: "@index"}
  query: insert into clients (id, email, age) values (@id, @email, @age) returning id, email, age
  rows: one
  response: {created: "@succeeded", errors: "@failed", total: "@total", ok: "@succeeded_count", bad: "@failed_count", rate: "@success_rate"}
- route: POST /clients/atomic
  batch:
    max_items: 50
    atomic: true
    item: {id: int, email: {type: text, max_length: 20}, age: {type: int, optional: true}}
  query: insert into clients (id, email, age) values (@id, @email, @age) returning id
  rows: one
  response: {created: "@succeeded"}
- route: POST /late/batch
  batch:
    max_items: 50
    item: {id: int, partner: int}
    failed: {item: "@item", error: "@error"}
  query: insert into late values (@id, @partner) returning id
  rows: one
  response: {created: "@succeeded", errors: "@failed"}
`

func TestBatchKeepsTheGoodItems(t *testing.T) {
	t.Parallel()
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, shopSchema, shopRoutes+batchRoutes, option)
			standing := s.stand(s.fill(t, "GET /clients/1"))
			w := s.write(t, "POST /clients/batch", `[{"id": 11, "email": "k@x"}, {"id": 1, "email": "l@x"}, {"id": 12, "email": "m@x", "age": -1},
				{"id": 13, "email": "far longer than it may be"}, {"id": 14, "email": "n@x", "age": 7}]`)
			const want = `{"created":[{"id":11,"email":"k@x","age":null},{"id":14,"email":"n@x","age":7}],` +
				`"errors":[{"item":{"id": 1, "email": "l@x"},"error":"A row with this id already exists.","index":1},` +
				`{"item":{"id": 12, "email": "m@x", "age": -1},"error":"The values break the rule \"clients_age_check\".","index":2},` +
				`{"item":{"id": 13, "email": "far longer than it may be"},"error":"email must have at most 20 characters, not 25","index":3}],` +
				`"total":5,"ok":2,"bad":3,"rate":40.00}`
			if got := string(w.Response.Body); got != want {
				t.Errorf("answered\n%s; want\n%s", got, want)
			}
			if got := s.one(t, "select string_agg(id::text, ',' order by id) from clients"); got != "1,2,11,14" {
				t.Errorf("stored are %s", got)
			}
			if got := standing.Check(); got != cache.Outdated || !w.Change.Visible {
				t.Errorf("what was stored is %s, change %+v", got, w.Change)
			}
		})
	}
}

func TestAtomicBatchKeepsAllOrNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, shopSchema, shopRoutes+batchRoutes)
	standing := s.stand(s.fill(t, "GET /clients/1"))
	_, err := s.tryWrite(t, "POST /clients/atomic", `[{"id": 11, "email": "k@x"}, {"id": 1, "email": "l@x"}, {"id": 12, "email": "m@x", "age": -1}]`)
	e := failure(t, err)
	if e.Status != 409 || len(e.Items) != 2 || e.Items[0].Index != 1 || e.Items[0].Field != "id" || e.Items[1].Index != 2 || e.Items[1].Code != "23514" {
		t.Errorf("refused with %d, %+v", e.Status, e.Items)
	}
	if want := `Nothing was stored, because 2 of 3 items were refused: item [1]: A row with this id already exists; item [2]: The values break the rule "clients_age_check".`; e.Detail != want {
		t.Errorf("says %q; want %q", e.Detail, want)
	}
	if got := s.one(t, "select count(*) from clients"); got != "2" || standing.Check() != cache.Current {
		t.Errorf("%s rows, what was stored is %s", got, standing.Check())
	}
	w := s.write(t, "POST /clients/atomic", `[{"id": 11, "email": "k@x"}, {"id": 12, "email": "m@x"}]`)
	if got := string(w.Response.Body); got != `{"created":[{"id":11},{"id":12}]}` {
		t.Errorf("answered %s", got)
	}
}

// A constraint that is deferred to the commit is checked with the item that breaks it.
func TestBatchChecksDeferredConstraintsByItem(t *testing.T) {
	t.Parallel()
	s := newSite(t, shopSchema, shopRoutes+batchRoutes)
	w := s.write(t, "POST /late/batch", `[{"id": 1, "partner": 1}, {"id": 2, "partner": 9}, {"id": 3, "partner": 1}]`)
	const want = `{"created":[{"id":1},{"id":3}],"errors":[{"item":{"id": 2, "partner": 9},"error":"No row with this partner exists."}]}`
	if got := string(w.Response.Body); got != want {
		t.Errorf("answered %s", got)
	}
}

// A batch does to the table, and answers, what its items would one by one.
func TestBatchEqualsSingleInserts(t *testing.T) {
	t.Parallel()
	single := batchRoutes + `
- route: POST /one
  body: {id: int, email: {type: text, max_length: 20}, age: {type: int, optional: true}}
  query: insert into clients (id, email, age) values (@id, @email, @age) returning id, email, age
  rows: one
`
	batch, apart := newSite(t, shopSchema, single), newSite(t, shopSchema, single)
	const everything = "select coalesce(jsonb_agg(to_jsonb(c) order by id), '[]') from clients c"
	rapid.Check(t, func(r *rapid.T) {
		for _, s := range []*site{batch, apart} {
			s.exec(t, "truncate clients cascade; insert into clients values (1, '1@x', 1)")
		}
		n := rapid.IntRange(1, 12).Draw(r, "items")
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(`{"id": %d, "email": "%d@x", "age": %d}`,
				rapid.IntRange(1, 8).Draw(r, "id"), rapid.IntRange(1, 8).Draw(r, "email"), rapid.IntRange(-1, 3).Draw(r, "age"))
		}
		var answer struct {
			Created []json.RawMessage
			Errors  []struct{ Error string }
		}
		if err := json.Unmarshal(batch.write(t, "POST /clients/batch", "["+strings.Join(items, ",")+"]").Response.Body, &answer); err != nil {
			r.Fatal(err)
		}
		for i, item := range items {
			w, err := apart.tryWrite(t, "POST /one", item)
			if err == nil {
				if len(answer.Created) == 0 || string(answer.Created[0]) != string(w.Response.Body) {
					r.Fatalf("item %d alone is %s; the batch goes on with %s", i, w.Response.Body, answer.Created)
				}
				answer.Created = answer.Created[1:]
				continue
			}
			if e := failure(t, err); len(answer.Errors) == 0 || answer.Errors[0].Error != e.Detail {
				r.Fatalf("item %d alone is refused, %s; the batch goes on with %v", i, e.Detail, answer.Errors)
			}
			answer.Errors = answer.Errors[1:]
		}
		if a, b := batch.one(t, everything), apart.one(t, everything); a != b || len(answer.Created)+len(answer.Errors) > 0 {
			r.Fatalf("stored by the batch\n%s\none by one\n%s", a, b)
		}
	})
}

// All items go out in one round trip, and so does what sorts the bad ones out.
func TestBatchTakesFewRoundTrips(t *testing.T) {
	t.Parallel()
	r := newRelay(t, newDatabase(t, server, shopSchema))
	s := newSiteOn(t, r.url, batchRoutes)
	next := 100
	items := func(and string) string {
		list := make([]string, 49)
		for i := range list {
			next++
			list[i] = fmt.Sprintf(`{"id": %d, "email": "%d@x"}`, next, next)
		}
		return "[" + strings.Join(list, ",") + and + "]"
	}
	s.write(t, "POST /clients/batch", items(""))
	f := func(name, and string, want int64) {
		t.Helper()
		least := int64(math.MaxInt64) // a busy machine cuts messages into pieces, and has idle connections pinged
		for range 4 {
			before := r.turns.Load()
			s.write(t, "POST /clients/batch", items(and))
			least = min(least, r.turns.Load()-before)
		}
		if least > want {
			t.Errorf("%s: %d round trips; want %d", name, least, want)
		}
	}
	f("all good", "", 2)                           // the items, COMMIT
	f("one bad", `, {"id": 1, "email": "x@x"}`, 4) // the items, ROLLBACK, the items apart, COMMIT
}

// What an answer says is stored survives the server's death.
func TestBatchIsDurableWhenItIsAnswered(t *testing.T) {
	t.Parallel()
	pg := newServer(t)
	database := newDatabase(t, pg.URL("postgres"), shopSchema)
	s := newSiteOn(t, database, batchRoutes)
	s.write(t, "POST /clients/batch", `[{"id": 11, "email": "k@x"}, {"id": 12, "email": "m@x"}]`)
	pg.Kill()
	eventually(t, "the server starts again", func() bool { return pg.Start(t.Context()) == nil })
	if got := s.one(t, "select count(*) from clients where id in (11, 12)"); got != "2" {
		t.Errorf("%s of 2 rows survived", got)
	}
}
