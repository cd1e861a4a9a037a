package redis_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/cache/redis"
)

// pair makes two instances that share.
func pair(t *testing.T) (a, b *instance, cfg redis.Config) {
	t.Helper()
	cfg = redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy}
	return join(t, cfg), join(t, cfg), cfg
}

func TestWhatOneInstanceStoresAnotherFindsUnlessChangesConcernIt(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	a.put(t, "shared", "for all")
	exact := a.response("exact", "for the one that can judge it")
	exact.TTLOnly = false
	if err := a.Set(t.Context(), []byte("exact"), exact); err != nil {
		t.Fatal(err)
	}
	if r := b.find(t, "shared"); r == nil || string(r.Body) != "for all" || r.Standing.Check() != cache.Current {
		t.Errorf("the other instance found %v", r)
	}
	if r := b.find(t, "exact"); r != nil {
		t.Errorf("an instance found what another's snapshots and positions judge: %v", r)
	}
	if a.find(t, "exact") == nil {
		t.Error("the instance that stored it does not find it")
	}
	a.Log.NewEpoch("next")
	if r := a.find(t, "exact"); r != nil {
		t.Errorf("found in another epoch: %v", r)
	}
	if got := b.metric(`forebay_redis_gets_total{result="epoch"}`); got != 1 {
		t.Errorf("counted %d values of another epoch, want 1", got)
	}
}

func TestAPurgeOfOneInstanceReachesAllThatAnotherHolds(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]cache.Purge{
		"tag":        things,
		"everything": {Dependencies: []cache.Dependency{cache.Everything}},
		"prefix":     {KeyPrefixes: [][]byte{[]byte("thing/")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, cfg := pair(t)
			held := b.put(t, "thing/1", "one") // what b has in memory stands in b's log
			a.put(t, "thing/2", "two")
			found := b.find(t, "thing/2")
			a.purge(t, p)
			if r := a.find(t, "thing/1"); r != nil {
				t.Errorf("the purger found %v", r)
			}
			awaitOutdated(t, held)
			awaitOutdated(t, found)
			if r := b.use(t, "thing/2"); r != nil {
				t.Errorf("the other instance found %v", r)
			}
			if r := join(t, cfg).find(t, "thing/2"); r != nil {
				t.Errorf("an instance that came later found %v", r)
			}
			b.put(t, "thing/1", "again")
			if r := a.find(t, "thing/1"); r == nil || string(r.Body) != "again" {
				t.Errorf("stored after the purge, and found %v", r)
			}
		})
	}
}

func TestASoftPurgeReachesOthersAsSoft(t *testing.T) {
	t.Parallel()
	a, b, cfg := pair(t)
	held := b.put(t, "k", "body")
	a.purge(t, cache.Purge{Dependencies: things.Dependencies, Soft: true})
	eventually(t, func() (bool, string) { v := held.Standing.Check(); return v == cache.Softened, v.String() })
	if r := join(t, cfg).find(t, "k"); r == nil || r.Standing.Check() != cache.Softened {
		t.Errorf("an instance that came later found %v", r)
	}
}

func TestAWriteOfOneInstanceOutdatesWhatAnotherHolds(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	held := b.put(t, "k", "body")
	held.Standing = b.Log.Stand([]byte("k"), b.Log.Position(), cache.AllSeeing(), []cache.Dependency{cache.Relation(7)})
	other := b.Log.Stand([]byte("o"), b.Log.Position(), cache.AllSeeing(), []cache.Dependency{cache.Relation(8)})
	exact := b.Log.Stand([]byte("e"), b.Log.Position(), cache.Snapshot{Xmin: 10, Xmax: 10}, []cache.Dependency{cache.Relation(7)})
	a.Change(cache.Change{Xid: 12, Dependencies: []cache.Dependency{cache.Relation(7)}})
	eventually(t, func() (bool, string) { v := exact.Check(); return v == cache.Outdated, v.String() })
	if other.Check() != cache.Current {
		t.Errorf("a table that was not written is %s", other.Check())
	}
}

func TestManyPurgesOfTwoInstancesAreOneChain(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	const each = 100
	var wg sync.WaitGroup
	for _, i := range []*instance{a, b} {
		for w := range 4 {
			wg.Go(func() {
				for n := range each / 4 {
					i.purge(t, cache.Purge{Dependencies: []cache.Dependency{cache.Tag(fmt.Sprintf("%p/%d/%d", i, w, n))}})
				}
			})
		}
	}
	wg.Wait()
	for _, i := range []*instance{a, b} {
		eventually(t, func() (bool, string) {
			n := i.metric(`forebay_shared_log_entries_total{kind="purge"}`)
			return n == each, fmt.Sprintf("heard %d of %d", n, each)
		})
		if gaps, breaks := i.metric("forebay_shared_log_gaps_total"), i.metric("forebay_shared_log_breaks_total"); gaps+breaks != 0 {
			t.Errorf("%d gaps and %d breaks in a log that lost nothing", gaps, breaks)
		}
		i.await(t, redis.Up)
	}
}

func TestAPurgeHoldsAfterARestart(t *testing.T) {
	t.Parallel()
	a, _, cfg := pair(t)
	a.put(t, "k", "body")
	a.put(t, "spared", "body")
	a.purge(t, cache.Purge{KeyPrefixes: [][]byte{[]byte("k")}})
	a.stop()
	again := join(t, cfg)
	if r := again.find(t, "k"); r != nil {
		t.Errorf("found after a restart: %v", r)
	}
	if again.find(t, "spared") == nil {
		t.Error("a restart forgot what was not purged")
	}
}

// skipEntry adds two entries in one step and takes the first away, as the trimming of a log does that goes
// on while a reader is away. Both are copies of the last.
const skipEntry = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local f = {}
for n = 1, #last[2], 2 do f[last[2][n]] = last[2][n + 1] end
local lost = redis.call('XADD', KEYS[1], '*', 'i', f.i, 'p', last[1], 'b', f.b)
redis.call('XADD', KEYS[1], '*', 'i', f.i, 'p', lost, 'b', f.b)
return redis.call('XDEL', KEYS[1], lost)
`

func TestAGapInTheLogPurgesEverything(t *testing.T) {
	t.Parallel()
	a, b, cfg := pair(t)
	a.put(t, "k", "body")
	held := b.put(t, "held", "body")
	c := connect(t, cfg.URL)
	if err := c.Eval(t.Context(), skipEntry, []string{cfg.Prefix + "log"}).Err(); err != nil {
		t.Fatal(err)
	}
	awaitOutdated(t, held)
	eventually(t, func() (bool, string) { return a.metric("forebay_shared_log_gaps_total") == 1, "no gap was found" })
	for _, i := range []*instance{a, b, join(t, cfg)} {
		if r := i.use(t, "k"); r != nil {
			t.Errorf("found %v, from before what nobody knows", r)
		}
	}
	a.put(t, "k", "new")
	eventually(t, func() (bool, string) { return b.use(t, "k") != nil, "stored after the gap, and never believed" })
}

func TestAnEntryThatCannotBeReadPurgesEverything(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]any{
		"another version": {"i", "%s", "p", "%s", "b", "\x02\x01\x00\x00"},
		"not ours":        {"hello", "world"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, cfg := pair(t)
			a.put(t, "k", "body")
			held := b.put(t, "held", "body")
			c := connect(t, cfg.URL)
			if err := c.Do(t.Context(), append([]any{"XADD", cfg.Prefix + "log", "*"}, values...)...).Err(); err != nil {
				t.Fatal(err)
			}
			awaitOutdated(t, held)
			if r := b.use(t, "k"); r != nil {
				t.Errorf("found %v", r)
			}
			a.await(t, redis.Up)
			b.await(t, redis.Up)
			eventually(t, func() (bool, string) {
				a.put(t, "k", "new")
				return b.use(t, "k") != nil, "stored after the entry, and never believed"
			})
			held = b.put(t, "held", "body")
			a.purge(t, things)
			awaitOutdated(t, held)
		})
	}
}

func TestALogThatIsGoneBeginsAnewAndLosesNoPurge(t *testing.T) {
	t.Parallel()
	cfg := redis.Config{URL: sharedURL, Prefix: prefix(), Budget: roomy}
	a := join(t, cfg)
	way := newRelay(t, sharedURL)
	b := join(t, redis.Config{URL: way.url(), Prefix: cfg.Prefix, Budget: roomy})
	a.put(t, "k", "body")
	held := b.put(t, "held", "body")

	// b is away, a purges, and the log is lost before b comes back to read of it.
	way.block()
	b.await(t, redis.Down)
	a.purge(t, things)
	if err := connect(t, sharedURL).Del(t.Context(), cfg.Prefix+"log").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() (bool, string) { return a.metric("forebay_shared_log_breaks_total") == 1, "a does not notice" })
	if v := held.Standing.Check(); v == cache.Outdated {
		t.Fatal("b was not away")
	}
	way.unblock()
	awaitOutdated(t, held)
	b.await(t, redis.Up)
	for _, i := range []*instance{a, b, join(t, cfg)} {
		if r := i.use(t, "k"); r != nil {
			t.Errorf("believed from before the log began anew: %v", r)
		}
	}
	eventually(t, func() (bool, string) {
		a.put(t, "k", "new")
		return b.use(t, "k") != nil, "never believed again"
	})
}

func TestAnOldCopyOfTheServerIsNotBelieved(t *testing.T) {
	t.Parallel()
	a, b, cfg := pair(t)
	a.put(t, "k", "before the purge")
	c := connect(t, cfg.URL)
	logKey, valueKey := cfg.Prefix+"log", valueKeys(t, c, cfg.Prefix)[0]
	oldLog, err := c.Dump(t.Context(), logKey).Result()
	if err != nil {
		t.Fatal(err)
	}
	oldValue, err := c.Dump(t.Context(), valueKey).Result()
	if err != nil {
		t.Fatal(err)
	}
	a.purge(t, things)
	if err := c.RestoreReplace(t.Context(), logKey, 0, oldLog).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.RestoreReplace(t.Context(), valueKey, 0, oldValue).Err(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []*instance{a, b} {
		eventually(t, func() (bool, string) { return i.metric("forebay_shared_log_breaks_total") > 0, "not noticed" })
		i.await(t, redis.Up)
		if r := i.use(t, "k"); r != nil {
			t.Errorf("found %v: %s", r, r.Body)
		}
	}
	if r := join(t, cfg).find(t, "k"); r != nil {
		t.Errorf("an instance that came later found %v", r)
	}
}

// copyEntry appends a copy of the last entry, as the next.
const copyEntry = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local f = {}
for n = 1, #last[2], 2 do f[last[2][n]] = last[2][n + 1] end
return redis.call('XADD', KEYS[1], '*', 'i', f.i, 'p', last[1], 'b', f.b)
`

// tick waits until the server's clock shows another millisecond: entry ids are made of it.
func tick(t *testing.T, c *goredis.Client) {
	t.Helper()
	first := c.Time(t.Context()).Val().UnixMilli()
	eventually(t, func() (bool, string) {
		return c.Time(t.Context()).Val().UnixMilli() > first, "the server's clock stands still"
	})
}

func TestAnOldCopyThatGoesOnIsNotBelieved(t *testing.T) {
	t.Parallel()
	a, b, cfg := pair(t)
	a.put(t, "k", "before the purge")
	a.purge(t, cache.Purge{Dependencies: []cache.Dependency{cache.Tag("another")}})
	eventually(t, func() (bool, string) { return a.metric(`forebay_shared_log_pending_purges`) == 0, "not read back" })
	c := connect(t, cfg.URL)
	logKey := cfg.Prefix + "log"
	oldLog, err := c.Dump(t.Context(), logKey).Result()
	if err != nil {
		t.Fatal(err)
	}
	value, err := c.Dump(t.Context(), valueKeys(t, c, cfg.Prefix)[0]).Result()
	if err != nil {
		t.Fatal(err)
	}
	a.purge(t, things)
	for _, i := range []*instance{a, b} {
		eventually(t, func() (bool, string) { return i.use(t, "k") == nil, "the purge is not heard" })
	}
	tick(t, c)
	// A replica that had not heard of the purge takes over, and somebody writes to its log before anyone looks.
	_, err = c.TxPipelined(t.Context(), func(p goredis.Pipeliner) error {
		p.RestoreReplace(t.Context(), logKey, 0, oldLog)
		p.RestoreReplace(t.Context(), valueKeys(t, c, cfg.Prefix)[0], 0, value)
		p.Eval(t.Context(), copyEntry, []string{logKey})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []*instance{a, b} {
		eventually(t, func() (bool, string) { return i.metric("forebay_shared_log_breaks_total") > 0, "not noticed" })
	}
	if r := join(t, cfg).find(t, "k"); r != nil {
		t.Errorf("an instance that came later found %v", r)
	}
}

func TestARestartOfTheServerIsSurvived(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	cfg := redis.Config{URL: server.URL(), Prefix: prefix()}
	a, b := join(t, cfg), join(t, cfg)
	held := b.put(t, "k", "body")
	server.Kill()
	b.await(t, redis.Down)
	a.Log.Purge(things)
	if err := a.Purge(t.Context(), things); err == nil {
		t.Error("a purge that nobody can hear of yet is said to be shared")
	}
	if v := held.Standing.Check(); v != cache.Current {
		t.Fatalf("%s before anybody could know", v)
	}
	if err := server.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	awaitOutdated(t, held)
	a.await(t, redis.Up)
	b.await(t, redis.Up)
	a.put(t, "k", "new")
	eventually(t, func() (bool, string) {
		r, err := b.Get(t.Context(), []byte("k")) // which may come too late on a busy machine
		return err == nil && r != nil && r.Standing.Check() == cache.Current, fmt.Sprintf("nothing is shared any more: %v", err)
	})
}

// startServer starts a server of the test's own.
func startServer(t testing.TB, settings ...string) *private.Redis {
	t.Helper()
	server, err := private.StartRedis(context.Background(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// freeze stops the server where it is, until thaw or the end of the test.
func freeze(t testing.TB, server *private.Redis) {
	t.Helper()
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Signal(syscall.SIGCONT) })
}

func thaw(t testing.TB, server *private.Redis) {
	t.Helper()
	if err := server.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
