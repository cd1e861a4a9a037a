package postgres_test

import (
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/upstream/postgres"
)

// A crash takes back what synchronous_commit = off had let readers see, and hands out its transaction ids
// again. Nothing from before may be compared with anything after.
func TestCrashEndsTheEpoch(t *testing.T) {
	t.Parallel()
	pg := newServer(t, "synchronous_commit = off", "wal_writer_delay = 10s", "fsync = off")
	s := newSiteOn(t, newDatabase(t, pg.URL("postgres"), clientsSchema), clientsRoutes, func(c *postgres.Config) { c.Breaker.Failures = 1000 })
	s.exec(t, "checkpoint") // the table itself must survive
	s.exec(t, "update clients set name = 'seen' where id = 1")
	standing, epoch := s.stand(s.fill(t, "GET /clients/1")), s.log.Epoch()
	if standing.Check() != cache.Current {
		t.Fatal("not current before the crash")
	}
	pg.Kill()
	eventually(t, "the server starts again", func() bool { return pg.Start(t.Context()) == nil })
	eventually(t, "the database answers again", func() bool {
		_, err := s.Fill(t.Context(), s.call(t, "GET /clients/2", ""))
		return err == nil
	})
	if got := s.body(t, "GET /clients/1"); strings.Contains(got, "seen") {
		t.Logf("the crash took nothing back: %s", got)
	}
	if got := standing.Check(); got != cache.Outdated || s.log.Epoch() == epoch {
		t.Errorf("what was read before the crash is %s in epoch %s", got, s.log.Epoch())
	}
}

// A backend that dies takes all of the server's down, and the postmaster starts them again: its start time
// and timeline stay, so that only the connections tell.
func TestCrashOfABackendEndsTheEpoch(t *testing.T) {
	t.Parallel()
	pg := newServer(t, "restart_after_crash = on", "fsync = off")
	s := newSiteOn(t, newDatabase(t, pg.URL("postgres"), clientsSchema), clientsRoutes, func(c *postgres.Config) { c.Breaker.Failures = 1000 })
	standing, started := s.stand(s.fill(t, "GET /clients/1")), s.one(t, "select pg_postmaster_start_time()")
	epoch := s.log.Epoch()
	crash(t, s.url)
	eventually(t, "the database answers again", func() bool {
		_, err := s.Fill(t.Context(), s.call(t, "GET /clients/2", ""))
		return err == nil && s.log.Epoch() != epoch
	})
	if got := s.one(t, "select pg_postmaster_start_time()"); got != started {
		t.Fatalf("the postmaster started at %s, then %s: this was another kind of crash", started, got)
	}
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("what was read before the crash is %s", got)
	}
}

// Connections that end one by one while another one stays end no epoch.
func TestReconnectingKeepsTheEpoch(t *testing.T) {
	t.Parallel()
	s := newSite(t, faultsSchema, clientsRoutes+faultsRoutes, func(c *postgres.Config) { c.MaxConnections = 3 })
	done := make(chan error, 3)
	useAll := func() {
		for range 3 {
			go func() { _, err := s.Fill(t.Context(), s.call(t, "GET /sleep?seconds=0.2", "")); done <- err }()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	useAll()
	standing, epoch := s.stand(s.fill(t, "GET /clients/1")), s.log.Epoch()
	const ours = "select pid from pg_stat_activity where datname = current_database() and application_name = 'forebay' order by pid limit 1"
	for range 5 {
		s.one(t, "select pg_terminate_backend(("+ours+"))")
		useAll()
	}
	if s.log.Epoch() != epoch || standing.Check() != cache.Current {
		t.Errorf("epoch %q became %q, what was stored is %s", epoch, s.log.Epoch(), standing.Check())
	}
}

// By the same words a session means other tables when it is made after its role's settings were changed: what was
// read in those of before is outdated, and no fill takes what these found for its own.
func TestSettingsOfARoleEndTheEpoch(t *testing.T) {
	t.Parallel()
	const waiting = 3 // more than the pool may have opened before
	s := newSite(t, `create schema nearer; create table items (n int); insert into items values (1);
		create table nearer.items (n int); insert into nearer.items values (2)`, `
- route: GET /items
  ttl: 60s
  query: select n from items
- route: GET /waits
  ttl: 60s
  query: select pg_advisory_xact_lock_shared(4711)::text as w
`, func(c *postgres.Config) { c.MaxConnections = waiting + 1 })
	stored := s.stand(s.fill(t, "GET /items"))
	s.exec(t, "do $$ begin execute format('alter database %I set search_path = nearer, public', current_database()); end $$")
	holder := connect(t, s.url)
	script(t, holder, "select pg_advisory_lock(4711)")
	done := make(chan error, waiting)
	for range waiting {
		go func() { _, err := s.Fill(t.Context(), s.call(t, "GET /waits", "")); done <- err }()
	}
	eventually(t, "connections from before are in use", func() bool {
		return one(t, holder, "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 4711") == strconv.Itoa(waiting)
	})
	f := s.fill(t, "GET /items")
	if body, tables := string(f.Response.Body), s.tables(f); !strings.Contains(body, "2") || tables != "nearer.items" {
		t.Errorf("%s depends on %q", body, tables)
	}
	if got := stored.Check(); got != cache.Outdated {
		t.Errorf("what was stored is %s", got)
	}
	script(t, holder, "select pg_advisory_unlock(4711)")
	for range waiting {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for range 5 {
		if f := s.fill(t, "GET /items"); !strings.Contains(string(f.Response.Body), "2") {
			t.Errorf("%s is of a session with the old settings", f.Response.Body)
		}
	}
}

// A fill may ask in a later epoch than that of its session, which it had before: it waits to have its statement
// prepared while another connection finds that things are different now.
func TestAFillInASessionOfAnEarlierEpochIsNotStored(t *testing.T) {
	t.Parallel()
	s := newSite(t, "create table items (n int); create table locked (n int)", `
- route: GET /items
  ttl: 60s
  query: select n from items
- route: GET /locked
  ttl: 60s
  query: select n from locked
`, func(c *postgres.Config) { c.MaxConnections = 2 })
	s.fill(t, "GET /items")
	owner := connect(t, s.url)
	script(t, owner, "begin; lock table locked")
	filled := make(chan cache.Fill, 1)
	go func() {
		f, err := s.Fill(t.Context(), s.call(t, "GET /locked", ""))
		if err != nil {
			t.Error(err)
		}
		filled <- f
	}()
	eventually(t, "the fill waits", func() bool {
		return one(t, owner, "select count(*) from pg_locks where relation = 'locked'::regclass and not granted") == "1"
	})
	standing := s.stand(s.fill(t, "GET /items"))
	s.exec(t, "do $$ begin execute format('alter database %I set lc_monetary = %L', current_database(), 'C.UTF-8'); end $$")
	s.one(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name = 'forebay' and state = 'idle'")
	eventually(t, "another session has the new setting", func() bool {
		s.fill(t, "GET /items")
		return standing.Check() == cache.Outdated
	})
	script(t, owner, "rollback")
	if f := <-filled; f.Refused != cache.RefusedSnapshot {
		t.Errorf("refused %q", f.Refused)
	}
}

// A procedure that commits and whose connection breaks may go on: until it has ended nothing is stored.
func TestNothingIsStoredWhileAStrayRuns(t *testing.T) {
	t.Parallel()
	schema := clientsSchema + `create procedure slow() language plpgsql as $$
		begin update clients set name = 'half'; commit; perform pg_sleep(3); update clients set name = 'done'; commit; end $$;`
	r := newRelay(t, newDatabase(t, server, schema))
	s := newSiteOn(t, r.url, clientsRoutes+`
- route: POST /slow
  query: call slow()
  rows: none
`)
	s.watch(t)
	standing := s.stand(s.fill(t, "GET /clients/1"))
	done := make(chan error, 1)
	go func() { _, err := s.tryWrite(t, "POST /slow", ""); done <- err }()
	observer := s.serverURL(t, r)
	conn := connect(t, observer)
	eventually(t, "the first half is done", func() bool { return one(t, conn, "select name from clients where id = 1") == "half" })
	r.refuse(true) // also to the request that the statement be cancelled
	r.cut()
	if e := failure(t, <-done); e.Class != postgres.OutcomeUnknown {
		t.Errorf("%s: %v", e.Class, e)
	}
	eventually(t, "the connection is given up", func() bool { return s.Stats().InUse == 0 })
	r.refuse(false)
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("what was stored is %s", got)
	}
	stored := 0
	eventually(t, "responses are stored again", func() bool {
		f := s.fill(t, "GET /clients/1")
		if f.Refused != cache.Storable || s.stand(f).Check() != cache.Current {
			return false
		}
		stored++
		if !strings.Contains(string(f.Response.Body), "done") {
			t.Fatalf("%s is stored while the procedure runs", f.Response.Body)
		}
		return true
	})
}

// A COMMIT whose answer is lost may take effect much later, when its mark has gone with the epoch: until it
// has ended nothing of the tables that it wrote is stored.
func TestNothingIsStoredWhileACommitMayAppear(t *testing.T) {
	t.Parallel()
	r := newRelay(t, newDatabase(t, server, clientsSchema+`
		create table elsewhere (id int primary key); insert into elsewhere values (1);
		create function linger() returns trigger language plpgsql as $$ begin perform pg_sleep(3); return null; end $$;
		create constraint trigger linger after update on clients deferrable initially deferred for each row execute function linger();`))
	s := newSiteOn(t, r.url, clientsRoutes+`
- route: GET /elsewhere
  ttl: 60s
  query: select id from elsewhere
`)
	s.watch(t)
	s.fill(t, "GET /clients/1")
	done := make(chan error, 1)
	go func() { _, err := s.tryWrite(t, "PUT /clients/1", `{"name": "late"}`); done <- err }()
	conn := connect(t, s.serverURL(t, r))
	eventually(t, "the commit is on its way", func() bool {
		return one(t, conn, committing+" and wait_event = 'PgSleep'") == "1" // and no other commit
	})
	epoch := s.log.Epoch()
	vantage := func() (postgres.Vantage, error) { return s.Vantage(t.Context(), legacy) }
	r.refuse(true) // also to the request that the statement be cancelled
	r.cut()
	if e := failure(t, <-done); e.Class != postgres.OutcomeUnknown {
		t.Errorf("%s: %v", e.Class, e)
	}
	eventually(t, "the connection is given up", func() bool { return s.Stats().InUse == 0 })
	r.refuse(false)
	eventually(t, "another table's responses are stored", func() bool {
		f, err := s.Fill(t.Context(), s.call(t, "GET /elsewhere", ""))
		return err == nil && f.Refused == cache.Storable && s.stand(f).Check() == cache.Current
	})
	if s.log.Epoch() == epoch {
		t.Error("the epoch goes on")
	}
	if v, err := vantage(); err != nil || one(t, conn, committing) == "1" && v.Refused != cache.RefusedSnapshot {
		t.Errorf("what a service reads of the table is refused %q, %v", v.Refused, err)
	}
	eventually(t, "the table's responses are stored again", func() bool {
		f, err := s.Fill(t.Context(), s.call(t, "GET /clients/1", ""))
		if err != nil || f.Refused != cache.Storable || s.stand(f).Check() != cache.Current {
			return false
		}
		if one(t, conn, committing) != "0" {
			t.Fatalf("%s is stored before the commit has ended", f.Response.Body)
		}
		return true
	})
}

// committing is how many are about to commit.
const committing = "select count(*) from pg_stat_activity where query ilike 'commit%' and state = 'active' and datname = current_database()"

// A server that crashed gives a lost transaction's id to another, and the pool may be back before the feed has
// noticed. What the log knows of the id must then neither have a fill pass for one that saw it, nor a write for
// one that is marked already.
func TestCrashThatTheFeedHasNotNoticed(t *testing.T) {
	t.Parallel()
	for name, pooled := range map[string]bool{"direct": false, "behind a pooler": true} {
		t.Run(name, func(t *testing.T) { unnoticedCrash(t, pooled) })
	}
}

func unnoticedCrash(t *testing.T, pooled bool) {
	pg := newServer(t, "synchronous_commit = off", "wal_writer_delay = 10s", "restart_after_crash = on", "fsync = off")
	direct := newDatabase(t, pg.URL("postgres"), followedSchema)
	url := direct
	if pooled {
		url = newPooler(t, direct)
	}
	s, feed := newFakedOn(t, url, followedRoutes, func(c *postgres.Config) { c.Breaker.Failures, c.PreparedStatements = 1000, !pooled })
	s.hear(feed.covered())
	feed.brings.Store(true)
	execOn(t, direct, "checkpoint") // the table itself must survive
	lost := s.write(t, "PUT /clients/1", `{"name": "lost"}`)
	s.log.Commit(cache.Change{Xid: lost.Change.Xid, Dependencies: lost.Change.Dependencies, Visible: true}) // as the feed does
	s.stored(t, "GET /clients/1")
	crash(t, direct)
	var f cache.Fill
	eventually(t, "the database answers again", func() bool {
		var err error
		f, err = s.Fill(t.Context(), s.call(t, "GET /clients/1", ""))
		return err == nil
	})
	if f = s.fill(t, "GET /clients/1"); f.Refused == cache.Storable {
		t.Errorf("%s may be stored, though the feed has not been heard of since", f.Response.Body)
	}
	standing := s.stand(f)
	again := s.write(t, "PUT /clients/1", `{"name": "again"}`)
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("after a write what was read before is %s", got)
	}
	t.Logf("%s; the write's id is %d, the lost one's was %d", f.Response.Body, again.Change.Xid, lost.Change.Xid)
	s.hear(feed.covered()) // had the feed been another life's, it would be lost by now
	s.stored(t, "GET /clients/1")
}

// crash kills one of the server's backends as a bug in it would.
func crash(t testing.TB, url string) {
	t.Helper()
	conn, witness := connect(t, url), connect(t, url)
	pid, err := strconv.Atoi(one(t, conn, "select pg_backend_pid()"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server has taken notice", func() bool { return witness.Ping(t.Context()) != nil })
	eventually(t, "the server lets in again, now that all others are gone", func() bool {
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			err = conn.Close(t.Context())
		}
		return err == nil
	})
}

// New connections lead to another server, as after a failover, while old ones are still there: what the old
// ones read is of another history, and may not be stored beside what is compared with the new one.
func TestSessionsOnTheOldServerStoreNothing(t *testing.T) {
	t.Parallel()
	const routes = `
- route: GET /where
  ttl: 60s
  query: select name from place, pg_sleep(0.1)
  rows: value
- route: GET /warm
  query: select pg_sleep(0.1)::text
  rows: value
`
	r := newRelay(t, newDatabase(t, server, "create table place (name text); insert into place values ('old')"))
	other := newServer(t, "fsync = off")
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	execOn(t, other.URL("postgres"), "create database "+name)
	execOn(t, other.URL(name), "create table place (name text); insert into place values ('new')")
	s := newSiteOn(t, r.url, routes, func(c *postgres.Config) { c.MaxConnections = 2 })
	both := func() (fills [2]cache.Fill) {
		var work sync.WaitGroup
		for i := range fills {
			work.Go(func() { fills[i] = s.fill(t, "GET /where") })
		}
		work.Wait()
		return fills
	}
	both()
	standing := s.stand(both()[0])
	if standing.Check() != cache.Current {
		t.Fatal("not current on the old server")
	}
	r.lead(other.Address())
	old := connect(t, strings.Replace(s.url, u.Host, serverAddress(t), 1))
	one(t, old, "select pg_terminate_backend((select min(pid) from pg_stat_activity where datname = current_database() and application_name = 'forebay'))")
	seen := make(map[string]bool)
	eventually(t, "everybody is on the new server", func() bool {
		fills := both()
		for _, f := range fills {
			body := string(f.Response.Body)
			seen[body+" "+string(f.Refused)] = true
			if body == `"old"` && f.Refused == cache.Storable && s.stand(f).Check() == cache.Current && standing.Check() == cache.Outdated {
				t.Fatalf("a response of the old server may be stored in the epoch of the new: %v", seen)
			}
		}
		return string(fills[0].Response.Body)+string(fills[1].Response.Body) == `"new""new"` && fills[0].Refused+fills[1].Refused == cache.Storable
	})
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("what was stored on the old server is %s; seen %v", got, seen)
	}
}

// A URL that names several servers and asks for the one that can be written leads to the primary, though the
// sessions are read-only by a setting of their own; after a promotion it leads to the new one, and nothing that
// was stored before is current.
func TestReadWriteLeadsToThePrimary(t *testing.T) {
	t.Parallel()
	primary := newServer(t, "fsync = off")
	execOn(t, primary.URL("postgres"), clientsSchema)
	standby, err := private.StartStandby(t.Context(), primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	both := strings.Replace(primary.URL("postgres"), primary.Address(), standby.Address()+","+primary.Address(), 1) + "&target_session_attrs=read-write"
	s := newSiteOn(t, both, clientsRoutes+`
- route: GET /session
  ttl: 60s
  query: select current_setting('transaction_read_only')
  rows: value
`, func(c *postgres.Config) { c.Breaker.Failures = 1000 })
	if got := s.body(t, "GET /session"); got != `"on"` {
		t.Errorf("transaction_read_only is %s", got)
	}
	f := s.fill(t, "GET /clients/1")
	standing := s.stand(f)
	if f.Refused != cache.Storable || standing.Check() != cache.Current {
		t.Fatalf("a response of the primary is refused (%q) or %s", f.Refused, standing.Check())
	}
	primary.Kill()
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "responses of the new primary are stored", func() bool {
		f, err := s.Fill(t.Context(), s.call(t, "GET /clients/1", ""))
		return err == nil && f.Refused == cache.Storable && s.stand(f).Check() == cache.Current
	})
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("what was read of the old primary is %s", got)
	}
}

// serverAddress is where the tests' server listens.
func serverAddress(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
