package redis_test

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"

	"forebay/cache"
	"forebay/cache/redis"
)

// brief is how long a call on a server that does not answer may take here. The budget is a small part of
// it; what is far above would wait for something else.
const brief = time.Second

// timed runs a call, and fails the test if it takes longer than brief.
func timed(t *testing.T, call func(context.Context) error) error {
	t.Helper()
	start := time.Now()
	err := call(t.Context())
	if took := time.Since(start); took > brief {
		t.Errorf("took %s", took)
	}
	return err
}

func (i *instance) getError(ctx context.Context) error {
	_, err := i.Get(ctx, []byte("k"))
	return err
}

func TestAFrozenServerCostsOneBudgetAndThenNothing(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	i := join(t, redis.Config{URL: server.URL(), Prefix: prefix(), Budget: 20 * time.Millisecond})
	r := i.put(t, "k", "body")
	freeze(t, server)
	calls := []func(context.Context) error{
		i.getError,
		func(ctx context.Context) error { return i.Set(ctx, []byte("k"), r) },
		func(ctx context.Context) error { return i.Delete(ctx, []byte("k")) },
		func(ctx context.Context) error { return i.Purge(ctx, things) },
	}
	for n, call := range calls {
		if err := timed(t, call); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call %d: %v, want the end of the budget", n, err)
		}
	}
	for range 5 {
		_ = timed(t, i.getError)
	}
	const failed = `forebay_redis_gets_total{result="error"}`
	before := i.metric(failed)
	if err := timed(t, i.getError); !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, redis.ErrUnknown) {
		t.Errorf("after several failures: %v, want not even to try", err)
	}
	if i.metric(failed) != before {
		t.Error("a call that the breaker stopped is counted as one that Redis failed")
	}
	reason := i.await(t, redis.Down)
	if !strings.Contains(reason, "no answer in time") || strings.Contains(reason, "127.0.0.1") {
		t.Errorf("health says %q", reason)
	}
	thaw(t, server)
	eventually(t, func() (bool, string) {
		got, err := i.Get(t.Context(), []byte("k"))
		if got == nil && err == nil { // the frozen server did delete it
			i.put(t, "k", "body")
		}
		return got != nil, "does not come back"
	})
	i.await(t, redis.Up)
}

func TestTheCallersOwnDeadlineIsKept(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	i := join(t, redis.Config{URL: server.URL(), Prefix: prefix(), Budget: time.Hour})
	freeze(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := timed(t, func(context.Context) error { return i.getError(ctx) }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the end of the caller's time", err)
	}
}

// watchedContext tells when somebody begins to wait for its end.
type watchedContext struct {
	context.Context
	once sync.Once
	way  chan struct{}
}

func (w *watchedContext) Done() <-chan struct{} {
	w.once.Do(func() { close(w.way) })
	return w.Context.Done()
}

func TestACallerWhoLeavesSaysNothingOfTheServer(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	i := join(t, redis.Config{URL: server.URL(), Prefix: prefix(), Budget: 100 * time.Millisecond})
	for range 20 {
		freeze(t, server)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		under := &watchedContext{Context: ctx, way: make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- i.getError(under) }()
		select {
		case <-under.way:
		case err := <-done:
			t.Fatalf("%v before anybody left", err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want cancelled", err)
		}
		thaw(t, server)
	}
	if n := i.logs.count("breaker opened"); n != 0 {
		t.Error("twenty callers who left opened the breaker")
	}
}

func TestAServerThatRefusesIsLeftOut(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "redis://" + l.Addr().String()
	_ = l.Close()
	i := start(t, newEnv(), redis.Config{URL: url, Prefix: prefix()})
	if err := timed(t, i.getError); !errors.Is(err, redis.ErrUnknown) {
		t.Errorf("get: %v", err)
	}
	if err := timed(t, func(ctx context.Context) error { return i.Set(ctx, []byte("k"), i.response("k", "body")) }); !errors.Is(err, redis.ErrUnknown) {
		t.Errorf("set: %v", err)
	}
	eventually(t, func() (bool, string) {
		state, reason := i.Health()
		return state == redis.Down && strings.Contains(reason, "connection refused"), state + ": " + reason
	})
	if _, reason := i.Health(); strings.Contains(reason, l.Addr().String()) {
		t.Errorf("health shows the address: %s", reason)
	}
	if n := i.logs.count("cannot follow the shared log"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
}

func TestAFullServerIsReadAndSaysSo(t *testing.T) {
	t.Parallel()
	server := startServer(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	i := join(t, redis.Config{URL: server.URL(), Prefix: prefix(), Budget: roomy})
	i.put(t, "k", "body")
	big := strings.Repeat("x", 300_000)
	eventually(t, func() (bool, string) {
		err := i.Set(t.Context(), []byte("big"+rand.Text()), i.response("big", big))
		return err != nil, "three megabytes take everything"
	})
	if state, reason := i.Health(); state != redis.Degraded || !strings.Contains(reason, "maxmemory") {
		t.Errorf("health is %s: %s", state, reason)
	}
	if err := i.Set(t.Context(), []byte("next"), i.response("next", "body")); err != nil {
		t.Errorf("the next is refused with %v: it should not even have been asked for", err)
	}
	if i.metric(`forebay_cache_store_rejected_total{tier="redis",reason="full"}`) < 2 {
		t.Error("refusals were not counted")
	}
	if i.find(t, "k") == nil {
		t.Error("what was there is not read any more")
	}
	c := connect(t, server.URL())
	if err := c.ConfigSet(t.Context(), "maxmemory", "100mb").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() (bool, string) {
		i.put(t, "room", "body")
		state, reason := i.Health()
		return state == redis.Up, state + ": " + reason
	})
}

func TestAPurgeIsHeardWhenTheServerIsFull(t *testing.T) {
	t.Parallel()
	server := startServer(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	cfg := redis.Config{URL: server.URL(), Prefix: prefix(), Budget: roomy}
	a, b := join(t, cfg), join(t, cfg)
	held := b.put(t, "k", "body")
	c := connect(t, server.URL())
	for n := 0; ; n++ {
		if c.Set(t.Context(), "filler"+rand.Text(), strings.Repeat("x", 10_000), 0).Err() != nil {
			break
		}
		if n > 10_000 {
			t.Fatal("the server takes everything")
		}
	}
	a.purge(t, things)
	awaitOutdated(t, held)
}

func TestWhatIsNotOursUnderOurKeysIsAMiss(t *testing.T) {
	t.Parallel()
	cfg := redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy}
	i := join(t, cfg)
	i.put(t, "k", "body of some length")
	c := connect(t, cfg.URL)
	key := valueKeys(t, c, cfg.Prefix)[0]
	good, err := c.Get(t.Context(), key).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	damage := func(at int, with byte) []byte {
		b := slices.Clone(good)
		b[at%len(b)] ^= with
		return b
	}
	garbage := map[string][]byte{
		"empty": {}, "text": []byte("hello"), "cut short": good[:len(good)-1], "only the head": good[:24], "longer": append(slices.Clone(good), 0),
		"another version": damage(4, 3), "another magic": damage(0, 1), "all zero": make([]byte, len(good)),
	}
	for n := range 200 {
		garbage["bit "+string(rune('0'+n))] = damage(n*7, 1<<(n%8))
	}
	seed := [2]uint64{mathrand.Uint64(), mathrand.Uint64()}
	noise := mathrand.New(mathrand.NewPCG(seed[0], seed[1]))
	random := make([]byte, 500)
	for n := range random {
		random[n] = byte(noise.Uint32())
	}
	garbage["noise"] = random
	for name, b := range garbage {
		if err := c.Set(t.Context(), key, b, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		if r, err := i.Get(t.Context(), []byte("k")); r != nil || err != nil {
			t.Errorf("%s (seed %v): %v, %v", name, seed, r, err)
		}
	}
	if got := i.metric(`forebay_redis_gets_total{result="garbage"}`); got != len(garbage) {
		t.Errorf("counted %d, want %d", got, len(garbage))
	}
	if i.metric(`forebay_redis_invalid_values_total{reason="version"}`) == 0 {
		t.Error("values of another version were not told apart")
	}
	i.put(t, "k", "new")
	if r := i.find(t, "k"); r == nil || string(r.Body) != "new" {
		t.Errorf("stored over the garbage, and found %v", r)
	}
}

func TestAnotherTypeUnderOurKeyIsAMissAndNoFault(t *testing.T) {
	t.Parallel()
	cfg := redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy}
	i := join(t, cfg)
	i.put(t, "k", "body")
	c := connect(t, cfg.URL)
	key := valueKeys(t, c, cfg.Prefix)[0]
	c.Del(t.Context(), key)
	if err := c.LPush(t.Context(), key, "x").Err(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if r, err := i.Get(t.Context(), []byte("k")); r != nil || err != nil {
			t.Fatalf("%v, %v", r, err)
		}
	}
	i.put(t, "k", "new")
	if i.find(t, "k") == nil {
		t.Error("stored over it, and not found")
	}
	if state, reason := i.Health(); state != redis.Up {
		t.Errorf("health is %s: %s", state, reason)
	}
}

func TestAKeyWithTheSameHashIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	cfg := redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy}
	i := join(t, cfg)
	i.put(t, "mine", "my body")
	c := connect(t, cfg.URL)
	mine := valueKeys(t, c, cfg.Prefix)[0]
	i.put(t, "yours", "your body")
	for _, key := range valueKeys(t, c, cfg.Prefix) {
		if key != mine {
			if err := c.Copy(t.Context(), mine, key, 0, true).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r := i.find(t, "yours"); r != nil {
		t.Errorf("another's response: %s", r.Body)
	}
}

func TestTheServerForgetsWithTheLifetime(t *testing.T) {
	t.Parallel()
	cfg := redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy}
	i := join(t, cfg)
	i.put(t, "k", "body")
	c := connect(t, cfg.URL)
	ttl, err := c.PTTL(t.Context(), valueKeys(t, c, cfg.Prefix)[0]).Result()
	if err != nil {
		t.Fatal(err)
	}
	if ttl > 2*time.Minute || ttl < 110*time.Second {
		t.Errorf("kept for %s; the response has two minutes with its stale-while-revalidate", ttl)
	}
	if ttl, err := c.TTL(t.Context(), cfg.Prefix+"log").Result(); err != nil || ttl >= 0 {
		t.Errorf("the log expires in %s, %v", ttl, err)
	}
}

func TestAnotherInstanceGoesOnWithTheAge(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	r := a.response("k", "body")
	r.Stored -= cache.Instant(50 * time.Second)
	if err := a.Set(t.Context(), []byte("k"), r); err != nil {
		t.Fatal(err)
	}
	got := b.find(t, "k")
	if got == nil {
		t.Fatal("not found")
	}
	if age := got.AgeAt(b.Clock.Now()); age < 50*time.Second || age > 50*time.Second+patience {
		t.Errorf("age %s; it was 50s when it was stored", age)
	}
	if u := got.UseAt(b.Clock.Now() + cache.Instant(10*time.Second)); u != cache.Revalidatable {
		t.Errorf("%s at the age of a minute, which was its lifetime", u)
	}
}

func TestATooLargeResponseIsRefused(t *testing.T) {
	t.Parallel()
	cfg := redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy, MaxSize: 10_000}
	i := join(t, cfg)
	i.put(t, "k", strings.Repeat("x", 20_000))
	if i.find(t, "k") != nil || i.metric(`forebay_cache_store_rejected_total{tier="redis",reason="too-large"}`) != 1 {
		t.Error("stored, or not counted")
	}
}

func TestAfterRunNothingIsAsked(t *testing.T) {
	t.Parallel()
	i := join(t, redis.Config{URL: sharedURL, Prefix: prefix()})
	r := i.put(t, "k", "body")
	i.stop()
	if err := i.getError(t.Context()); !errors.Is(err, redis.ErrUnknown) {
		t.Errorf("get: %v", err)
	}
	if err := i.Set(t.Context(), []byte("k"), r); !errors.Is(err, redis.ErrUnknown) {
		t.Errorf("set: %v", err)
	}
}
