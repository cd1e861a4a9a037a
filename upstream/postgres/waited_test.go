package postgres_test

import (
	"context"
	"testing"
	"time"

	"forebay/cache"
	"forebay/upstream/postgres"
)

// What a call waits for a connection is told apart from what its statement takes, also when it waits in vain.
func TestWaitingForAConnectionIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t, "create table t (n int); insert into t values (1)", `
- route: GET /held
  ttl: 60s
  query: select n, pg_advisory_lock_shared(1) is null as locked, pg_advisory_unlock_shared(1) as free from t
- route: GET /n
  ttl: 60s
  query: select n from t
- route: POST /n
  query: insert into t values (2)
  rows: none
`, single, func(c *postgres.Config) { c.AcquireTimeout = patience })
	s.body(t, "GET /n") // the connection is open
	owner := connect(t, s.url)
	script(t, owner, "select pg_advisory_lock(1)")
	held := make(chan cache.Fill, 1)
	go func() { held <- s.fill(t, "GET /held") }()
	waits := func(n int) func() bool { return func() bool { return s.Stats().Waiting == n } }
	eventually(t, "the only connection is held", func() bool {
		return s.one(t, "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == "1"
	})

	read, written := make(chan cache.Fill, 1), make(chan postgres.Written, 1)
	go func() { read <- s.fill(t, "GET /n") }()
	go func() { written <- s.write(t, "POST /n", "") }()
	eventually(t, "two wait", waits(2))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := s.Fill(ctx, s.call(t, "GET /n", ""))
		failed <- err
	}()
	eventually(t, "three wait", waits(3))
	began := time.Now()
	eventually(t, "some time has passed", func() bool { return time.Since(began) > 20*time.Millisecond })
	cancel()
	if e := failure(t, <-failed); e.Waited < 20*time.Millisecond {
		t.Errorf("who waited in vain did so for %s", e.Waited)
	}
	script(t, owner, "select pg_advisory_unlock(1)")
	holder, reader := <-held, <-read
	if reader.Waited < 20*time.Millisecond {
		t.Errorf("who waited to read did so for %s", reader.Waited)
	}
	if holder.Waited >= reader.Waited {
		t.Errorf("whose statement took long waited for %s", holder.Waited)
	}
	if w := <-written; w.Waited < 20*time.Millisecond {
		t.Errorf("who waited to write did so for %s", w.Waited)
	}
}
