package private_test

import (
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/bench/private"
)

func TestPostgresStartsRestartsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	pg, err := private.StartPostgres(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	pg.Shutdown()
	if conn, err := net.Dial("tcp", pg.Address()); err == nil {
		_ = conn.Close()
		t.Fatal("still listens after Shutdown")
	}
	if err := pg.Start(t.Context()); err != nil {
		t.Fatalf("start after shutdown: %v", err)
	}
	pg.Kill()
	if err := pg.Start(t.Context()); err != nil {
		t.Fatalf("start after kill: %v", err)
	}
}

func TestRedisStartsAndRestartsEmpty(t *testing.T) {
	t.Parallel()
	r, err := private.StartRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	r.Kill()
	if err := r.Start(t.Context()); err != nil {
		t.Fatalf("start after kill: %v", err)
	}
}

func TestStandbyFollowsAndTakesOver(t *testing.T) {
	t.Parallel()
	primary, err := private.StartPostgres(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(primary.Stop)
	query(t, primary, "create table seen (n int)")
	standby, err := private.StartStandby(t.Context(), primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	query(t, primary, "insert into seen values (1)")
	for deadline := time.Now().Add(time.Minute); query(t, standby, "select count(*) from seen") != "1"; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the standby does not follow")
		}
	}
	primary.Kill()
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	query(t, standby, "insert into seen values (2)")
	if err := primary.Follow(t.Context(), standby); err != nil {
		t.Fatal(err)
	}
	if got := query(t, primary, "select count(*)::text || pg_is_in_recovery() from seen"); got != "2true" {
		t.Errorf("the old primary, as a standby of the new one, has %s", got)
	}
}

// query runs a statement and returns the first value of its first row, if it has any.
func query(t *testing.T, pg *private.Postgres, sql string) string {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), pg.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(results[0].Rows) == 0 {
		return ""
	}
	return string(results[0].Rows[0][0])
}
