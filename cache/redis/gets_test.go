package redis_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"forebay/cache/redis"
)

// redisKey returns where the value under a key is.
func redisKey(cfg redis.Config, key string) string {
	sum := sha256.Sum256([]byte(key))
	return cfg.Prefix + "r1:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// reads returns how often the server read from its connections.
func reads(t *testing.T, c *goredis.Client) int {
	t.Helper()
	info, err := c.Info(t.Context(), "stats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if text, found := strings.CutPrefix(line, "total_reads_processed:"); found {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the server does not say how often it read")
	return 0
}

func TestManyGetsAtOnceShareRoundTrips(t *testing.T) {
	t.Parallel()
	const callers = 400
	server := startServer(t)
	i := join(t, redis.Config{URL: server.URL(), Prefix: prefix(), Budget: roomy})
	for n := range callers {
		i.put(t, fmt.Sprint(n), fmt.Sprint(n))
	}
	c := connect(t, server.URL())
	before := reads(t, c)
	freeze(t, server)
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			r, err := i.Get(t.Context(), []byte(fmt.Sprint(n)))
			if err != nil || r == nil || string(r.Body) != fmt.Sprint(n) {
				t.Errorf("key %d: %v, %v", n, r, err)
			}
		})
	}
	go func() { // all but the last few are under way, or the count below says so
		time.Sleep(200 * time.Millisecond)
		_ = server.Signal(syscall.SIGCONT)
	}()
	wg.Wait()
	if took := reads(t, c) - before; took > callers/4 {
		t.Errorf("%d reads for %d values", took, callers)
	}
}

func TestACallerWhoLeavesASharedRoundTripDisturbsNobody(t *testing.T) {
	t.Parallel()
	const callers = 200
	server := startServer(t)
	i := join(t, redis.Config{URL: server.URL(), Prefix: prefix(), Budget: roomy})
	for n := range callers {
		i.put(t, fmt.Sprint(n), strings.Repeat(fmt.Sprintln(n), 1000))
	}
	for range 5 {
		var wg sync.WaitGroup
		for n := range callers {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if n%3 == 0 {
					go cancel()
				}
				r, err := i.Get(ctx, []byte(fmt.Sprint(n)))
				if r != nil && string(r.Body) != strings.Repeat(fmt.Sprintln(n), 1000) {
					t.Errorf("key %d has the body of %.10q", n, r.Body)
				}
				if n%3 != 0 && (r == nil || err != nil) {
					t.Errorf("key %d: %v, %v", n, r, err)
				}
			})
		}
		wg.Wait()
	}
	if state, reason := i.Health(); state != redis.Up {
		t.Errorf("health is %s: %s", state, reason)
	}
}

func TestManyWhoWaitForAFrozenServerAllLeaveWithTheBudget(t *testing.T) {
	t.Parallel()
	const callers = 300
	server := startServer(t)
	i := join(t, redis.Config{URL: server.URL(), Prefix: prefix(), Budget: 50 * time.Millisecond})
	i.put(t, "k", "body")
	freeze(t, server)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			err := timed(t, func(context.Context) error { return i.getError(context.Background()) })
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, redis.ErrUnknown) {
				t.Errorf("%v, want the end of the budget, or not even to try", err)
			}
		})
	}
	wg.Wait()
	i.await(t, redis.Down)
	thaw(t, server)
	eventually(t, func() (bool, string) {
		got, _ := i.Get(context.Background(), []byte("k"))
		return got != nil, "does not come back"
	})
}

func TestNeighboursInARoundTripHaveAnswersOfTheirOwn(t *testing.T) {
	t.Parallel()
	const callers = 120
	server := startServer(t)
	cfg := redis.Config{URL: server.URL(), Prefix: prefix(), Budget: roomy}
	i, c := join(t, cfg), connect(t, server.URL())
	kinds := map[string]int{}
	for n := range callers {
		i.put(t, fmt.Sprint(n), fmt.Sprint(n))
		key := redisKey(cfg, fmt.Sprint(n))
		var err error
		switch n % 4 {
		case 1:
			err = c.Set(t.Context(), key, "garbage", 0).Err()
		case 2:
			err = errors.Join(c.Del(t.Context(), key).Err(), c.LPush(t.Context(), key, "x").Err())
		case 3:
			err = c.Del(t.Context(), key).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	freeze(t, server)
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			r, err := i.Get(context.Background(), []byte(fmt.Sprint(n)))
			if err != nil || (r != nil) != (n%4 == 0) || r != nil && string(r.Body) != fmt.Sprint(n) {
				t.Errorf("key %d: %v, %v", n, r, err)
			}
		})
	}
	go func() { // whoever is late asks a server that runs: the answers are the same
		time.Sleep(100 * time.Millisecond)
		_ = server.Signal(syscall.SIGCONT)
	}()
	wg.Wait()
	for _, kind := range []string{"hit", "garbage", "miss", "error"} {
		kinds[kind] = i.metric(`forebay_redis_gets_total{result="` + kind + `"}`)
	}
	if want := map[string]int{"hit": callers / 4, "garbage": callers / 2, "miss": callers / 4, "error": 0}; !maps.Equal(kinds, want) {
		t.Errorf("counted %v, want %v", kinds, want)
	}
	if state, reason := i.Health(); state != redis.Up {
		t.Errorf("health is %s: %s", state, reason)
	}
}

func TestRunEndsARoundTripThatHangs(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	i := join(t, redis.Config{URL: server.URL(), Prefix: prefix(), Budget: time.Hour})
	freeze(t, server)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := i.getError(context.Background()); err == nil {
				t.Error("an answer of a frozen server")
			}
		})
	}
	under, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // by its end the others are under way or wait
	defer cancel()
	_ = i.getError(under)
	i.stop()
	wg.Wait()
}
