package postgres_test

import (
	"testing"

	"forebay/cache"
)

const watchRoutes = `
- route: GET /plain
  ttl: 60s
  query: select v from plain where id = 1
  rows: value
- route: GET /other
  ttl: 60s
  query: select v from other where id = 1
  rows: value
`

// What others make for themselves in passing, and new tables, are no reason to let go of anything.
func TestNewAndTemporaryTablesOutdateNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, discoverySchema, watchRoutes)
	s.watch(t)
	s.fill(t, "GET /plain")
	s.seeDDL(t) // from here on two states are compared
	standing := s.stand(s.fill(t, "GET /plain"))
	somebody := connect(t, s.url)
	script(t, somebody, `create temp table mine (id int primary key, v text); alter table mine enable row level security;
		create policy p on mine using (true); create temp view looking_at_mine as select * from mine;
		create type pg_temp.pair as (a int, b int); create domain pg_temp.small as int check (value < 10);
		create function pg_temp.f() returns int language sql as 'select 1'; create table lasting (id int primary key, v text)`)
	s.seeDDL(t)
	if got := standing.Check(); got != cache.Current {
		t.Errorf("what was stored before is %s, because of %+v", got, standing.Cause())
	}
	script(t, somebody, "create type pair as (a int, b int)") // which a statement may turn out to mean
	eventually(t, "a type outdates", func() bool { return standing.Check() == cache.Outdated })
}

// seeDDL changes the table other until that is noticed: whatever was done to the catalogue before it is, too.
func (s *site) seeDDL(t testing.TB) {
	t.Helper()
	s.fill(t, "GET /other")
	standing := s.stand(s.fill(t, "GET /other"))
	eventually(t, "DDL is noticed", func() bool {
		s.exec(t, "alter table other alter v set statistics 10; alter table other alter v set statistics -1")
		return standing.Check() == cache.Outdated
	})
}

// A change of the catalogue does not take people the names of tables that they are shown.
func TestNamesOutliveChangesOfTheCatalogue(t *testing.T) {
	t.Parallel()
	s := newSite(t, discoverySchema, watchRoutes)
	s.watch(t)
	s.fill(t, "GET /plain")
	f := s.fill(t, "GET /plain")
	s.seeDDL(t)
	if got := s.tables(f); got != "plain" {
		t.Errorf("it depends on %q; want plain", got)
	}
}
