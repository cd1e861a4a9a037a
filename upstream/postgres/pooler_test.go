package postgres_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"forebay/bench/private"
	"forebay/cache"
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
