package proxy

import (
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/cache/memory"
	"forebay/rules"
)

// Positions and transaction ids do not compare: between an answer of the primary and one of a standby the times tell
// which of them cannot have seen more.
func TestAStandbysAnswerDoesNotReplaceOneThatOverlappedIt(t *testing.T) {
	t.Parallel()
	log := cache.NewChangeLog("test")
	clock := cache.NewClock(time.Now())
	start := time.Now()
	response := func(s cache.Snapshot, from, to time.Duration) *cache.StoredResponse {
		r := &cache.StoredResponse{Traits: &cache.Traits{}, Stored: clock.At(start.Add(to)), Standing: log.Stand(nil, log.Position(), s, nil)}
		r.RequestTime, r.ResponseTime = cache.MomentsOf(start.Add(from), start.Add(to))
		return r
	}
	primary, standby := cache.Snapshot{Xmin: 10, Xmax: 10}, cache.Snapshot{Replayed: 10}
	f := func(name string, kept, brought *cache.StoredResponse, want bool) {
		t.Helper()
		if got := sawMore(kept, brought); got != want {
			t.Errorf("%s: %v; want %v", name, got, want)
		}
	}
	f("a standby was asked before the primary had answered", response(primary, 1, 3), response(standby, 2, 4), true)
	f("a standby was asked after the primary had answered", response(primary, 1, 2), response(standby, 3, 4), false)
	f("the primary was asked before a standby had answered", response(standby, 2, 3), response(primary, 1, 4), true)
	f("the primary was asked after a standby had answered", response(standby, 1, 2), response(primary, 3, 4), false)
	f("a standby further on", response(cache.Snapshot{Replayed: 9}, 1, 2), response(standby, 1, 3), false)
	f("a standby further behind", response(standby, 1, 2), response(cache.Snapshot{Replayed: 9}, 1, 3), true)
}

func TestARefillThatComesBeforeItsChangeCanBeSeenIsNotNeedless(t *testing.T) {
	t.Parallel()
	log := cache.NewChangeLog("test")
	table := cache.Whole(7)
	f := func(name, tag string, snapshot cache.Snapshot, want bool) {
		t.Helper()
		asked := log.Position()
		log.Commit(cache.Change{Xid: 10, Dependencies: []cache.Dependency{table}})
		r := &cache.StoredResponse{Traits: &cache.Traits{}, ETag: `"same"`, Standing: log.Stand(nil, asked, snapshot, []cache.Dependency{table})}
		if got := needless(tag, r); got != want {
			t.Errorf("%s: %v; want %v", name, got, want)
		}
	}
	before, behind := cache.Snapshot{Xmin: 10, Xmax: 10}, cache.Snapshot{Xmin: 11, Xmax: 11}
	f("saw the change and brought the same", `"same"`, behind, true)
	f("saw the change and brought something else", `"other"`, behind, false)
	f("was sooner than the change can be seen", `"same"`, before, false)
}

// TestOfTwoThatWereFetchedBesideEachOtherAndDifferNeitherIsServed: they may share a snapshot, so that only the change
// between them will tell which is the older one, and until it comes a reader of the newer one would be given the other.
func TestOfTwoThatWereFetchedBesideEachOtherAndDifferNeitherIsServed(t *testing.T) {
	t.Parallel()
	type fetch struct {
		from, to time.Duration
		body     string
		snapshot cache.Snapshot
	}
	const ms = time.Millisecond
	one, more := cache.Snapshot{Xmin: 10, Xmax: 10}, cache.Snapshot{Xmin: 12, Xmax: 12}
	for name, c := range map[string]struct {
		first, second fetch
		want          string
	}{
		"beside, one snapshot":              {fetch{2 * ms, 3 * ms, "new", one}, fetch{1 * ms, 4 * ms, "old", one}, ""},
		"beside, the second has seen more":  {fetch{2 * ms, 3 * ms, "new", one}, fetch{1 * ms, 4 * ms, "old", more}, ""},
		"beside, the first has seen more":   {fetch{2 * ms, 3 * ms, "new", more}, fetch{1 * ms, 4 * ms, "old", one}, ""},
		"beside, and the same":              {fetch{2 * ms, 3 * ms, "new", one}, fetch{1 * ms, 4 * ms, "new", one}, "new"},
		"one after the other, one snapshot": {fetch{1 * ms, 2 * ms, "old", one}, fetch{3 * ms, 4 * ms, "new", one}, "new"},
		"one after the other":               {fetch{1 * ms, 2 * ms, "old", one}, fetch{3 * ms, 4 * ms, "new", more}, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start, clock, log := time.Now(), cache.NewClock(time.Now()), cache.NewChangeLog("test")
			store := memory.New(memory.Config{MaxBytes: 1 << 20}, clock, metrics.NewSet())
			defer store.Close()
			p := New(Deps{Clock: clock, Log: log, Memory: store, Metrics: metrics.NewSet()})
			key, asked := []byte("key"), log.Position()
			for _, f := range []fetch{c.first, c.second} {
				r := &cache.StoredResponse{
					Traits: &cache.Traits{Status: 200}, Body: []byte(f.body), Lifetime: time.Minute, Stored: clock.At(start.Add(f.to)),
					Standing: log.Stand(key, asked, f.snapshot, []cache.Dependency{cache.Whole(7)}),
				}
				r.RequestTime, r.ResponseTime = cache.MomentsOf(start.Add(f.from), start.Add(f.to))
				landed, _ := p.store(&call{route: &route{rule: new(rules.Rule)}, key: key}, landing{response: r})
				if landed.stored != (landed.refusal == cache.Storable) {
					t.Errorf("stored: %v, refused as %q", landed.stored, landed.refusal)
				}
			}
			served := ""
			if r := store.Lookup(key); r != nil && r.UseAt(clock.Now()) == cache.Fresh {
				served = string(r.Body)
			}
			if served != c.want {
				t.Errorf("%q is served, want %q", served, c.want)
			}
		})
	}
}

// TestWhatTheSharedTierHasDoesNotReplaceWhatCameToMemoryMeanwhile: it was fetched since nothing was found there.
func TestWhatTheSharedTierHasDoesNotReplaceWhatCameToMemoryMeanwhile(t *testing.T) {
	t.Parallel()
	clock, log := cache.NewClock(time.Now()), cache.NewChangeLog("test")
	store := memory.New(memory.Config{MaxBytes: 1 << 20}, clock, metrics.NewSet())
	defer store.Close()
	p := New(Deps{Clock: clock, Log: log, Memory: store, Metrics: metrics.NewSet()})
	key := []byte("key")
	response := func(body string) *cache.StoredResponse {
		return &cache.StoredResponse{
			Traits: &cache.Traits{Status: 200}, Body: []byte(body), Lifetime: time.Minute, Stored: clock.Now(),
			Standing: log.Stand(key, log.Position(), cache.Snapshot{Xmin: 10, Xmax: 10}, []cache.Dependency{cache.Whole(7)}),
		}
	}
	if r := p.moveIn(t.Context(), key, response("shared")); string(r.Body) != "shared" || store.Lookup(key) != r {
		t.Error("what the shared tier has does not move into memory that has nothing")
	}
	fetched := response("fetched")
	if err := store.Set(t.Context(), key, fetched); err != nil {
		t.Fatal(err)
	}
	if r := p.moveIn(t.Context(), key, response("shared")); r != fetched || store.Lookup(key) != fetched {
		t.Error("what was fetched meanwhile gave way to what the shared tier had")
	}
	log.Commit(cache.Change{Xid: 10, Dependencies: []cache.Dependency{cache.Whole(7)}})
	newer := response("shared again")
	newer.Standing = log.Stand(key, log.Position(), cache.Snapshot{Xmin: 11, Xmax: 11}, []cache.Dependency{cache.Whole(7)})
	if r := p.moveIn(t.Context(), key, newer); r != newer || store.Lookup(key) != newer {
		t.Error("what a change outdated stayed in the place of what another instance had fetched since")
	}
}
