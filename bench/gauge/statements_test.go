package gauge

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/bench/private"
)

func startPostgres(t *testing.T) *private.Postgres {
	t.Helper()
	pg, err := private.StartPostgres(t.Context(), "shared_preload_libraries = 'pg_stat_statements'")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	return pg
}

func TestStatementsTellAnswersFromBookkeeping(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t)
	conn, err := pgx.Connect(t.Context(), pg.URL("template1"))
	if err != nil {
		t.Fatal(err)
	}
	statements, err := NewStatements(t.Context(), pg.URL("postgres"), "template1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(statements.Close)
	before, err := statements.Spent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "select pg_catalog.pg_current_snapshot()::text", "select 1 as answer", "COMMIT",
		"select count(*) from pg_class where relname = 'BEGIN'",
	} {
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := statements.Spent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if spent := after.Less(before); spent.Calls != 5 || spent.Bookkeeping != 3 {
		t.Errorf("%d calls, %d of them bookkeeping; want 5 and 3", spent.Calls, spent.Bookkeeping)
	}
}

func TestADatabaseIsCalmOnceNothingRunsInIt(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t)
	statements, err := NewStatements(t.Context(), pg.URL("postgres"), "template1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(statements.Close)
	connect := func() *pgconn.PgConn {
		conn, err := pgx.Connect(t.Context(), pg.URL("template1"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn.PgConn()
	}
	holder, waiter := connect(), connect()
	if _, err := holder.Exec(t.Context(), "select pg_advisory_lock(1)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	waits := waiter.Exec(t.Context(), "select pg_advisory_lock(1)") // sent, and runs until the lock is let go
	short, cancel := context.WithTimeout(t.Context(), 10*calmEvery)
	defer cancel()
	if err := statements.Calm(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while a statement runs: %v", err)
	}
	if _, err := holder.Exec(t.Context(), "select pg_advisory_unlock(1)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	if _, err := waits.ReadAll(); err != nil {
		t.Fatal(err)
	}
	other, err := NewStatements(t.Context(), pg.URL("postgres"), "template1") // the first one's connection ended with its question
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	if err := other.Calm(t.Context()); err != nil {
		t.Error(err)
	}
}
