package redis

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"forebay/bench/private"
	"forebay/cache/cachetest"
)

// realServer is a Redis of one's own.
type realServer struct {
	t      *testing.T
	server *private.Redis
	client *goredis.Client
}

func newRealServer(t *testing.T) *realServer {
	t.Helper()
	server, err := private.StartRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	client := goredis.NewClient(&goredis.Options{Addr: server.Address(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return &realServer{t, server, client}
}

func (s *realServer) do(ctx context.Context, cmds []goredis.Cmder) error {
	if len(cmds) == 1 {
		if read, ok := cmds[0].(*goredis.XStreamSliceCmd); ok {
			read.Args()[4] = 1 // milliseconds: the world has one goroutine, which must not wait
		}
		return s.client.Process(ctx, cmds[0])
	}
	pipe := s.client.Pipeline()
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// must stops the test: what is done to a server is not to fail.
func (s *realServer) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// dump is the path of the file that the server finds when it starts.
func (s *realServer) dump() string {
	found, err := s.client.ConfigGet(context.Background(), "dir").Result()
	s.must(err)
	return filepath.Join(found["dir"], "dump.rdb")
}

func (s *realServer) copyOf() oracleCopy {
	ctx := context.Background()
	s.must(s.server.Save())
	old := oracleCopy{pieces: map[string]string{}}
	var err error
	old.dump, err = os.ReadFile(s.dump())
	s.must(err)
	keys, err := s.client.Keys(ctx, oraclePrefix+"*").Result()
	s.must(err)
	for _, key := range keys {
		piece, err := s.client.Dump(ctx, key).Result()
		s.must(err)
		old.pieces[key] = piece
	}
	return old
}

func (s *realServer) putBack(old oracleCopy, what int) {
	if what == allOfIt {
		path := s.dump()
		s.server.Kill()
		if old.dump == nil {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				s.t.Fatal(err)
			}
		} else {
			s.must(os.WriteFile(path, old.dump, 0o644))
		}
		s.must(s.server.Start(context.Background()))
		return
	}
	ctx := context.Background()
	keys, err := s.client.Keys(ctx, oraclePrefix+"*").Result()
	s.must(err)
	for _, key := range keys {
		if pieceOf(key) == what {
			s.must(s.client.Del(ctx, key).Err())
		}
	}
	for key, piece := range old.pieces {
		if pieceOf(key) == what {
			s.must(s.client.RestoreReplace(ctx, key, time.Hour, piece).Err())
		}
	}
}

func pieceOf(key string) int {
	switch {
	case strings.HasPrefix(key, oraclePrefix+"r1:"):
		return valuesOfIt
	case key == oracleLog:
		return logOfIt
	}
	return chainOfIt
}

func (s *realServer) cut(stream string, from, to int) {
	ctx := context.Background()
	entries, err := s.client.XRange(ctx, stream, "-", "+").Result()
	s.must(err)
	for _, e := range entries[from:to] {
		s.must(s.client.XDel(ctx, stream, e.ID).Err())
	}
}

func (s *realServer) length(stream string) int {
	n, err := s.client.XLen(context.Background(), stream).Result()
	s.must(err)
	return int(n)
}

func (s *realServer) turnClock(time.Duration) {}

// The same over real servers, which are killed, and started with the dumps that were made of them before.
func TestOracleOverTheChainOnRealServers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	seed := cachetest.Seed(t, uint64(time.Now().UnixNano()))
	w := newOracleWorld(seed, oracleRemoved{})
	w.pass = func(time.Duration) {} // it does by itself
	w.people(oracleInstances, newRealServer(t), newRealServer(t))
	defer w.end()
	const reads = 8_000
	w.run(reads)
	for n := 2; n <= 5 && w.stale == "" && w.counts.shared == 0; n++ {
		w.run(n * reads) // faults have come so close together that nothing was shared between them
	}
	if w.stale != "" {
		t.Fatal(w.stale)
	}
	if w.counts.shared == 0 {
		t.Fatalf("seed %d: nothing is shared: %v", seed, w.counts)
	}
	t.Logf("seed %d: %v", seed, w.counts)
}
