package postgres_test

import (
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// Behind PgBouncer in transaction mode, with fewer server connections than clients, everything is answered
// as without it. Runs where PgBouncer is installed.
func TestBehindATransactionPooler(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, server, shopSchema+discoverySchema)
	s := newSiteOn(t, newPooler(t, database), shopRoutes+batchRoutes+exportRoutes+`
- route: GET /branch/{id}
  ttl: 60s
  params: {id: int}
  query: select branch(@id) as v
- route: GET /readonly
  query: select current_setting('transaction_read_only') || current_setting('statement_timeout') as v
  rows: value
`, func(c *postgres.Config) { c.PreparedStatements = false })
	if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
		t.Error(err)
	}
	if got := s.Classification(s.call(t, "GET /clients/1", "").Rule); strings.Join(got.Rows, " ") != "clients[id]" {
		t.Errorf("by id is judged %+v", got)
	}
	var work sync.WaitGroup
	for n := range 4 {
		work.Go(func() { s.useAsBefore(t, 100*(n+1)) })
	}
	work.Wait()
	if got := s.body(t, "GET /readonly"); got != `"on5s"` {
		t.Errorf("a read runs with %s", got)
	}
	if got := s.one(t, "select count(*) from clients where id >= 100"); got != "12" {
		t.Errorf("%s clients were made; want 12", got)
	}
}

// useAsBefore reads, writes, batches and exports, with ids of its own.
func (s *site) useAsBefore(t testing.TB, id int) {
	for i := range 3 {
		s.write(t, "POST /clients", fmt.Sprintf(`{"id": %d, "email": "%d@x"}`, id+i, id+i))
		f := s.fill(t, fmt.Sprintf("GET /clients/%d", id+i))
		if got := s.tables(f); got != "clients" || f.Refused != cache.Storable || f.Response.Status != 200 {
			t.Errorf("client %d: status %d, refused %q, depends on %q", id+i, f.Response.Status, f.Refused, got)
		}
		if got := s.tables(s.fill(t, "GET /branch/9")); got != "other" {
			t.Errorf("the branch depends on %q; want other", got)
		}
		if _, err := s.tryWrite(t, "POST /clients/batch", fmt.Sprintf(`[{"id": %d, "email": "x"}]`, id+i)); err != nil {
			t.Error(err)
		}
		if got := strings.Count(readAll(t, s.open(t, "GET /rows?n=10000", 0)), "\n"); got != 10001 {
			t.Errorf("exported %d lines", got)
		}
	}
}

// A pooler keeps its clients while the server crashes and starts again by itself. What was read before is outdated
// by whatever is done first: by a write before it is answered, though it may be given the id of a transaction that
// the crash took back.
func TestCrashBehindATransactionPooler(t *testing.T) {
	t.Parallel()
	pg := newServer(t, "synchronous_commit = off", "wal_writer_delay = 10s", "restart_after_crash = on", "fsync = off")
	direct := newDatabase(t, pg.URL("postgres"), clientsSchema+"create table elsewhere (n int); insert into elsewhere values (1)")
	s := newSiteOn(t, newPooler(t, direct), clientsRoutes+`
- route: GET /elsewhere
  ttl: 60s
  query: select n from elsewhere
- route: PUT /elsewhere
  query: update elsewhere set n = n + 1
  rows: none
`, func(c *postgres.Config) { c.PreparedStatements, c.Breaker.Failures, c.MaxConnections = false, 1000, 2 })
	legacy := &rules.Rule{Name: "GET /legacy", DependsOn: []string{"elsewhere"}, Primary: true}
	for name, try := range map[string]func() bool{
		"a fill": func() bool {
			_, err := s.Fill(t.Context(), s.call(t, "GET /elsewhere", ""))
			return err == nil
		},
		"a write": func() bool {
			_, err := s.tryWrite(t, "PUT /elsewhere", "")
			return err == nil
		},
		"a look at the catalogue": func() bool { return postgres.Compare(t.Context(), s.Database) },
		"a vantage": func() bool {
			_, err := s.Vantage(t.Context(), legacy)
			return err == nil
		},
	} {
		execOn(t, direct, "checkpoint") // the tables themselves must survive
		execOn(t, direct, "update clients set name = 'seen by "+name+"' where id = 1")
		standing, started := s.stored(t, "GET /clients/1"), one(t, connect(t, direct), "select pg_postmaster_start_time()")
		crash(t, direct)
		eventually(t, name+" succeeds", try)
		if got := standing.Check(); got != cache.Outdated {
			t.Errorf("after a crash and %s, what was read before is %s", name, got)
		}
		if got := one(t, connect(t, direct), "select pg_postmaster_start_time()"); got != started {
			t.Fatalf("the postmaster started at %s, then %s: this was another kind of crash", started, got)
		}
	}
	s.stored(t, "GET /clients/1")
}

// A pooler may lead its clients to another server, and none of their connections breaks.
func TestAnotherServerBehindATransactionPooler(t *testing.T) {
	t.Parallel()
	const schema = "create table place (name text); insert into place values "
	r := newRelay(t, newDatabase(t, server, schema+"('old')"))
	other := newServer(t, "fsync = off")
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	execOn(t, other.URL("postgres"), "create database "+name)
	execOn(t, other.URL(name), schema+"('new')")
	s := newSiteOn(t, newPooler(t, r.url), `
- route: GET /where
  ttl: 60s
  query: select name from place
  rows: value
`, func(c *postgres.Config) { c.PreparedStatements, c.Breaker.Failures = false, 1000 })
	standing := s.stored(t, "GET /where")
	r.lead(other.Address())
	r.cut()
	eventually(t, "the pooler has come to the new server", func() bool {
		f, err := s.Fill(t.Context(), s.call(t, "GET /where", ""))
		if err != nil || string(f.Response.Body) != `"new"` {
			return false
		}
		if got := standing.Check(); got != cache.Outdated {
			t.Errorf("with the first answer of the new server, what the old one gave is %s", got)
		}
		return true
	})
	s.stored(t, "GET /where")
}

// newPooler starts a PgBouncer with two server connections per database, until the test ends.
func newPooler(t testing.TB, database string) string {
	t.Helper()
	pooler, pooled, err := private.StartPooler(t.Context(), database, "default_pool_size = 2", "ignore_startup_parameters = extra_float_digits")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("pgbouncer is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pooler.Stop)
	return pooled
}
