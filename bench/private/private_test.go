package private_test

import (
	"net"
	"testing"

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
