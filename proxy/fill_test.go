package proxy

import (
	"testing"
	"time"

	"forebay/cache"
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
