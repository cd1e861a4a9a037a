package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// legacy is a rule of a service that reads the primary.
var legacy = &rules.Rule{Name: "GET /legacy", DependsOn: []string{"clients"}, Primary: true, Freshness: rules.Exact}

// What a service answers is not stored while nobody knows whether the server is the one whose changes are heard of.
func TestAVantageOfAnotherEpochIsRefused(t *testing.T) {
	t.Parallel()
	s, feed := newFaked(t, followedSchema, followedRoutes)
	vantage := func() postgres.Vantage {
		t.Helper()
		v, err := s.Vantage(t.Context(), legacy)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	vantage() // has the feed follow its tables
	s.hear(feed.covered())
	eventually(t, "a vantage is admitted", func() bool { return vantage().Refused == cache.Storable })
	s.one(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name = 'forebay'")
	eventually(t, "the pool has connected anew", func() bool {
		_, err := s.Fill(t.Context(), s.call(t, "GET /clients/1", ""))
		return err == nil
	})
	if v := vantage(); v.Refused != cache.RefusedSnapshot {
		t.Errorf("before the feed was heard of again it is refused %q", v.Refused)
	}
	s.hear(feed.covered())
	eventually(t, "a vantage is admitted", func() bool { return vantage().Refused == cache.Storable })
}

// Where the pool leads to another server than the feed, as after a failover that only one of them has noticed, nothing
// is stored.
func TestNothingIsStoredWhereTheFeedIsOfAnotherServer(t *testing.T) {
	t.Parallel()
	feed, theirs := new(fakeFeed), new(atomic.Pointer[postgres.Server])
	s := newSiteWith(t, newDatabase(t, server, followedSchema), followedRoutes, func(_ *site, deps *postgres.Deps) {
		deps.Feed = feed
		deps.FeedServer = func() (postgres.Server, bool) { return *theirs.Load(), true }
	})
	t.Cleanup(s.Close)
	ours := postgres.Server{
		System:   s.one(t, "select system_identifier::text from pg_control_system()"),
		Timeline: s.one(t, "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"),
		Started:  s.one(t, "date_part('epoch', pg_postmaster_start_time())::text"),
	}
	if _, err := fmt.Sscan(s.one(t, "select oid from pg_database where datname = current_database()"), &ours.Database); err != nil {
		t.Fatal(err)
	}
	theirs.Store(&ours)
	if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
		t.Fatal(err)
	}
	look := func() (fill, vantage cache.Refusal) {
		t.Helper()
		v, err := s.Vantage(t.Context(), legacy)
		if err != nil {
			t.Fatal(err)
		}
		return s.fill(t, "GET /clients/1").Refused, v.Refused
	}
	look() // has the feed follow what is read
	s.hear(feed.covered())
	if f, v := look(); f != cache.Storable || v != cache.Storable {
		t.Fatalf("with both on one server a fill is refused %q, a vantage %q", f, v)
	}
	other := ours
	other.Timeline = "0000FFFF"
	theirs.Store(&other)
	if f, v := look(); f != cache.RefusedSnapshot || v != cache.RefusedSnapshot {
		t.Errorf("with the feed on another timeline a fill is refused %q, a vantage %q", f, v)
	}
}
