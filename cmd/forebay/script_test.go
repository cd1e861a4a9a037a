package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"forebay/bench/private"
)

// databaseURL is the server on which every script has a database of its own.
var databaseURL string

func TestMain(m *testing.M) {
	testscript.Main(servedTests{m}, map[string]func(){"forebay": main})
}

// servedTests starts a Postgres around the tests, unless `make test` has.
type servedTests struct{ *testing.M }

// Run runs the tests.
func (s servedTests) Run() int {
	url, stop, err := private.DatabaseURL(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	databaseURL = url
	return s.M.Run()
}

// TestScripts runs the promises in testdata/script, one a file. Letters sort them: a harness, b basic,
// c collapsing, e exports, f freshness, h services behind, l life, m performance endpoints and tiers, n the NEXUS
// contract, o outage, p parameters, s security, w writes.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			w := &world{env: env, processes: map[string]*process{}, origins: map[string]*scriptedOrigin{}, pending: map[string]pendingReply{}, sessions: map[string]*pgx.Conn{}, noted: map[string]float64{}}
			env.Values[worldKey{}] = w
			env.Setenv("FOREBAY_ADMIN_TOKEN", "scripts-token")
			env.Setenv("HOME", env.WorkDir)
			env.Defer(w.close)
			return nil
		},
		Cmds: withFreshnessVerbs(withAnswerVerbs(verbs())),
	})
}

// testscript's own stop ends a script where it stands, and passes: nothing behind it would be run.
func TestScriptsRunToTheirEnds(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script, _, _ := strings.Cut(string(text), "\n-- ")
		if strings.Contains(script, "\nstop") {
			t.Errorf("%s: ends at its stop; end NAME is the verb for a forebay", file)
		}
	}
}

// worldKey finds a script's world.
type worldKey struct{}

// world is what a script has started. Used by its script's goroutine alone, but for what says otherwise.
type world struct {
	env       *testscript.Env
	processes map[string]*process
	origins   map[string]*scriptedOrigin
	pending   map[string]pendingReply
	sessions  map[string]*pgx.Conn
	noted     map[string]float64 // by instance and series
	last      reply
	postgres  *private.Postgres
	standby   *private.Postgres
	redis     *private.Redis
	drop      func()
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// close ends everything, in the order in which one stands on the other.
func (w *world) close() {
	for _, p := range w.processes {
		p.end()
	}
	for _, o := range w.origins {
		o.close()
	}
	for _, c := range w.sessions {
		_ = c.Close(context.Background())
	}
	if w.drop != nil {
		w.drop()
	}
	if w.redis != nil {
		w.redis.Stop()
	}
	if w.standby != nil {
		w.standby.Stop()
	}
	if w.postgres != nil {
		w.postgres.Stop()
	}
}

// createDatabase makes a database on the shared server and returns its URL.
func createDatabase(ctx context.Context) (string, func(), error) {
	name := "script_" + strings.ToLower(rand.Text()[:12])
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create database "+name); err != nil {
		return "", nil, err
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", nil, err
	}
	u.Path = "/" + name
	drop := func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, databaseURL)
		if err != nil {
			return
		}
		defer conn.Close(ctx)
		_, _ = conn.Exec(ctx, "drop database "+name+" with (force)")
	}
	return u.String(), drop, nil
}
