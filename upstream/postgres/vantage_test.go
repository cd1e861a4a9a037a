package postgres_test

import (
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
