package cache_test

import (
	"math"
	"testing"
	"time"

	"forebay/cache"
)

func TestAdmission(t *testing.T) {
	t.Parallel()
	exported := cache.Snapshot{Xmin: 50, Xmax: 60, Xip: []uint64{50, 55}, Replayed: 1000}
	l := cache.NewChangeLog("e")
	if r := l.Admit(0, cache.Snapshot{}, []uint32{1}); r != cache.Storable {
		t.Errorf("without a feed: %q", r)
	}
	l.Settle(at(10))
	after := l.Position()
	l.SetFeed(&cache.Feed{Mode: cache.FeedWAL, Live: true, Exported: exported, Covered: map[uint32]cache.Coverage{
		1: {Replayed: 1000}, 2: {Writers: []uint64{62, 63}, After: after}, 3: {After: after, Replayed: 1200},
	}})
	now := l.Position()
	running := func(xmax uint64, xip ...uint64) cache.Snapshot {
		return cache.Snapshot{Xmin: xip[0], Xmax: xmax, Xip: xip}
	}
	for name, c := range map[string]struct {
		asked     cache.Position
		snapshot  cache.Snapshot
		relations []uint32
		want      cache.Refusal
	}{
		"saw all that was exported":                     {0, at(60), []uint32{1}, cache.Storable},
		"saw more":                                      {0, at(90), []uint32{1}, cache.Storable},
		"a long writer lives, as it did":                {0, running(90, 50), []uint32{1}, cache.Storable},
		"lacks what had committed":                      {now, running(90, 51), []uint32{1}, cache.RefusedAdmission},
		"is older":                                      {now, at(59), []uint32{1}, cache.RefusedAdmission},
		"says nothing":                                  {now, cache.Snapshot{}, []uint32{1}, cache.RefusedAdmission},
		"reads nothing":                                 {now, at(60), nil, cache.Storable},
		"reads what is not covered":                     {now, at(90), []uint32{1, 4}, cache.RefusedFeed},
		"the writers have ended":                        {now, at(64), []uint32{1, 2}, cache.Storable},
		"a writer has not":                              {now, running(90, 63), []uint32{1, 2}, cache.RefusedAdmission},
		"asked when it was published":                   {after, at(64), []uint32{2}, cache.RefusedAdmission},
		"asked before it was published":                 {after - 1, at(64), []uint32{3}, cache.RefusedAdmission},
		"a standby that replayed":                       {now, cache.Snapshot{Replayed: 1000}, []uint32{1}, cache.Storable},
		"a standby that is behind":                      {now, cache.Snapshot{Replayed: 999}, []uint32{1}, cache.RefusedAdmission},
		"a standby of which the writers are not known":  {now, cache.Snapshot{Replayed: 5000}, []uint32{2}, cache.RefusedAdmission},
		"a standby that replayed until the writers end": {now, cache.Snapshot{Replayed: 1200}, []uint32{3}, cache.Storable},
		"a standby that did not":                        {now, cache.Snapshot{Replayed: 1100}, []uint32{3}, cache.RefusedAdmission},
		"changes do not concern it":                     {now, cache.AllSeeing(), []uint32{1, 2, 3}, cache.Storable},
	} {
		if got := l.Admit(c.asked, c.snapshot, c.relations); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	l.SetFeed(&cache.Feed{Mode: cache.FeedWAL, Reason: "the server closed the connection"})
	if got := l.Admit(now, at(90), nil); got != cache.RefusedFeed {
		t.Errorf("lost: %q", got)
	}
}

func TestTheLagIsNeverUnderstated(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	expect := func(now cache.Instant, want time.Duration) {
		t.Helper()
		if got := l.Lag(now); got != want {
			t.Errorf("lag %s, want %s", got, want)
		}
	}
	expect(1000, 0)
	l.SetFeed(&cache.Feed{Mode: cache.FeedWAL, Live: true})
	expect(1000, 1000) // nothing was heard yet
	l.Advance(600, at(9))
	expect(1000, 400)
	l.Advance(500, at(9)) // late
	expect(1000, 400)
	expect(550, 0)
	if l.AsOf() != 600 {
		t.Errorf("as of %d", l.AsOf())
	}
	// The catalogue may be looked at a little later than all else is heard of, and not for long.
	const grace = cache.Instant(5 * time.Second)
	l.Watched(1)
	l.Advance(grace, at(9))
	expect(grace+1, 1)
	expect(grace+2, time.Duration(grace)+1)
	l.Watched(2)
	expect(grace+2, 2)
	l.SetFeed(&cache.Feed{Mode: cache.FeedNotify})
	expect(1000, math.MaxInt64)
	if f := l.Feed(); f.Mode != cache.FeedNotify || f.Live {
		t.Errorf("feed %+v", f)
	}
}

// A heartbeat is no change: lookups need not look again.
func TestAHeartbeatSettlesAndLeavesLookupsAlone(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	commit(l, 7, false)
	asked := l.Position()
	l.Advance(1, at(8))
	if l.Position() == asked {
		t.Error("who asks after a heartbeat cannot be told from who asked before")
	}
	check(t, stand(l, asked, cache.Snapshot{}), cache.Outdated)
	check(t, stand(l, l.Position(), cache.Snapshot{}), cache.Current)
	l.Advance(2, cache.Snapshot{Replayed: 9}) // of a standby: says nothing of the primary
	check(t, stand(l, l.Position(), cache.Snapshot{}), cache.Current)
}

// Whoever stored while a table was not followed has heard of nothing that became of it since.
func TestWhatWasStoredUnheardIsOutdatedWhenItIsHeard(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	on := func(oid uint32) *cache.Standing {
		return l.Stand([]byte("key"), l.Position(), at(9), []cache.Dependency{cache.Relation(oid)})
	}
	row := func(oid uint32) *cache.Standing {
		return l.Stand([]byte("row"), l.Position(), at(9), []cache.Dependency{cache.Row(oid, 1, "1"), cache.Whole(oid)})
	}
	feed := func(mode string, live bool, oids ...uint32) {
		covered := make(map[uint32]cache.Coverage)
		for _, oid := range oids {
			covered[oid] = cache.Coverage{}
		}
		l.SetFeed(&cache.Feed{Mode: mode, Live: live, Covered: covered})
	}
	own := on(1)
	feed(cache.FeedWAL, false, 1)
	check(t, own, cache.Current) // and on_lost decides
	feed(cache.FeedWAL, true, 1)
	check(t, own, cache.Outdated)

	heard, unheard, unheardRow := on(1), on(2), row(2)
	feed(cache.FeedWAL, true, 1)
	check(t, unheard, cache.Current)
	inFlight := l.Position()
	feed(cache.FeedWAL, true, 1, 2)
	check(t, heard, cache.Current)
	check(t, unheard, cache.Outdated)
	check(t, unheardRow, cache.Outdated)
	check(t, l.Stand([]byte("late"), inFlight, at(9), []cache.Dependency{cache.Relation(2)}), cache.Outdated)

	heard, heardRow := on(2), row(2)
	feed(cache.FeedWAL, true, 1, 2) // as each poll says it
	feed(cache.FeedWAL, true, 2)
	feed(cache.FeedWAL, false, 2)
	feed(cache.FeedOff, true)
	check(t, heard, cache.Current)
	check(t, heardRow, cache.Current)
	feed(cache.FeedNotify, true, 2)
	check(t, heard, cache.Outdated)
}
