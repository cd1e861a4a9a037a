package postgres_test

import (
	"strings"
	"testing"

	"forebay/cache"
	"forebay/upstream/postgres"
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

// compare compares the catalogue once, as nobody else does.
func (s *site) compare(t testing.TB) {
	t.Helper()
	eventually(t, "the catalogue is compared", func() bool { return postgres.Compare(t.Context(), s.Database) })
}

// changesOfPlain are such as some of the catalogue's tables alone tell of.
var changesOfPlain = map[string]string{
	"a rewrite":               "alter table plain alter extra type bigint using extra * 2",
	"a column that goes":      "alter table plain drop extra",
	"a column that comes":     "alter table plain add another int default 7",
	"a column's new name":     "alter table plain rename extra to other",
	"a rename":                "alter table plain rename to plane; alter table spare rename to plain",
	"a schema's name":         otherSchema + "alter schema public rename to gone; alter schema other rename to public",
	"a schema that is nearer": otherSchema + "alter schema other rename to postgres", // as the role, and first in the search path
	"a table that is nearer":  "create schema postgres; create table postgres.plain as table plain",
	"a policy":                "create policy p on plain using (false)",
	"a heir that goes":        "alter table heir no inherit plain",
	"what a view means":       "create or replace view seen as select id, v from plain where id > 1",
	"what a function means":   "create or replace function own() returns int language sql stable as 'select 2'",
	"a label of an enum":      "alter type mood rename value 'ok' to 'fine'",
	"a function of that sort": "create function own(x int) returns int language sql stable as 'select 2'",
}

const otherSchema = `create schema other; create table other.plain as table plain; create view other.seen as select id, v from other.plain;
	create function other.own() returns int language sql stable as 'select 1'; `

const changedSchema = `create type mood as enum ('ok'); create table plain (id int primary key, v text, extra int); insert into plain values (1, 'a', 1);
	create table spare (id int primary key, v text, extra int); create table heir () inherits (plain); insert into heir values (2, 'b', 2);
	create view seen as select id, v from plain; create function own() returns int language sql stable as 'select 1';`

const changedRoutes = `
- route: GET /plain
  ttl: 60s
  query: select own() as own, p.*, (select count(*) from seen) as seen from plain p
`

// What is done to the catalogue after the first response is noticed by the first comparison that comes after it,
// whether one came before or not; and what is left alone is not held against the response.
func TestFirstComparisonNoticesWhatCameBefore(t *testing.T) {
	t.Parallel()
	for name, change := range changesOfPlain {
		for _, earlier := range []bool{false, true} {
			s := newSite(t, changedSchema, changedRoutes)
			if earlier {
				s.compare(t)
			}
			standing := s.stand(s.fill(t, "GET /plain"))
			s.exec(t, change)
			s.compare(t)
			if got := standing.Check(); got != cache.Outdated {
				t.Errorf("after %s, an earlier comparison %t, what was stored is %s", name, earlier, got)
			}
			s.fill(t, "GET /plain")
			s.compare(t)
			standing = s.stored(t, "GET /plain")
			s.compare(t)
			if got := standing.Check(); got != cache.Current {
				t.Errorf("after %s, an earlier comparison %t, what was stored since is %s, because of %+v", name, earlier, got, standing.Cause())
			}
		}
	}
}

// Statements that must agree have a snapshot from before they wait for a rewrite, and find the table empty behind it,
// for no row that it has now is of a transaction which that snapshot sees. Only the catalogue tells.
func TestARewriteThatStatementsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, changedSchema, `
- route: GET /both
  ttl: 60s
  queries:
    one: {sql: "select v from spare", rows: many}
    two: {sql: "select v from plain", rows: many}
  response: {one: "@one", two: "@two"}
`, func(c *postgres.Config) { c.MaxConnections = 1 }) // in which all is prepared
	s.exec(t, "insert into spare select id, v from plain")
	s.compare(t)
	s.fill(t, "GET /both")
	s.compare(t)
	before := s.body(t, "GET /both")
	owner := connect(t, s.url)
	script(t, owner, "begin; alter table spare alter v type text using v || '!'")
	filled := make(chan cache.Fill, 1)
	go func() {
		f, err := s.Fill(t.Context(), s.call(t, "GET /both", ""))
		if err != nil {
			t.Error(err)
		}
		filled <- f
	}()
	eventually(t, "the statements wait", func() bool {
		return one(t, owner, "select count(*) from pg_locks where relation = 'spare'::regclass and not granted") == "1"
	})
	script(t, owner, "commit")
	f := <-filled
	if f.Response == nil || f.Refused != cache.Storable {
		t.Fatalf("it is not to be stored: %q", f.Refused)
	}
	if got := string(f.Response.Body); got == before || strings.Contains(got, "!") {
		t.Errorf("the rewrite was not waited for: %s", got)
	}
	standing := s.stand(f)
	s.compare(t)
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("%s, where there was %s, is %s", f.Response.Body, before, got)
	}
}

// A transaction that writes for long in another database makes nothing younger than it is.
func TestTransactionsOfOtherDatabasesMakeNoTableYoung(t *testing.T) {
	t.Parallel()
	other := connect(t, newDatabase(t, server, "create table work (n int)"))
	script(t, other, "begin; insert into work values (1)") // before all that follows
	s := newSite(t, changedSchema, changedRoutes)
	s.compare(t)
	standing := s.stored(t, "GET /plain")
	s.compare(t)
	if got := standing.Check(); got != cache.Current {
		t.Errorf("what was stored is %s, because of %+v", got, standing.Cause())
	}
	script(t, other, "rollback")
}

// One that is at work in this database, and has its ids already, may change a table yet.
func TestTransactionsOfThisDatabaseMayChangeWhatIsYoung(t *testing.T) {
	t.Parallel()
	s := newSite(t, changedSchema+"create table work (n int);", changedRoutes)
	writer := connect(t, s.url)
	script(t, writer, "begin; insert into work values (1); savepoint s; insert into work values (2)")
	s.compare(t)
	standing := s.stored(t, "GET /plain")
	script(t, writer, "alter table plain drop extra; release s; commit")
	s.compare(t)
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("after a column was dropped, what was stored is %s", got)
	}
}

// A fill that takes what was found before for known may wait to have its statement prepared while the catalogue is
// noticed to be another one, and ask after all of before was outdated.
func TestAFillThatWasDecidedInAnotherCatalogue(t *testing.T) {
	t.Parallel()
	s := newSite(t, changedSchema, `
- route: GET /spare
  ttl: 60s
  query: select v from spare
- route: GET /waits
  query: select pg_advisory_xact_lock_shared(4713)::text as w
`, func(c *postgres.Config) { c.MaxConnections = 2 })
	s.compare(t)
	for range 3 { // the third looks at nothing
		s.fill(t, "GET /spare")
	}
	s.one(t, "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity where datname = current_database() and application_name = 'forebay' and state = 'idle' order by backend_start desc offset 1) p")
	holder := connect(t, s.url)
	script(t, holder, "select pg_advisory_lock(4713)")
	waits := make(chan error, 1)
	go func() { _, err := s.Fill(t.Context(), s.call(t, "GET /waits", "")); waits <- err }()
	waiting := func(what string) func() bool {
		return func() bool { return one(t, holder, "select count(*) from pg_locks where not granted and "+what) == "1" }
	}
	eventually(t, "the session in which it is prepared is in use", waiting("locktype = 'advisory' and objid = 4713"))
	script(t, holder, "begin; lock table spare")
	filled := make(chan cache.Fill, 1)
	go func() {
		f, err := s.Fill(t.Context(), s.call(t, "GET /spare", ""))
		if err != nil {
			t.Error(err)
		}
		filled <- f
	}()
	eventually(t, "the fill waits", waiting("relation = 'spare'::regclass"))
	s.exec(t, "alter table plain add another int")
	s.compare(t)
	script(t, holder, "rollback; select pg_advisory_unlock(4713)")
	if f := <-filled; f.Refused != cache.RefusedSnapshot {
		t.Errorf("refused %q", f.Refused)
	}
	if err := <-waits; err != nil {
		t.Error(err)
	}
}

// Who holds all connections of the pool, and whoever waits for one, keeps nobody from noticing what the catalogue has
// become.
func TestTheCatalogueIsComparedBesideAPoolInUse(t *testing.T) {
	t.Parallel()
	s := newSite(t, changedSchema, changedRoutes+`
- route: GET /waits
  query: select pg_advisory_xact_lock_shared(4712)::text as w
`, func(c *postgres.Config) { c.MaxConnections = 1 })
	s.compare(t)
	standing := s.stand(s.fill(t, "GET /plain"))
	s.compare(t)
	holder := connect(t, s.url)
	script(t, holder, "select pg_advisory_lock(4712)")
	done := make(chan error, 1)
	go func() { _, err := s.Fill(t.Context(), s.call(t, "GET /waits", "")); done <- err }()
	eventually(t, "the one connection is in use", func() bool {
		return one(t, holder, "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 4712") == "1"
	})
	script(t, holder, "alter table plain add another int")
	if !postgres.Compare(t.Context(), s.Database) {
		t.Error("the catalogue was not compared")
	}
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("what was stored is %s", got)
	}
	script(t, holder, "select pg_advisory_unlock(4712)")
	if err := <-done; err != nil {
		t.Error(err)
	}
}
