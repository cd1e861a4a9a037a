package gauge

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"forebay/bench/private"
)

func TestStatementsTellAnswersFromBookkeeping(t *testing.T) {
	t.Parallel()
	pg, err := private.StartPostgres(t.Context(), "shared_preload_libraries = 'pg_stat_statements'")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
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
