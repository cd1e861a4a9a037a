package redis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
)

// maxLines bounds the memory of nodes that left a cluster long ago.
const maxLines = 1000

// gets reads values for many callers at once. Safe for concurrent use.
type gets struct {
	store   *Store
	client  goredis.UniversalClient
	cluster *goredis.ClusterClient // the same; nil: there is one node
	mapped  atomic.Bool            // the cluster's nodes are known, so that asking for a key's does not block
	one     *line                  // where there is one node

	mu     sync.RWMutex // guards all below
	nodes  map[*goredis.Client]*line
	closed bool
}

func (g *gets) init(s *Store) {
	g.store, g.client = s, s.client
	if c, ok := s.client.(*goredis.ClusterClient); ok {
		g.cluster, g.nodes = c, make(map[*goredis.Client]*line)
		return
	}
	g.one = newLine(s, s.client)
}

// close refuses what comes from now on, and returns when nothing is under way any more: once the client was
// closed, too, at once.
func (g *gets) close() error {
	g.mu.Lock()
	g.closed = true
	lines := []*line{g.one}
	for _, l := range g.nodes {
		lines = append(lines, l)
	}
	g.mu.Unlock()
	for _, l := range lines {
		if l != nil {
			l.close()
		}
	}
	err := g.client.Close()
	for _, l := range lines {
		if l != nil {
			<-l.idle
		}
	}
	return err
}

// get returns the bytes under the key, within the budget. It ends with ctx; what shares a round trip is then
// left to it, and nobody looks at what it brings.
//
// While the breaker is not closed every call goes its own way, so that one alone tries again. In a cluster
// that also does who meets a key that has moved: the client follows it, and learns where it is.
func (g *gets) get(ctx context.Context, key []byte, now cache.Instant) ([]byte, error) {
	if l := g.line(ctx, key); l != nil && !g.store.alarmed.Load() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := l.get(ctx, key, now)
		if g.cluster == nil || !elsewhere(err) {
			return b, err
		}
	}
	var b []byte
	err := g.store.guarded(ctx, func(ctx context.Context) (err error) {
		b, err = g.client.Get(ctx, string(key)).Bytes()
		return err
	})
	if err == nil || errors.Is(err, goredis.Nil) {
		g.mapped.Store(true)
	}
	return b, err
}

// line returns where Gets of the key wait for a round trip, or nil if that is not known.
func (g *gets) line(ctx context.Context, key []byte) *line {
	if g.cluster == nil {
		return g.one
	}
	if !g.mapped.Load() {
		return nil
	}
	node, err := g.cluster.MasterForKey(ctx, string(key))
	if err != nil {
		return nil
	}
	g.mu.RLock()
	l := g.nodes[node]
	g.mu.RUnlock()
	if l != nil {
		return l
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return nil
	case g.nodes[node] != nil:
		return g.nodes[node]
	case len(g.nodes) >= maxLines:
		return nil
	}
	l = newLine(g.store, node)
	g.nodes[node] = l
	return l
}

// elsewhere reports whether another node of the cluster has to be asked.
func elsewhere(err error) bool {
	if err == nil {
		return false
	}
	_, moved := goredis.IsMovedError(err)
	_, ask := goredis.IsAskError(err)
	return moved || ask || goredis.IsTryAgainError(err) || errors.Is(err, goredis.ErrClosed)
}
