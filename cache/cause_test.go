package cache_test

import (
	"testing"

	"forebay/cache"
)

func TestTheCauseIsWhatOutdatedAResponseFirst(t *testing.T) {
	t.Parallel()
	l := cache.NewChangeLog("e")
	s := standOnRow(l, 7, 0, at(100))
	if c := s.Cause(); c != nil {
		t.Fatalf("outdated by %+v", c)
	}
	if since, ok := s.OutdatedSince(); ok {
		t.Fatalf("outdated since %d", since)
	}
	touched := []cache.Touch{{Relation: clientsOid, Operation: "UPDATE", Rows: 412}}
	l.Commit(cache.Change{Xid: 99, LSN: 1, Applied: 10, Dependencies: row(7)[:1]}) // it saw this one
	l.Commit(cache.Change{Xid: 7731, LSN: 2, Applied: 20, Dependencies: row(7)[1:], Touched: touched})
	l.Commit(cache.Change{Xid: 7732, LSN: 3, Applied: 30, Dependencies: row(7)[:1]})
	check(t, s, cache.Outdated)
	c := s.Cause()
	if c == nil || c.Reason != cache.ReasonChange || c.Xid != 7731 || c.LSN != 2 || c.Applied != 20 || c.Dependency != cache.Whole(clientsOid) || len(c.Touched) != 1 || c.Touched[0] != touched[0] {
		t.Fatalf("outdated by %+v", c)
	}
	if since, ok := s.OutdatedSince(); !ok || since != 20 {
		t.Errorf("outdated since %d, %t", since, ok)
	}
	l.NewEpoch("f")
	check(t, s, cache.Outdated)
	if s.Cause() != c {
		t.Error("the cause changed")
	}
}

func TestCausesOtherThanChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens    func(l *cache.ChangeLog)
		reason     cache.Reason
		dependency cache.Dependency
	}{
		"an operator purges all":    {func(l *cache.ChangeLog) { l.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}}) }, cache.ReasonPurge, cache.Everything},
		"an operator purges it":     {func(l *cache.ChangeLog) { l.Purge(cache.Purge{Dependencies: []cache.Dependency{clients}}) }, cache.ReasonPurge, cache.Whole(clientsOid)},
		"an operator purges by key": {func(l *cache.ChangeLog) { l.Purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("row/")}}) }, cache.ReasonPurge, ""},
		"the epoch ends":            {func(l *cache.ChangeLog) { l.NewEpoch("f") }, cache.ReasonEpoch, cache.Everything},
		"changes are forgotten": {func(l *cache.ChangeLog) {
			for xid := uint64(100); xid < 5000; xid++ {
				l.Commit(cache.Change{Xid: xid, Applied: 5, Dependencies: row(7)[:1]})
			}
		}, cache.ReasonForgotten, cache.Row(clientsOid, 1, "7")},
		"a change and a purge": {func(l *cache.ChangeLog) {
			l.Commit(cache.Change{Xid: 100, Applied: 5, Dependencies: row(7)})
			l.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}})
		}, cache.ReasonPurge, cache.Everything},
		"a transaction that nobody knows": {func(l *cache.ChangeLog) { l.Commit(cache.Change{Dependencies: row(7)}) }, cache.ReasonChange, cache.Row(clientsOid, 1, "7")},
	} {
		l := cache.NewChangeLog("e")
		s := standOnRow(l, 7, 0, at(100))
		c.happens(l)
		check(t, s, cache.Outdated)
		got := s.Cause()
		if got == nil || got.Reason != c.reason || got.Dependency != c.dependency || got.Xid != 0 {
			t.Errorf("%s: outdated by %+v", name, got)
		}
		if since, ok := s.OutdatedSince(); ok { // nobody may rely on it
			t.Errorf("%s: since %d", name, since)
		}
	}
}

// Who may still serve what a change outdated a moment ago may not serve what an operator does not want.
func TestAPurgeAfterAChangeLeavesNothingToServe(t *testing.T) {
	t.Parallel()
	for name, forbid := range map[string]func(l *cache.ChangeLog, s *cache.Standing){
		"purged by table": func(l *cache.ChangeLog, _ *cache.Standing) {
			l.Purge(cache.Purge{Dependencies: []cache.Dependency{clients}})
		},
		"softly": func(l *cache.ChangeLog, _ *cache.Standing) {
			l.Purge(cache.Purge{Dependencies: []cache.Dependency{clients}, Soft: true})
		},
		"purged by key": func(l *cache.ChangeLog, _ *cache.Standing) {
			l.Purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("row")}})
		},
		"softened":              func(_ *cache.ChangeLog, s *cache.Standing) { s.Soften() },
		"in another epoch":      func(l *cache.ChangeLog, _ *cache.Standing) { l.NewEpoch("f") },
		"another key purged":    nil,
		"another table changed": nil,
	} {
		l := cache.NewChangeLog("e")
		l.Settle(at(9)) // so that it asked after something
		s := standOnRow(l, 7, l.Position(), at(100))
		l.Commit(cache.Change{Xid: 100, Applied: 5, Dependencies: row(7)})
		check(t, s, cache.Outdated)
		if since, ok := s.OutdatedSince(); !ok || since != 5 {
			t.Fatalf("%s: since %d, %t", name, since, ok)
		}
		if forbid == nil {
			l.Purge(cache.Purge{KeyPrefixes: [][]byte{[]byte("other")}})
			l.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Relation(1)}})
			l.Commit(cache.Change{Xid: 101, Applied: 6, Dependencies: []cache.Dependency{cache.Relation(1)}})
		} else {
			forbid(l, s)
		}
		if _, ok := s.OutdatedSince(); ok != (forbid == nil) {
			t.Errorf("%s: may be served: %t", name, ok)
		}
	}
}
