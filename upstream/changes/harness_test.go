package changes

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/rules"
)

// patience bounds every wait in tests for what must happen.
const patience = 60 * time.Second

// serverURL is of the server that all tests share which need no settings of their own.
var serverURL = sync.OnceValues(func() (string, error) {
	url, stop, err := private.DatabaseURL(context.Background())
	if err == nil {
		stopServer.Store(&stop)
	}
	return url, err
})

var (
	stopServer atomic.Pointer[func()]
	databases  atomic.Int64
)

func TestMain(m *testing.M) {
	code := m.Run()
	if stop := stopServer.Load(); stop != nil {
		(*stop)()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is a database of its own, and whoever writes to it.
type world struct {
	t    testing.TB
	url  string
	name string
	*pgx.Conn
}

func newWorld(t testing.TB, script string) *world {
	t.Helper()
	server, err := serverURL()
	if err != nil {
		t.Fatal(err)
	}
	return newWorldOn(t, server, script)
}

func newWorldOn(t testing.TB, server, script string) *world {
	t.Helper()
	admin := open(t, server)
	w := &world{t: t, name: fmt.Sprintf("changes_%d_%d", os.Getpid(), databases.Add(1))}
	w.url = withDatabase(t, server, w.name)
	mustExec(t, admin, "create database "+w.name)
	t.Cleanup(func() {
		admin := open(t, server)
		defer admin.Close(context.Background())
		// The server may take a moment to end the processes, and slots, of connections that were closed.
		for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			_, err := admin.Exec(context.Background(), "drop database if exists "+w.name+" with (force)")
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Error(err)
				return
			}
		}
	})
	_ = admin.Close(context.Background())
	w.Conn = open(t, w.url)
	t.Cleanup(func() { _ = w.Conn.Close(context.Background()) })
	if script != "" {
		w.exec(script)
	}
	return w
}

func withDatabase(t testing.TB, server, name string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func open(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func mustExec(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) exec(sql string) {
	w.t.Helper()
	mustExec(w.t, w.Conn, sql)
}

// another returns one more connection, closed with the test.
func (w *world) another() *world {
	w.t.Helper()
	conn := open(w.t, w.url)
	w.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return &world{t: w.t, url: w.url, name: w.name, Conn: conn}
}

func (w *world) text(sql string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	row, err := onlyRow(ctx, w.PgConn(), sql)
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return row[0]
}

func (w *world) number(sql string) uint64 {
	w.t.Helper()
	var n uint64
	if _, err := fmt.Sscan(w.text(sql), &n); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (w *world) oid(table string) uint32 {
	w.t.Helper()
	return uint32(w.number("select '" + table + "'::regclass::oid"))
}

// tap is a feed with its log.
type tap struct {
	*Feed
	t    testing.TB
	log  *cache.ChangeLog
	logs *logBook
	stop func()
}

// logBook keeps what was logged, for when a test fails.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func newTap(t testing.TB, cfg Config) *tap {
	t.Helper()
	clock, log, logs := cache.NewClock(time.Now()), cache.NewChangeLog("test"), new(logBook)
	f, err := New(cfg, Deps{Log: log, Clock: clock, Logger: slog.New(slog.NewTextHandler(logs, nil)), Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{Feed: f, t: t, log: log, logs: logs}
	t.Cleanup(func() {
		if t.Failed() {
			logs.mu.Lock()
			t.Logf("logged:\n%s", logs.text.String())
			logs.mu.Unlock()
		}
	})
	return p
}

// run runs the feed until the test ends.
func (p *tap) run() *tap {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	p.t.Cleanup(p.stop)
	return p
}

// follow starts a feed that watches the tables, and waits until it is live and covers them.
func (w *world) follow(wanted map[uint32][]int16) *tap {
	w.t.Helper()
	p := newTap(w.t, Config{URL: rules.Secret(w.url), Mode: ModeWAL})
	p.Watch(wanted)
	p.run()
	for oid := range wanted {
		p.covered(oid)
	}
	return p
}

// eventually waits until the condition holds, and says what was waited for if it does not.
func (p *tap) eventually(what string, holds func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			p.t.Fatalf("never: %s; status %+v", what, p.Status())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (p *tap) live() {
	p.t.Helper()
	p.eventually("live", func() bool { return p.log.Feed().Live && p.log.Feed().Mode == cache.FeedWAL })
}

func (p *tap) covered(oid uint32) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("relation %d is covered", oid), func() bool {
		f := p.log.Feed()
		_, ok := f.Covered[oid]
		return ok && f.Live
	})
}

func (p *tap) uncovered(oid uint32) Uncovered {
	p.t.Helper()
	var found Uncovered
	p.eventually(fmt.Sprintf("relation %d is uncovered", oid), func() bool {
		if _, ok := p.log.Feed().Covered[oid]; ok {
			return false
		}
		for _, u := range p.Status().Uncovered {
			if u.Oid == oid && !u.Rows {
				found = u
				return true
			}
		}
		return false
	})
	return found
}

// caught waits until all that is committed by now is marked.
func (p *tap) caught(w *world) {
	p.t.Helper()
	now := p.clock.Now()
	p.eventually("the log is as of now", func() bool { return p.log.Feed().Live && p.log.AsOf() > now })
}

// stored is a response that depends on things.
type stored struct {
	p *tap
	*cache.Standing
}

// store makes a response of what the database shows now, and fails the test if it may not be stored.
func (p *tap) store(w *world, dependencies ...cache.Dependency) stored {
	p.t.Helper()
	s, refused := p.try(w, dependencies...)
	if refused != cache.Storable {
		p.t.Fatalf("not storable: %s; feed %+v", refused, p.log.Feed())
	}
	return s
}

func (p *tap) try(w *world, dependencies ...cache.Dependency) (stored, cache.Refusal) {
	p.t.Helper()
	asked := p.log.Position()
	snapshot, err := cache.ParseSnapshot([]byte(w.text("select pg_current_snapshot()")))
	if err != nil {
		p.t.Fatal(err)
	}
	relations := make(map[uint32]bool)
	for _, d := range dependencies {
		if oid, ok := d.Table(); ok {
			relations[oid] = true
		}
	}
	var oids []uint32
	for oid := range maps.Keys(relations) {
		oids = append(oids, oid)
	}
	return stored{p, p.log.Stand(nil, asked, snapshot, dependencies)}, p.log.Admit(asked, snapshot, oids)
}

// outdated waits until the response is outdated.
func (s stored) outdated(why string) {
	s.p.t.Helper()
	s.p.eventually("outdated by "+why, func() bool { return s.Check() == cache.Outdated })
}

// current fails the test if the response is outdated. The caller has waited for what might outdate it.
func (s stored) current(in spiteOf) {
	s.p.t.Helper()
	if v := s.Check(); v != cache.Current {
		s.p.t.Fatalf("verdict %v in spite of %s: cause %+v", v, in, s.Cause())
	}
}

type spiteOf string
