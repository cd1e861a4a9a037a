package redis_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/cache/cachetest"
	"forebay/cache/redis"
)

// sharedURL is the server of all tests that do not harm theirs. Each has a prefix of its own there.
var sharedURL string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		fmt.Fprintln(os.Stderr, serveRole(role, os.Getenv(urlVariable)))
		os.Exit(1)
	}
	url, stop, err := private.RedisURL(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sharedURL = url
	code := m.Run()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// patience is how long a test waits for what has to happen by itself.
const patience = 20 * time.Second

// roomy is a budget for tests that are not about the budget: a busy machine must not fail them.
const roomy = 5 * time.Second

// instance is a forebay as far as this tier sees it: a store, its change log and its clock.
type instance struct {
	*redis.Store
	cachetest.Env
	set  *metrics.Set
	logs *lines
	stop func() // ends Run; at the end of the test by itself
}

// prefix returns keys of the test's own on the shared server.
func prefix() string { return "test:" + rand.Text() + ":" }

// start makes an instance and runs it, without waiting for anything.
func start(t testing.TB, env cachetest.Env, cfg redis.Config) *instance {
	t.Helper()
	i := &instance{Env: env, set: metrics.NewSet(), logs: new(lines)}
	var err error
	i.Store, err = redis.New(cfg, redis.Deps{Log: env.Log, Clock: env.Clock, Logger: slog.New(slog.NewTextHandler(i.logs, nil)), Metrics: i.set})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	ended := false
	i.stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	}
	t.Cleanup(i.stop)
	return i
}

// join is start for an instance that works before join returns.
func join(t testing.TB, cfg redis.Config) *instance {
	t.Helper()
	i := start(t, newEnv(), cfg)
	i.await(t, redis.Up)
	return i
}

func newEnv() cachetest.Env {
	return cachetest.Env{Log: cache.NewChangeLog(rand.Text()), Clock: cache.NewClock(time.Now())}
}

// await waits for a state of health, and returns its reason.
func (i *instance) await(t testing.TB, want string) (reason string) {
	t.Helper()
	eventually(t, func() (bool, string) {
		var state string
		state, reason = i.Health()
		return state == want, "health is " + state + ": " + reason + ", want " + want
	})
	return reason
}

// eventually repeats until ok, or fails the test saying what it was like last.
func eventually(t testing.TB, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		good, last := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, last)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// metric returns a series' value; 0 if it is not there.
func (i *instance) metric(series string) int {
	var b bytes.Buffer
	i.set.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if value, found := strings.CutPrefix(line, series+" "); found {
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int(n)
		}
	}
	return 0
}

// response makes one that other instances may use.
func (i *instance) response(key, body string) *cache.StoredResponse {
	now := i.Clock.Now()
	return &cache.StoredResponse{
		Traits: &cache.Traits{Status: 200, ContentType: []byte("application/json"), Rule: "GET /things/{id}", TTLOnly: true, StaleWhileRevalidate: time.Minute},
		Body:   []byte(body), ResponseTime: cache.MomentOf(i.Clock.Wall(now)), Date: cache.MomentOf(i.Clock.Wall(now)), Stored: now, Lifetime: time.Minute,
		Standing: i.Log.Stand([]byte(key), i.Log.Position(), cache.AllSeeing(), []cache.Dependency{cache.Tag("things"), cache.Rule("GET /things/{id}")}),
	}
}

// put stores a response, and returns it.
func (i *instance) put(t testing.TB, key, body string) *cache.StoredResponse {
	t.Helper()
	r := i.response(key, body)
	if err := i.Set(t.Context(), []byte(key), r); err != nil {
		t.Fatalf("set %q: %v", key, err)
	}
	return r
}

// find returns what is stored under key.
func (i *instance) find(t testing.TB, key string) *cache.StoredResponse {
	t.Helper()
	r, err := i.Get(t.Context(), []byte(key))
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return r
}

// use is find for what may be served: current, as far as the instance knows.
func (i *instance) use(t testing.TB, key string) *cache.StoredResponse {
	t.Helper()
	if r := i.find(t, key); r != nil && r.Standing.Check() == cache.Current {
		return r
	}
	return nil
}

// purge applies a purge as the admin listener does: here, then everywhere.
func (i *instance) purge(t testing.TB, p cache.Purge) {
	t.Helper()
	i.Log.Purge(p)
	if err := i.Purge(t.Context(), p); err != nil {
		t.Fatalf("purge: %v", err)
	}
}

// awaitOutdated waits until the response may not be served any more.
func awaitOutdated(t testing.TB, r *cache.StoredResponse) {
	t.Helper()
	eventually(t, func() (bool, string) { v := r.Standing.Check(); return v == cache.Outdated, v.String() })
}

var things = cache.Purge{Dependencies: []cache.Dependency{cache.Tag("things")}}

// connect returns a plain client.
func connect(t testing.TB, url string) *goredis.Client {
	t.Helper()
	o, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// valueKeys returns the keys of the values under a prefix.
func valueKeys(t testing.TB, c *goredis.Client, prefix string) []string {
	t.Helper()
	var all []string
	scan := c.Scan(t.Context(), 0, prefix+"r1:*", 1000).Iterator()
	for scan.Next(t.Context()) {
		all = append(all, scan.Val())
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestConformance(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T, env cachetest.Env) cache.Store {
		i := start(t, env, redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy})
		i.await(t, redis.Up)
		return i
	})
}
