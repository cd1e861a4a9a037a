package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"forebay/cache"
)

const clientsSchema = `create table clients (id int primary key, name text not null, status text not null default 'active');
insert into clients values (1, 'Ann', 'active'), (2, 'Bob', 'paused');`

const clientsRoutes = `
- route: GET /clients/{id}
  ttl: 60s
  params: {id: int}
  query: select id, name, status from clients where id = @id
  rows: one
- route: GET /clients
  ttl: 60s
  params: {status: {type: text, default: active}}
  query: select id, name from clients where status = @status order by id
- route: PUT /clients/{id}
  params: {id: int}
  body: {name: text}
  query: update clients set name = @name where id = @id returning id, name
  rows: one
`

func TestFillBringsItsSnapshotAlsoWithoutRows(t *testing.T) {
	t.Parallel()
	s := newSite(t, clientsSchema, clientsRoutes)
	for _, request := range []string{"GET /clients/1", "GET /clients/99", "GET /clients?status=nobody", "GET /clients/99"} {
		before, err := cache.ParseSnapshot([]byte(s.one(t, "select pg_current_snapshot()")))
		if err != nil {
			t.Fatal(err)
		}
		f := s.fill(t, request)
		if f.Refused != cache.Storable || f.Snapshot.IsZero() || f.Snapshot.Xmax < before.Xmax {
			t.Errorf("%s: refused %q, snapshot %s; want one from %s on", request, f.Refused, f.Snapshot, before)
		}
		if got := s.tables(f); got != "clients" {
			t.Errorf("%s depends on %q; want clients", request, got)
		}
	}
	if f := s.fill(t, "GET /clients/99"); f.Response.Status != 404 || len(f.Response.Body) != 0 {
		t.Errorf("no row: status %d, body %q; want 404 without a body", f.Response.Status, f.Response.Body)
	}
	if got := s.body(t, "GET /clients?status=nobody"); got != "[]" {
		t.Errorf("no rows: body %s; want []", got)
	}
	if got := s.body(t, "GET /clients/1"); got != `{"id":1,"name":"Ann","status":"active"}` {
		t.Errorf("body %s", got)
	}
}

// A rule may run one text under two names.
func TestTheSameStatementTwiceInARule(t *testing.T) {
	t.Parallel()
	s := newSite(t, clientsSchema, `
- route: GET /twice
  ttl: 60s
  queries:
    first: {sql: "select name from clients where id = 1", rows: one}
    second: {sql: "select name from clients where id = 1", rows: one}
  response: ["@first", "@second"]
`)
	if got := s.body(t, "GET /twice"); got != `[{"name":"Ann"},{"name":"Ann"}]` {
		t.Errorf("body %s", got)
	}
}

// The snapshot is what later changes are compared with: one that was running meanwhile must not be seen.
func TestFillDoesNotSeeWhatIsNotCommitted(t *testing.T) {
	t.Parallel()
	s := newSite(t, clientsSchema, clientsRoutes)
	conn := connect(t, s.url)
	script(t, conn, "begin; update clients set name = 'Eve' where id = 1")
	var xid uint64
	if err := conn.QueryRow(t.Context(), "select pg_current_xact_id()::text::bigint").Scan(&xid); err != nil {
		t.Fatal(err)
	}
	old := s.fill(t, "GET /clients/1")
	if old.Snapshot.Sees(xid) {
		t.Fatalf("snapshot %s sees %d, which is running", old.Snapshot, xid)
	}
	script(t, conn, "commit")
	fresh := s.fill(t, "GET /clients/1")
	if !fresh.Snapshot.Sees(xid) || !strings.Contains(string(fresh.Response.Body), "Eve") {
		t.Fatalf("snapshot %s, body %s; want to see %d", fresh.Snapshot, fresh.Response.Body, xid)
	}
	s.log.Commit(cache.Change{Xid: xid, Dependencies: old.Dependencies})
	if got := s.stand(old).Check(); got != cache.Outdated {
		t.Errorf("the old response is %s", got)
	}
	if got := s.stand(fresh).Check(); got != cache.Current {
		t.Errorf("the fresh response is %s", got)
	}
}

// Statements of one rule see the same, whatever is committed between them.
func TestStatementsOfARuleAgree(t *testing.T) {
	t.Parallel()
	s := newSite(t, `create table parts (id int primary key, n int not null); insert into parts values (1, 0), (2, 0)`, `
- route: GET /parts
  ttl: 60s
  queries:
    first: {sql: "select n from parts where id = 1", rows: value}
    wait: {sql: "select pg_sleep(0.002)::text", rows: value}
    second: {sql: "select n from parts where id = 2", rows: value}
  response: {first: "@first", second: "@second"}
`)
	writer := connect(t, s.url)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				script(t, writer, "update parts set n = n + 1")
			}
		}
	}()
	seen := make(map[any]bool)
	for range 100 {
		got := object(t, []byte(s.body(t, "GET /parts")))
		if got["first"] != got["second"] {
			t.Errorf("the statements disagree: %v", got)
			break
		}
		seen[got["first"]] = true
	}
	close(stop)
	<-done
	if len(seen) < 10 {
		t.Errorf("only %d different values were read; the writer was not at work", len(seen))
	}
}

func TestReadConnectionsAreReadOnly(t *testing.T) {
	t.Parallel()
	for name, option := range bothWays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, clientsSchema+`
				create function sneak() returns int language plpgsql as $$ begin update clients set name = 'x'; return 1; end $$;`, `
- route: GET /sneak
  query: select sneak() as n
  rows: one
- route: POST /sneak
  query: select sneak() as n
  rows: one
`, option)
			_, err := s.Fill(t.Context(), s.call(t, "GET /sneak", ""))
			if e := failure(t, err); e.Status != 500 {
				t.Errorf("status %d, %v", e.Status, e)
			}
			if got := s.one(t, "select count(*) from clients where name = 'x'"); got != "0" {
				t.Errorf("a read changed %s rows", got)
			}
			s.write(t, "POST /sneak", "")
			if got := s.one(t, "select count(*) from clients where name = 'x'"); got != "2" {
				t.Errorf("a write changed %s rows; want 2", got)
			}
			if got := s.BreakerState(); got != "closed" {
				t.Errorf("breaker is %s", got)
			}
		})
	}
}

// A fill that is sent after a change came in sees it, and says so: it never takes over a snapshot from before.
func TestAFillBehindAChangeTakesASnapshotOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t, clientsSchema, clientsRoutes)
	conn := connect(t, s.url)
	for range 3 { // until what the rule depends on is known
		s.fill(t, "GET /clients/1")
	}
	for i := range 50 {
		s.fill(t, "GET /clients/1") // whose snapshot others may share
		var xid uint64
		if err := conn.QueryRow(t.Context(), "update clients set name = $1 where id = 1 returning pg_current_xact_id()::text::bigint", fmt.Sprint("Eve ", i)).Scan(&xid); err != nil {
			t.Fatal(err)
		}
		s.log.Commit(cache.Change{Xid: xid, Dependencies: s.fill(t, "GET /clients/2").Dependencies})
		fresh := s.fill(t, "GET /clients/1")
		if got := s.stand(fresh).Check(); got != cache.Current {
			t.Fatalf("round %d: a response with the snapshot %s, read after %d came in, is %s", i, fresh.Snapshot, xid, got)
		}
	}
}
