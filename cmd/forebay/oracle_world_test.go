package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/valyala/fasthttp"

	"forebay/bench/private"
)

// oracleLag is the max_lag of the rules: what was acknowledged before is never served outdated, whatever
// forebay says of itself.
const oracleLag = 500 * time.Millisecond

const oracleSchema = `create table counters (id int primary key, grp int not null, v bigint not null);
alter table counters replica identity full;
create table extra (id int primary key);
insert into counters select i, i % 4, 0 from generate_series(0, 39) i;
create function version_of(i int) returns bigint language plpgsql stable as $$
declare
  found bigint;
begin
  if i % 2 = 0 then
    return (select v from counters where id = i);
  end if;
  begin
    select v into strict found from counters where id = i;
    perform 1 / (i - i); -- rolls back the lock, not the variable: the scan alone tells of the table
  exception when division_by_zero then
    null;
  end;
  return found;
end $$;`

const oracleConfig = `postgres: {url: "${DATABASE_URL}", breaker: {failures: 1000000}, retry: {attempts: 2, base: 5ms}}
cache: {memory: 2MiB, redis: "${REDIS_URL}", share_exact: true}
freshness: FRESHNESS
max_lag: 500ms
audit: 0
routes:
  - {route: "GET /counters/{id}", kind: find, params: {id: int}, query: "SELECT id, v FROM counters WHERE id = @id::int", rows: one}
  - {route: GET /counters, kind: search, params: {grp: int}, query: "SELECT id, v FROM counters WHERE grp = @grp::int ORDER BY id"}
  - {route: GET /sum, kind: count, query: "SELECT count(*) AS id, sum(v)::bigint AS v FROM counters", rows: one}
  - {route: "GET /function/{id}", kind: find, params: {id: int}, query: "SELECT @id::int AS id, version_of(@id::int) AS v", rows: one}
  - route: PUT /counters/{id}
    params: {id: int}
    query: UPDATE counters SET v = v + 1, grp = ((v + 1) / 8 + id) % 4 WHERE id = @id::int RETURNING id, v
    rows: one
`

const oracleExtra = `  - {route: GET /extra, kind: count, query: SELECT count(*) AS n FROM extra, rows: one}
`

// oracle is a forebay between writers and readers of rows that count up. Everything that is drawn is drawn from
// the seed; the schedule of goroutines is not.
type oracle struct {
	t         testing.TB
	seed      uint64
	freshness string
	async     bool // commits are acknowledged before they are durable, and a crash takes some back
	ledger    ledger

	postgres *private.Postgres // the primary; of the goroutine that disturbs
	standby  *private.Postgres // nil where nothing is disturbed
	url      string            // of both: it leads to the one that is the primary
	redis    *private.Redis
	process  *process
	clock    *wallClock // nil: it is everybody's
	config   string
	client   *fasthttp.HostClient
	admin    string

	doubt atomic.Int64 // odd: a crash has taken back what readers saw, and nobody can say yet what they may see
	empty atomic.Bool  // the table is new to old snapshots, which see it empty: Postgres's own answer until all know

	hits, misses, stale, unchecked, refused, commits, lost atomic.Int64
	faults                                                 map[string]int

	mu    sync.Mutex // guards wrong
	wrong []string
}

// newOracle starts servers and forebay. With exact freshness there is a standby, which every commit waits for
// unless commits wait for nothing.
func newOracle(t testing.TB, seed uint64, freshness string) *oracle {
	t.Helper()
	o := &oracle{t: t, seed: seed, freshness: freshness, async: seed%2 == 1, faults: make(map[string]int)}
	ctx := t.Context()
	settings := []string{"fsync = off", "max_prepared_transactions = 20", "autovacuum = off", "wal_writer_delay = 10s", "synchronous_commit = on"}
	if o.async {
		settings[4] = "synchronous_commit = off"
	}
	var err error
	if o.postgres, err = private.StartPostgres(ctx, settings...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.postgres.Stop() })
	o.url = o.postgres.URL("postgres")
	if o.redis, err = private.StartRedis(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.redis.Stop)
	if seed%4 < 2 {
		o.turnXids()
	}
	o.exec(oracleSchema)
	if freshness == "exact" {
		if o.standby, err = private.StartStandby(ctx, o.postgres); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.standby.Stop() }) // whichever it is by then
		o.url = strings.Replace(o.url, o.postgres.Address(), o.postgres.Address()+","+o.standby.Address(), 1) + "&target_session_attrs=read-write"
		o.awaitStandby()
	}
	dir := t.TempDir()
	o.config = filepath.Join(dir, "forebay.yaml")
	o.configure(false)
	o.start(dir)
	return o
}

// turnXids puts the counter of transactions shortly before its lower half turns to zero.
func (o *oracle) turnXids() {
	o.t.Helper()
	o.exec("vacuum freeze")
	o.postgres.Shutdown()
	next := uint32(0xFFFFFF00)
	reset := o.postgres.Command("pg_resetwal", "--epoch=2", fmt.Sprintf("--next-transaction-id=%d", next), fmt.Sprintf("--oldest-transaction-id=%d", next-1000), "-D", ".")
	if out, err := reset.CombinedOutput(); err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
	// The status of transactions that never were: two bits each, in files of 2^20 transactions.
	status := filepath.Join(reset.Dir, "pg_xact", "0FFF")
	if err := os.WriteFile(status, make([]byte, 1<<18), 0o600); err != nil {
		o.t.Fatal(err)
	}
	if owner := reset.SysProcAttr.Credential; owner != nil {
		if err := os.Chown(status, int(owner.Uid), int(owner.Gid)); err != nil {
			o.t.Fatal(err)
		}
	}
	if err := o.postgres.Start(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
}

// configure writes the configuration, with one rule more or without.
func (o *oracle) configure(extra bool) {
	text := strings.ReplaceAll(oracleConfig, "FRESHNESS", o.freshness)
	if extra {
		text += oracleExtra
	}
	if err := os.WriteFile(o.config, []byte(text), 0o600); err != nil {
		o.t.Error(err)
	}
}

// forebay returns a command of the real binary.
func (o *oracle) forebay(args ...string) *exec.Cmd {
	cmd := realBinary(o.t, args...)
	cmd.Env = append(cmd.Env, "DATABASE_URL="+o.url, "REDIS_URL="+o.redis.URL())
	return cmd
}

// realBinary returns a command of it, on free ports.
func realBinary(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Args[0] = "forebay" // testscript runs the command that the name says
	cmd.Env = []string{"FOREBAY_LISTEN=127.0.0.1:0", "FOREBAY_ADMIN_LISTEN=127.0.0.1:0", "PATH=" + os.Getenv("PATH")}
	return cmd
}

// launch starts the command, on a wall clock of its own where that can be had, and ends it with the test.
func launch(t testing.TB, cmd *exec.Cmd) (*process, *wallClock) {
	t.Helper()
	p := &process{done: make(chan struct{}), cmd: cmd}
	cmd.Stdout, cmd.Stderr = p, p
	clock, err := startOnClock(cmd)
	switch {
	case errors.Is(err, errOneClock):
		t.Log(err)
	case err != nil:
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.end)
	return p, clock
}

func (o *oracle) start(dir string) {
	o.t.Helper()
	if out, err := o.forebay("changes", "install", "--yes", "-c", o.config).CombinedOutput(); err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
	cmd := o.forebay("run", "-c", o.config, "--log-format=json")
	cmd.Dir = dir
	o.process, o.clock = launch(o.t, cmd)
	o.await("forebay follows changes", func() bool {
		line, ok := findLog(o.process.logText(), "serving")
		if !ok {
			return false
		}
		o.client = &fasthttp.HostClient{Addr: line["listen"], MaxConns: 64, ReadTimeout: patience}
		o.admin = "http://" + line["admin"] + "/metrics"
		_, err := knownAsOf(o.admin)
		return err == nil
	})
}

// await waits for what must happen.
func (o *oracle) await(what string, happened func() bool) {
	for deadline := time.Now().Add(patience); !happened(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.fail("never: " + what)
			return
		}
	}
}

// fail notes what is wrong, with the seed that shows it.
func (o *oracle) fail(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wrong = append(o.wrong, fmt.Sprintf("%s seed %d: %s", time.Now().UTC().Format("15:04:05.000"), o.seed, what))
}

func (o *oracle) failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.wrong) > 0
}

func (o *oracle) rng(stream uint64) *rand.Rand {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], o.seed)
	binary.LittleEndian.PutUint64(key[8:], stream)
	return rand.New(rand.NewChaCha8(key))
}

// connect leads to the primary.
func (o *oracle) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return pgx.Connect(ctx, o.url)
}

// exec runs statements on a connection of their own, on the primary.
func (o *oracle) exec(sql string) { o.on(o.url, sql) }

// on runs statements on a server, and returns the first value of the last one's first row.
func (o *oracle) on(url, sql string) string {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	var results []*pgconn.Result
	if err == nil {
		results, err = conn.PgConn().Exec(ctx, sql).ReadAll()
		_ = conn.Close(ctx)
	}
	if err != nil {
		o.fail(fmt.Sprintf("%s: %v", sql, err))
		return ""
	}
	if rows := results[len(results)-1].Rows; len(rows) > 0 {
		return string(rows[0][0])
	}
	return ""
}

// follow keeps the floors in step with what forebay has applied, until ctx ends.
func (o *oracle) follow(ctx context.Context) {
	for ctx.Err() == nil {
		now := time.Now()
		asOf, err := knownAsOf(o.admin)
		if bound := now.Add(-oracleLag); err != nil || asOf.Before(bound) {
			asOf = bound
		}
		o.ledger.applied(asOf)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
