package memory

import (
	"bytes"
	"context"
	"iter"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/VictoriaMetrics/metrics"
	"github.com/maypok86/otter/v2"

	"forebay/cache"
)

// Config bounds a Store.
type Config struct {
	MaxBytes int // what the entries may occupy in all; at least one entry's size to be of use
}

// Store keeps responses in this process's memory. Safe for concurrent use; it never blocks on I/O.
type Store struct {
	clock   cache.Clock
	max     int
	coarse  *otter.CoarseClock // by which entries are dropped; readers judge by clock
	entries *otter.Cache[string, *cache.StoredResponse]
	metrics *storeMetrics
	door    door
	handles handles
	half    level        // looked at by those who set
	bodies  atomic.Int64 // bytes of them that are stored
}

// clockResolution is how late entries may be dropped. Reading the precise time would cost two thirds of
// a Lookup (211 ns, with this 76 ns), and its caller reads it anyway.
const clockResolution = 10 * time.Millisecond

var _ cache.Store = (*Store)(nil)

// New makes an empty store.
func New(cfg Config, clock cache.Clock, set *metrics.Set) *Store {
	s := &Store{clock: clock, max: max(cfg.MaxBytes, 1), coarse: otter.NewCoarseClock(clockResolution)}
	s.metrics = newMetrics(set, s)
	s.entries = otter.Must(&otter.Options[string, *cache.StoredResponse]{
		Clock:            s.coarse,
		MaximumWeight:    uint64(s.max),
		Weigher:          weigh,
		ExpiryCalculator: otter.ExpiryWritingFunc(s.expiresAfter),
		OnAtomicDeletion: s.deleted,
	})
	return s
}

// Close stops the goroutines that drop expired entries, as does forgetting the store. It can still be used.
func (s *Store) Close() {
	s.entries.StopAllGoroutines()
	s.coarse.Stop()
}

// Lookup returns the response stored under key, or nil. The key is not kept. It allocates nothing. What
// has just expired may still be found: cache.StoredResponse.UseAt tells.
func (s *Store) Lookup(key []byte) *cache.StoredResponse {
	r, _ := s.entries.GetIfPresent(unsafe.String(unsafe.SliceData(key), len(key)))
	return r
}

// Glance is Lookup for a key that is a string already, and leaves no trace of having been asked: what is asked
// for over and over need not say so each time, and saying it costs a third of the lookup.
func (s *Store) Glance(key string) *cache.StoredResponse {
	e, _ := s.entries.GetEntryQuietly(key)
	return e.Value
}

// Get is Lookup for those who hold a cache.Store. A response that nothing may be done with any more is
// not returned even if it has not been dropped yet. The error is the context's.
func (s *Store) Get(ctx context.Context, key []byte) (*cache.StoredResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := s.Lookup(key)
	if r == nil || r.Remaining(s.clock.Now()) <= 0 {
		return nil, nil
	}
	return r, nil
}

// Set stores the response under a copy of key. A response that is too large or has no lifetime left is
// refused without an error, and what was stored under the key before goes. The error is the context's.
func (s *Store) Set(ctx context.Context, key []byte, r *cache.StoredResponse) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kept := own(key, r)
	switch {
	case r.Remaining(s.clock.Now()) <= 0:
		s.metrics.refusedLifetime.Inc()
	case int(weigh(kept, r)) > s.max:
		s.metrics.refusedSize.Inc()
	default:
		s.bodies.Add(bodiesOf(r))
		s.entries.Set(kept, r)
		s.half.look(s, roomLook, 1, 2)
		return nil
	}
	s.entries.Invalidate(kept)
	return nil
}

// Replace stores the new response only if the old one is still what is stored, and reports whether it did.
func (s *Store) Replace(key []byte, old, new *cache.StoredResponse) bool {
	if new.Remaining(s.clock.Now()) <= 0 {
		return false
	}
	kept, replaced := own(key, new), false
	if int(weigh(kept, new)) > s.max {
		s.metrics.refusedSize.Inc()
		return false
	}
	s.entries.Compute(kept, func(present *cache.StoredResponse, found bool) (*cache.StoredResponse, otter.ComputeOp) {
		if !found || present != old {
			return nil, otter.CancelOp
		}
		replaced = true
		s.bodies.Add(bodiesOf(new))
		return new, otter.WriteOp
	})
	return replaced
}

// Delete removes what is stored under key. The error is the context's.
func (s *Store) Delete(ctx context.Context, key []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.entries.Invalidate(unsafe.String(unsafe.SliceData(key), len(key)))
	return nil
}

// DeletePrefix removes every entry whose key begins with prefix and returns how many there were. It goes
// through all entries without holding up anybody. It frees memory; what must not be served any more is
// the business of cache.ChangeLog.Purge, which also reaches what is stored meanwhile.
func (s *Store) DeletePrefix(prefix []byte) int {
	deleted := 0
	for key := range s.entries.Keys() {
		if bytes.HasPrefix(unsafe.Slice(unsafe.StringData(key), len(key)), prefix) {
			if _, found := s.entries.Invalidate(key); found {
				deleted++
			}
		}
	}
	return deleted
}

// All goes through the entries in no order, weakly consistent: what changes meanwhile may or may not be seen.
func (s *Store) All() iter.Seq2[string, *cache.StoredResponse] { return s.entries.All() }

// Bodies returns how many bytes of bodies are stored: they have no pointers, so a collection of garbage does not
// look into them.
func (s *Store) Bodies() int { return int(s.bodies.Load()) }

// deleted accounts for an entry that goes: nobody has seen yet that it did. It runs under a lock of the cache and must
// not call it.
func (s *Store) deleted(e otter.DeletionEvent[string, *cache.StoredResponse]) {
	s.bodies.Add(-bodiesOf(e.Value))
	s.handles.gone(e.Value)
	s.metrics.deleted(e)
}

func bodiesOf(r *cache.StoredResponse) int64 {
	n := len(r.Body)
	for _, e := range r.Encodings.All() {
		n += len(e.Body)
	}
	return int64(n)
}

// Clear removes every entry.
func (s *Store) Clear() { s.entries.InvalidateAll() }

// expiresAfter keeps an entry for as long as something could be done with it: never a moment less,
// though the clock may be behind, and never nothing, which would be for ever.
func (s *Store) expiresAfter(e otter.Entry[string, *cache.StoredResponse]) time.Duration {
	return max(e.Value.Remaining(s.clock.Now()), 0) + clockResolution
}

// weigh returns the bytes that an entry occupies.
func weigh(key string, r *cache.StoredResponse) uint32 {
	n := entryOverhead + len(key) + r.Size()
	if s := r.Standing; s != nil && unsafe.StringData(s.Key()) != unsafe.StringData(key) {
		n += len(s.Key())
	}
	return uint32(min(n+n/roundingShare, math.MaxUint32))
}

// own returns a string of key that nobody else writes: that of the response's standing if it is the same.
func own(key []byte, r *cache.StoredResponse) string {
	if s := r.Standing; s != nil && s.Key() == string(key) {
		return s.Key()
	}
	return string(key)
}
