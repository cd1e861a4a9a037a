package redis_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/cache/redis"
)

// startSentinel starts a sentinel that watches the master, alone and impatiently, and returns its address.
func startSentinel(t *testing.T, master string) string {
	t.Helper()
	binary, err := private.RedisBinary()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(address)
	host, masterPort, _ := net.SplitHostPort(strings.TrimPrefix(master, "redis://"))
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %q\nsentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n", port, dir, host, masterPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return address
}

func TestAFailoverBySentinelIsSurvivedAndBringsNothingBack(t *testing.T) {
	t.Parallel()
	master, replica := startServer(t), startServer(t)
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(master.URL(), "redis://"))
	r := connect(t, replica.URL())
	if err := r.ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	address := startSentinel(t, master.URL())
	s := goredis.NewSentinelClient(&goredis.Options{Addr: address})
	t.Cleanup(func() { _ = s.Close() })
	eventually(t, func() (bool, string) {
		replicas, err := s.Replicas(t.Context(), "main").Result()
		if err != nil || len(replicas) != 1 {
			return false, fmt.Sprint("sentinel knows of ", len(replicas), " replicas: ", err)
		}
		return replicas[0]["master-link-status"] == "ok", "the replica's link is " + replicas[0]["master-link-status"]
	})

	cfg := redis.Config{URL: "redis+sentinel://" + address + "/main", Prefix: prefix(), Budget: roomy}
	a, b := join(t, cfg), join(t, cfg)
	held := b.put(t, "k", "body")
	if a.use(t, "k") == nil {
		t.Fatal("what b stored a does not find")
	}
	if n, err := connect(t, master.URL()).Wait(t.Context(), 1, patience).Result(); n != 1 || err != nil {
		t.Fatalf("replicated to %d: %v", n, err)
	}
	// The replica falls behind, and the master dies with what it alone knows: the purge.
	if err := r.ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	a.purge(t, things)
	awaitOutdated(t, held)
	master.Kill()

	eventually(t, func() (bool, string) {
		reply, err := s.GetMasterAddrByName(t.Context(), "main").Result()
		return err == nil && "redis://"+net.JoinHostPort(reply[0], reply[1]) == replica.URL(), fmt.Sprint("the master is ", reply, err)
	})
	for _, i := range []*instance{a, b} {
		eventually(t, func() (bool, string) {
			return i.metric("forebay_shared_log_breaks_total") > 0, "the lost purge is not missed"
		})
		i.await(t, redis.Up)
	}
	for _, i := range []*instance{a, b, join(t, cfg)} {
		if r := i.use(t, "k"); r != nil {
			t.Errorf("what was purged is back: %s", r.Body)
		}
	}
	held = b.put(t, "k", "new")
	eventually(t, func() (bool, string) { return a.use(t, "k") != nil, "nothing is shared any more" })
	a.purge(t, cache.Purge{KeyPrefixes: [][]byte{[]byte("k")}})
	awaitOutdated(t, held)
}
