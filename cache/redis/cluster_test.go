package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
	"forebay/cache/cachetest"
	"forebay/cache/redis"
)

// startCluster starts a cluster of one node, and returns its URL.
func startCluster(t *testing.T) string {
	t.Helper()
	server := startServer(t, "--cluster-enabled", "yes")
	c := connect(t, server.URL())
	if err := c.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() (bool, string) {
		info, _ := c.ClusterInfo(t.Context()).Result()
		return strings.Contains(info, "cluster_state:ok"), info
	})
	return strings.Replace(server.URL(), "redis://", "redis+cluster://", 1)
}

func TestConformanceOnACluster(t *testing.T) {
	t.Parallel()
	url := startCluster(t)
	cachetest.Run(t, func(t *testing.T, env cachetest.Env) cache.Store {
		i := start(t, env, redis.Config{URL: url, Prefix: prefix(), Budget: roomy})
		i.await(t, redis.Up)
		return i
	})
}

func TestPurgesTravelThroughACluster(t *testing.T) {
	t.Parallel()
	cfg := redis.Config{URL: startCluster(t), Prefix: prefix(), Budget: roomy}
	a, b := join(t, cfg), join(t, cfg)
	held := b.put(t, "k", "body")
	if a.use(t, "k") == nil {
		t.Error("what b stored a does not find")
	}
	a.purge(t, things)
	awaitOutdated(t, held)
	if r := join(t, cfg).find(t, "k"); r != nil {
		t.Errorf("found after the purge: %v", r)
	}
}

func TestGetsOfAClusterGoToTheirNodesAndFollowAKeyThatMoves(t *testing.T) {
	t.Parallel()
	const keys = 100
	first, second := startServer(t, "--cluster-enabled", "yes"), startServer(t, "--cluster-enabled", "yes")
	a, b := connect(t, first.URL()), connect(t, second.URL())
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(second.URL(), "redis://"))
	err := errors.Join(
		a.ClusterAddSlotsRange(t.Context(), 0, 8191).Err(), b.ClusterAddSlotsRange(t.Context(), 8192, 16383).Err(),
		a.Do(t.Context(), "config", "set", "cluster-require-full-coverage", "no").Err(), a.ClusterMeet(t.Context(), host, port).Err(),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*goredis.Client{a, b} {
		eventually(t, func() (bool, string) {
			info, _ := c.ClusterInfo(t.Context()).Result()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_assigned:16384"), info
		})
	}
	cfg := redis.Config{URL: strings.Replace(first.URL(), "redis://", "redis+cluster://", 1), Prefix: prefix(), Budget: roomy}
	i := join(t, cfg)
	for n := range keys {
		i.put(t, fmt.Sprint(n), fmt.Sprint(n))
	}
	all := func(gone string) {
		t.Helper()
		var wg sync.WaitGroup
		for n := range keys {
			wg.Go(func() {
				r, err := i.Get(context.Background(), []byte(fmt.Sprint(n)))
				if want := fmt.Sprint(n) != gone; err != nil || (r != nil) != want || r != nil && string(r.Body) != fmt.Sprint(n) {
					t.Errorf("key %d: %v, %v", n, r, err)
				}
			})
		}
		wg.Wait()
	}
	all("none")
	if a.DBSize(t.Context()).Val() < keys/4 || b.DBSize(t.Context()).Val() < keys/4 {
		t.Error("the keys are not on both nodes")
	}

	// A slot of the second node becomes the first one's, without its key.
	gone, slot := "", 0
	for n := 0; gone == ""; n++ {
		slot = int(a.ClusterKeySlot(t.Context(), redisKey(cfg, fmt.Sprint(n))).Val())
		if b.ClusterCountKeysInSlot(t.Context(), slot).Val() == 1 {
			gone = fmt.Sprint(n)
		}
	}
	owner := a.ClusterMyID(t.Context()).Val()
	if err := b.Del(t.Context(), redisKey(cfg, gone)).Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*goredis.Client{a, b} {
		if err := c.Do(t.Context(), "cluster", "setslot", slot, "node", owner).Err(); err != nil {
			t.Fatal(err)
		}
	}
	all(gone)
	i.put(t, gone, gone)
	all("none")
	if state, reason := i.Health(); state != redis.Up {
		t.Errorf("health is %s: %s", state, reason)
	}
}
