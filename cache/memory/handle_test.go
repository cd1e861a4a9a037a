package memory_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"forebay/cache"
	"forebay/cache/memory"
)

func TestAHandleLeadsNowhereOnceItsResponseGoes(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*testing.T, *fixture, *cache.StoredResponse){
		"stored anew": func(t *testing.T, f *fixture, _ *cache.StoredResponse) { f.put(t, "k", f.response("k", 2)) },
		"replaced": func(t *testing.T, f *fixture, old *cache.StoredResponse) {
			if !f.Replace([]byte("k"), old, f.response("k", 2)) {
				t.Error("not replaced")
			}
		},
		"refused": func(t *testing.T, f *fixture, _ *cache.StoredResponse) { f.put(t, "k", f.response("k", 1<<20)) },
		"deleted": func(t *testing.T, f *fixture, _ *cache.StoredResponse) {
			if err := f.Delete(t.Context(), []byte("k")); err != nil {
				t.Error(err)
			}
		},
		"deleted by prefix": func(_ *testing.T, f *fixture, _ *cache.StoredResponse) { f.DeletePrefix([]byte("k")) },
		"cleared":           func(_ *testing.T, f *fixture, _ *cache.StoredResponse) { f.Clear() },
		"evicted": func(t *testing.T, f *fixture, _ *cache.StoredResponse) {
			for i := 0; f.Glance("k") != nil && i < 100_000; i++ {
				other := fmt.Sprint("other ", i)
				f.put(t, other, f.response(other, 1000))
				f.Lookup([]byte(other))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t, 64<<10)
			r := f.response("k", 1)
			f.put(t, "k", r)
			var h memory.Handle
			if f.Attach(&h, "k", r); h.Response() != r {
				t.Fatal("the handle does not lead to what is stored")
			}
			remove(t, f, r)
			if f.Glance("k") == r {
				t.Fatal("the response is still stored")
			}
			if h.Response() != nil {
				t.Error("the handle leads to what is not stored any more")
			}
			if f.Attach(&h, "k", r); h.Response() != nil {
				t.Error("a handle was attached to what is not stored any more")
			}
			gone := weak.Make(r)
			r = nil
			for range 1000 { // the store's own queues let go of it a little later
				if runtime.GC(); gone.Value() == nil {
					return
				}
			}
			t.Error("what is not stored any more is kept in memory")
		})
	}
}

func TestAResponseHasOneHandle(t *testing.T) {
	t.Parallel()
	f := open(t, 64<<10)
	first, second := f.response("1", 1), f.response("2", 1)
	f.put(t, "1", first)
	f.put(t, "2", second)
	var h, other memory.Handle
	f.Attach(&h, "1", first)
	f.Attach(&other, "1", first)
	if h.Response() != nil || other.Response() != first {
		t.Error("two handles lead to one response, so that one of them would outlive it")
	}
	f.Attach(&other, "2", second)
	f.Clear()
	f.put(t, "1", first)
	if f.Attach(&h, "1", first); h.Response() != first || other.Response() != nil {
		t.Error("a handle that went on to another response is still known by its first")
	}
	if f.Detach(&h); h.Response() != nil {
		t.Error("a detached handle leads somewhere")
	}
}

// TestAHandleIsNeverBehindTheStore: whoever asks after something was stored does not get what was there before.
func TestAHandleIsNeverBehindTheStore(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	const keys, versions = 4, 3000
	f := open(t, 1<<20)
	var stored [keys]atomic.Int64
	var handles [keys]memory.Handle
	ended := make(chan struct{})
	var writers, readers sync.WaitGroup
	for k := range keys {
		key := fmt.Sprint("key ", k)
		writers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(k)))
			for v := int64(1); v <= versions; v++ {
				r := f.response(key, int(v))
				if random.IntN(4) == 0 {
					_ = f.Delete(t.Context(), []byte(key))
				}
				f.put(t, key, r)
				stored[k].Store(v)
				f.Attach(&handles[k], key, r)
			}
		})
		readers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(keys+k)))
			for {
				select {
				case <-ended:
					return
				default:
				}
				atLeast := stored[k].Load()
				if r := handles[k].Response(); r != nil && int64(len(r.Body)) < atLeast {
					t.Errorf("seed %d: version %d of %s was had after %d was stored", seed, len(r.Body), key, atLeast)
					return
				}
				if r := f.Glance(key); r != nil && random.IntN(2) == 0 {
					f.Attach(&handles[k], key, r)
				}
			}
		})
	}
	writers.Wait()
	close(ended)
	readers.Wait()
}

func TestHitsAreTracedMoreOftenWhenRoomGetsScarce(t *testing.T) {
	t.Parallel()
	f := open(t, 1<<20)
	roomy := f.TraceOneIn()
	for i := range 2000 {
		key := fmt.Sprint("key ", i)
		f.put(t, key, f.response(key, 1000))
	}
	if scarce := f.TraceOneIn(); scarce >= roomy || scarce == 0 {
		t.Errorf("one hit in %d is traced in a full store, and in an empty one, one in %d", scarce, roomy)
	}
}
