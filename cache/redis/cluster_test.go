package redis_test

import (
	"strings"
	"testing"

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
