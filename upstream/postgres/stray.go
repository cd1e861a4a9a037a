package postgres

import (
	"slices"
	"sync"
	"sync/atomic"

	"forebay/cache"
)

// strays are statements that commit by themselves and whose connection broke: they may still be running,
// and nobody will say when they end. Until their backend is gone nothing is stored, since nothing says
// what they change. Safe for concurrent use.
type strays struct {
	count atomic.Int64 // of list, so that a fill need not take the lock

	mu   sync.Mutex // guards all below
	list []backend
}

func (s *strays) add(b backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, b)
	s.count.Store(int64(len(s.list)))
}

// any reports whether there are some.
func (s *strays) any() bool { return s.count.Load() > 0 }

// all returns them.
func (s *strays) all() []backend {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// ended removes a stray whose backend is gone. Everything is outdated first: what it did is visible now,
// and a fill that looks here too late has asked before.
func (s *strays) ended(log *cache.ChangeLog, b backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}})
	s.list = slices.DeleteFunc(s.list, func(other backend) bool { return other == b })
	s.count.Store(int64(len(s.list)))
}
