package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// patience bounds every wait of a test.
const patience = time.Minute

// server is the URL of a superuser's database on the tests' server; set by TestMain, then left alone.
var server string

func TestMain(m *testing.M) {
	url, stop, err := private.DatabaseURL(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = url
	code := m.Run()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// site is a database of its own with a schema, and a Database under test in front of it that has routes.
type site struct {
	*postgres.Database
	url      string // of the database, as a superuser
	log      *cache.ChangeLog
	rules    *rules.Set
	config   postgres.Config
	metrics  *metrics.Set
	clock    cache.Clock
	observed chan postgres.Observation
}

// newSite makes one. The routes are written as in a configuration file, under routes:.
func newSite(t testing.TB, schema, routes string, options ...func(*postgres.Config)) *site {
	t.Helper()
	return newSiteOn(t, newDatabase(t, server, schema), routes, options...)
}

// newSiteOn is newSite on a database that is there.
func newSiteOn(t testing.TB, database, routes string, options ...func(*postgres.Config)) *site {
	t.Helper()
	s := newUnstarted(t, database, routes, options...)
	t.Cleanup(s.Close)
	return s
}

// newUnstarted makes a site that nobody closes. A feed may be put into its Deps.
func newUnstarted(t testing.TB, database, routes string, options ...func(*postgres.Config)) *site {
	t.Helper()
	return newSiteWith(t, database, routes, func(*site, *postgres.Deps) {}, options...)
}

func newSiteWith(t testing.TB, database, routes string, with func(*site, *postgres.Deps), options ...func(*postgres.Config)) *site {
	t.Helper()
	text := "postgres: {url: \"" + database + "\"}\nroutes:\n" + indent(routes)
	config, err := rules.Parse("forebay.yaml", []byte(text), os.DirFS("testdata"), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	s := &site{
		url: database, log: cache.NewChangeLog("test"), rules: config.Rules, config: postgres.ConfigOf(config.Postgres),
		metrics: metrics.NewSet(), observed: make(chan postgres.Observation, 10000), clock: cache.NewClock(time.Now()),
	}
	s.config.Retry.Base = time.Millisecond
	for _, option := range options {
		option(&s.config)
	}
	deps := postgres.Deps{
		Log: s.log, Clock: s.clock, Logger: slog.New(slog.DiscardHandler), Metrics: s.metrics,
		Observe: func(o postgres.Observation) {
			select {
			case s.observed <- o:
			default:
			}
		},
	}
	with(s, &deps)
	s.Database, err = postgres.New(s.config, deps)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// newDatabase makes a database with a schema on the server; it ends with the test.
func newDatabase(t testing.TB, server, schema string) string {
	t.Helper()
	name := fmt.Sprintf("forebay_postgres_%d_%d", os.Getpid(), rand.Uint32())
	execOn(t, server, "create database "+name+" template template0 encoding 'UTF8'")
	t.Cleanup(func() {
		conn := connect(t, server)
		eventually(t, "slots of connections that were closed are gone", func() bool {
			return one(t, conn, "select count(*) from pg_replication_slots where active and database = '"+name+"'") == "0"
		})
		script(t, conn, "drop database "+name+" with (force)")
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	execOn(t, u.String(), schema)
	return u.String()
}

// newServer starts a server that is the test's alone, to be killed.
func newServer(t testing.TB, settings ...string) *private.Postgres {
	t.Helper()
	pg, err := private.StartPostgres(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	return pg
}

// connect opens a connection of somebody else to a database.
func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(ctx) })
	return conn
}

// execOn runs a script on a connection of its own.
func execOn(t testing.TB, url, text string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	script(t, conn, text)
}

func script(t testing.TB, conn *pgx.Conn, text string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(context.WithoutCancel(t.Context()), text).ReadAll(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// one returns the only value that a query by somebody else gives, as text.
func one(t testing.TB, conn *pgx.Conn, query string) string {
	t.Helper()
	var text string
	if err := conn.QueryRow(context.WithoutCancel(t.Context()), "select ("+query+")::text").Scan(&text); err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	return text
}

// exec has somebody else run a script on the site's database.
func (s *site) exec(t testing.TB, script string) {
	t.Helper()
	execOn(t, s.url, script)
}

// one asks the site's database as somebody else.
func (s *site) one(t testing.TB, query string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	return one(t, conn, query)
}

// call makes the call that a request is: "GET /clients?id=1", and its body.
func (s *site) call(t testing.TB, request, body string) postgres.Call {
	t.Helper()
	method, target, _ := strings.Cut(request, " ")
	path, query, _ := strings.Cut(target, "?")
	req := &rules.Request{
		Method: method, Path: []byte(path), Query: []byte(query), Body: []byte(body),
		ContentType: []byte("application/json"), Header: func(string) [][]byte { return nil },
	}
	var m rules.Match
	if s.rules.Match(method, req.Path, &m) != rules.Matched {
		t.Fatalf("no route for %s", request)
	}
	in := new(rules.Input)
	if err := m.Rule.ReadInput(req, &m, in); err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return postgres.Call{Rule: m.Rule, Input: in, Format: -1}
}

// fill runs a read that is expected to succeed.
func (s *site) fill(t testing.TB, request string) cache.Fill {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f, err := s.Fill(ctx, s.call(t, request, ""))
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return f
}

// body runs a read and returns its body.
func (s *site) body(t testing.TB, request string) string {
	t.Helper()
	return string(s.fill(t, request).Response.Body)
}

// write runs a write that is expected to succeed.
func (s *site) write(t testing.TB, request, body string) postgres.Written {
	t.Helper()
	w, err := s.tryWrite(t, request, body)
	if err != nil {
		t.Fatalf("%s %s: %v", request, body, err)
	}
	return w
}

func (s *site) tryWrite(t testing.TB, request, body string) (postgres.Written, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	call := s.call(t, request, body)
	if call.Rule.Batch != nil {
		return s.WriteBatch(ctx, call)
	}
	return s.Write(ctx, call)
}

// stand ties a fill to the log, as the proxy does when it stores a response.
func (s *site) stand(f cache.Fill) *cache.Standing {
	return s.log.Stand([]byte("key"), f.Asked, f.Snapshot, append(f.Dependencies, cache.Rule(f.Response.Rule)))
}

// tables returns what a fill depends on, by name.
func (s *site) tables(f cache.Fill) string {
	var list []string
	for _, d := range f.Dependencies {
		if name := s.TableName(d); name != "" {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// failure returns the error as this package's, of which there must be one.
func failure(t testing.TB, err error) *postgres.Error {
	t.Helper()
	e, ok := err.(*postgres.Error)
	if !ok {
		t.Fatalf("error is %T (%v); want *postgres.Error", err, err)
	}
	return e
}

// object reads a JSON text.
func object(t testing.TB, text []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// eventually waits until what is true becomes true, asking again and again.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(2 * time.Millisecond) // a poll of another process, bounded by the deadline
	}
}

// single leaves the pool one connection, so that the next call is sure to have the last one's.
func single(c *postgres.Config) { c.MaxConnections = 1 }

func itoa(n int) string { return strconv.Itoa(n) }

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
