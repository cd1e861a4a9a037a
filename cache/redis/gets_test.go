package redis_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache/redis"
)

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
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
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
