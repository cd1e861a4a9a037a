package memory_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"

	"forebay/cache"
	"forebay/cache/cachetest"
	"forebay/cache/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a store and what it works with.
type fixture struct {
	*memory.Store
	log   *cache.ChangeLog
	clock cache.Clock
	set   *metrics.Set
}

func open(t testing.TB, size int) *fixture {
	t.Helper()
	f := &fixture{log: cache.NewChangeLog("test"), clock: cache.NewClock(time.Now()), set: metrics.NewSet()}
	f.Store = memory.New(memory.Config{MaxBytes: size}, f.clock, f.set)
	t.Cleanup(f.Close)
	return f
}

func (f *fixture) response(key string, body int) *cache.StoredResponse {
	return &cache.StoredResponse{
		Traits: &cache.Traits{Status: 200, ContentType: []byte("application/json")}, Body: bytes.Repeat([]byte{'x'}, body),
		Stored: f.clock.Now(), Lifetime: time.Minute,
		Standing: f.log.Stand([]byte(key), f.log.Position(), cache.Snapshot{Xmin: 1, Xmax: 1}, []cache.Dependency{cache.Tag("t")}),
	}
}

func (f *fixture) put(t testing.TB, key string, r *cache.StoredResponse) {
	t.Helper()
	if err := f.Set(t.Context(), []byte(key), r); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) metric(name string) string {
	var b bytes.Buffer
	f.set.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return "absent"
}

func TestConformance(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T, env cachetest.Env) cache.Store {
		s := memory.New(memory.Config{MaxBytes: 64 << 20}, env.Clock, metrics.NewSet())
		t.Cleanup(s.Close)
		return s
	})
}

func TestTheBoundHoldsWhateverIsStored(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	f := open(t, limit)
	for i := range 20_000 {
		key := fmt.Sprintf("key/%d", i)
		f.put(t, key, f.response(key, i%3000))
	}
	st := f.Stats()
	if st.Bytes > limit*11/10 || st.Entries == 0 || st.EvictedSize == 0 {
		t.Errorf("after 20000 entries: %+v", st)
	}
	entries := func() (metric, stats string) {
		return f.metric(`forebay_cache_entries{tier="memory"}`), fmt.Sprint(f.Stats().Entries)
	}
	metric, stats := entries()
	for range 20_000 { // evictions that are still under way
		if metric == stats {
			break
		}
		runtime.Gosched()
		metric, stats = entries()
	}
	if metric != stats {
		t.Errorf("forebay_cache_entries %s, want %s", metric, stats)
	}
	if got := f.metric(`forebay_cache_evictions_total{tier="memory",reason="size"}`); got == "0" {
		t.Error("evictions were not counted")
	}
}

func TestAnEntryLargerThanTheBoundIsRefusedAndEvictsNothing(t *testing.T) {
	t.Parallel()
	f := open(t, 64<<10)
	f.put(t, "small", f.response("small", 100))
	f.put(t, "large", f.response("large", 100))
	f.put(t, "large", f.response("large", 65<<10))
	if f.Lookup([]byte("large")) != nil {
		t.Error("what the refused response would have replaced is still there")
	}
	if f.Lookup([]byte("small")) == nil {
		t.Error("the refused response evicted another")
	}
	if got := f.metric(`forebay_cache_store_rejected_total{tier="memory",reason="too-large"}`); got != "1" {
		t.Errorf("rejections counted: %s, want 1", got)
	}
}

func TestWhatIsOftenAskedForSurvivesAScan(t *testing.T) {
	t.Parallel()
	f := open(t, 1<<20)
	const popular, rounds = 50, 20_000
	hits := 0
	for i := range rounds {
		key := fmt.Sprintf("popular/%d", i%popular)
		if f.Lookup([]byte(key)) != nil {
			hits++
		} else {
			f.put(t, key, f.response(key, 1000))
		}
		once := fmt.Sprintf("scan/%d", i)
		f.put(t, once, f.response(once, 1000))
	}
	if hits < rounds*95/100 {
		t.Errorf("%d of %d lookups of popular responses were hits", hits, rounds)
	}
}

func TestReplaceOnlyWhatIsStillThere(t *testing.T) {
	t.Parallel()
	f := open(t, 1<<20)
	key := []byte("k")
	old := f.response("k", 10)
	f.put(t, "k", old)
	encoded := old.WithEncoding(cache.Encoding{Coding: "gzip", Body: []byte("z")})
	if !f.Replace(key, old, encoded) || f.Lookup(key) != encoded {
		t.Fatal("did not replace what is stored")
	}
	if f.Replace(key, old, old.WithEncoding(cache.Encoding{Coding: "br"})) {
		t.Error("replaced although another response is stored by now")
	}
	if f.Replace([]byte("absent"), old, encoded) || f.Lookup([]byte("absent")) != nil {
		t.Error("replaced what was not there")
	}
	key[0] = 'x'
	if f.Lookup([]byte("k")) != encoded {
		t.Error("the store kept the caller's key bytes")
	}
}

func TestReplacingKeepsTheDeadline(t *testing.T) {
	t.Parallel()
	f := open(t, 1<<20)
	r := f.response("k", 10)
	r.Lifetime = 50 * time.Millisecond
	f.put(t, "k", r)
	f.Replace([]byte("k"), r, r.WithEncoding(cache.Encoding{Coding: "gzip"}))
	deadline := time.Now().Add(20 * time.Second)
	for f.Lookup([]byte("k")) != nil {
		if time.Now().After(deadline) {
			t.Fatal("an added encoding made the response live on")
		}
	}
}

func TestDeletePrefixFreesOnlyWhatBeginsWithIt(t *testing.T) {
	t.Parallel()
	f := open(t, 1<<20)
	for _, key := range []string{"a/1", "a/2", "a", "b/a/1"} {
		f.put(t, key, f.response(key, 10))
	}
	if n := f.DeletePrefix([]byte("a/")); n != 2 {
		t.Errorf("deleted %d, want 2", n)
	}
	if f.Lookup([]byte("a/1")) != nil || f.Lookup([]byte("a")) == nil || f.Lookup([]byte("b/a/1")) == nil {
		t.Error("deleted the wrong ones")
	}
	f.Clear()
	if st := f.Stats(); st.Entries != 0 {
		t.Errorf("%d entries after Clear", st.Entries)
	}
}

func TestStatsTellExpiredFromFresh(t *testing.T) {
	t.Parallel()
	f := open(t, 1<<20)
	f.put(t, "fresh", f.response("fresh", 10))
	late := f.response("late", 10)
	late.Lifetime, late.StaleIfError = 0, time.Hour
	f.put(t, "late", late)
	none := f.response("none", 10)
	none.Lifetime = 0
	f.put(t, "none", none)
	st := f.Stats()
	if st.Entries != 2 || st.Expired != 1 || st.Rejected != 1 {
		t.Errorf("%+v, want 2 entries, 1 of them expired, 1 rejected", st)
	}
	n := 0
	for key, r := range f.All() {
		if r == nil || f.Lookup([]byte(key)) != r {
			t.Errorf("All gave %q %v", key, r)
		}
		n++
	}
	if n != 2 {
		t.Errorf("All gave %d entries", n)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	f := open(t, 1<<20)
	f.put(t, "GET /things/1", f.response("GET /things/1", 1000))
	key := []byte("GET /things/1")
	if n := testing.AllocsPerRun(1000, func() {
		if f.Lookup(key).Standing.Check() != cache.Current {
			t.Fatal("not current")
		}
	}); n != 0 {
		t.Errorf("%v allocations a lookup", n)
	}
}

func TestBodiesAreCountedAsLongAsTheyAreStored(t *testing.T) {
	t.Parallel()
	f := open(t, 256<<10)
	check := func(when string) {
		t.Helper()
		want := 0
		for range 20_000 { // evictions that are still under way
			want = 0
			for _, r := range f.All() {
				want += len(r.Body)
				for _, e := range r.Encodings.All() {
					want += len(e.Body)
				}
			}
			if f.Bodies() == want {
				return
			}
			runtime.Gosched()
		}
		t.Errorf("%s: %d bytes of bodies counted, %d stored", when, f.Bodies(), want)
	}
	for i := range 2_000 {
		key := fmt.Sprintf("key/%d", i%700)
		r := f.response(key, i%900)
		f.put(t, key, r)
		f.put(t, key, r)
		f.Replace([]byte(key), r, r.WithEncoding(cache.Encoding{Coding: "gzip", Body: []byte("zzz")}))
		if i%5 == 0 {
			if err := f.Delete(t.Context(), []byte(key)); err != nil {
				t.Fatal(err)
			}
		}
		late := f.response("late", 100)
		late.Lifetime = 0
		f.put(t, "late", late)
		f.put(t, "large", f.response("large", 300<<10))
	}
	check("after all kinds of ends")
	if f.Bodies() == 0 || f.Stats().EvictedSize == 0 {
		t.Errorf("%+v", f.Stats())
	}
	f.DeletePrefix([]byte("key/1"))
	check("after a prefix went")
	f.Clear()
	check("after all went")
}

// Not parallel: it reads the whole process's heap.
func TestWhatIsCountedIsWhatIsHeld(t *testing.T) {
	const n = 10_000
	for _, body := range []int{0, 100, 1024, 5000, 20_000} {
		f := open(t, 512<<20)
		before := heap()
		for i := range n {
			key := fmt.Sprintf("GET /api/v1/clients?page=%d&limit=20&status=active", i)
			f.put(t, key, f.response(key, body))
		}
		held := heap() - before
		counted := f.Stats().Bytes
		if ratio := float64(counted) / float64(held); ratio < 0.93 || ratio > 1.25 {
			t.Errorf("bodies of %d: %d bytes an entry counted, %d held", body, counted/n, held/n)
		}
		f.Clear()
	}
}

// heap returns the bytes that live.
func heap() int {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestSuggestedMemoryLimitLeavesRoom(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 64 << 20, 1 << 30, 64 << 30} {
		if got := memory.SuggestedMemoryLimit(size); got < int64(size)+72<<20 || got > int64(size)*5/4+72<<20 {
			t.Errorf("%d for %d", got, size)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	f := open(b, 64<<20)
	keys := make([][]byte, 10_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "GET /api/v1/clients/%d", i)
		f.put(b, string(keys[i]), f.response(string(keys[i]), 1024))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if r := f.Lookup(keys[i%len(keys)]); r != nil && r.Standing.Check() != cache.Current {
				b.Fatal("not current")
			}
		}
	})
}
