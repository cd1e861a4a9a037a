package postgres_test

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"forebay/bench/private"
	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// pair is a primary and a standby that streams from it.
type pair struct{ primary, standby *private.Postgres }

func newPair(t testing.TB) *pair {
	t.Helper()
	p := &pair{primary: newServer(t, "fsync = off")}
	p.standby = startStandby(t, p.primary)
	return p
}

func startStandby(t testing.TB, of *private.Postgres) *private.Postgres {
	t.Helper()
	standby, err := private.StartStandby(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	return standby
}

// site makes a followed site on a database of the primary, that reads from the standby as well.
func (p *pair) site(t testing.TB, schema, routes string, options ...func(*postgres.Config)) *site {
	t.Helper()
	database := newDatabase(t, p.primary.URL("postgres"), schema)
	// A standby that has no such tables, or no such database, is left in peace for a while.
	made := one(t, connect(t, database), "select pg_current_wal_insert_lsn()::text")
	there := connect(t, p.standby.URL("postgres"))
	eventually(t, "the standby has the schema", func() bool {
		return one(t, there, "select (pg_last_wal_replay_lsn() >= '"+made+"')::text") == "true"
	})
	reads := func(c *postgres.Config) { c.Standby = rules.Secret(onServer(t, database, p.standby)) }
	s := newFollowedOn(t, database, routes, append([]func(*postgres.Config){reads}, options...)...)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	work.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); work.Wait() })
	return s
}

// onServer returns the URL of the same database on another server.
func onServer(t testing.TB, database string, server *private.Postgres) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = server.Address()
	return u.String()
}

// pause stops the standby's replay, and returns what resumes it.
func (p *pair) pause(t testing.TB) (resume func()) {
	t.Helper()
	conn := connect(t, p.standby.URL("postgres"))
	script(t, conn, "select pg_wal_replay_pause()")
	eventually(t, "replay is paused", func() bool { return one(t, conn, "select pg_get_wal_replay_pause_state()") == "paused" })
	return func() { script(t, conn, "select pg_wal_replay_resume()") }
}

// standbyFill fills until a standby has answered with what may be stored.
func (s *site) standbyFill(t testing.TB, request string) cache.Fill {
	t.Helper()
	var f cache.Fill
	eventually(t, request+" is answered by the standby", func() bool {
		f = s.fill(t, request)
		return f.Refused == cache.Storable && f.Snapshot.Replayed != 0
	})
	return f
}

// patient leaves a standby that is behind in the race, as far as time goes.
const patient = "\n  max_lag: 1h"

const standbyRoutes = clientsRoutes + `
- route: GET /patient/{id}
  ttl: 60s
  max_lag: 1h
  params: {id: int}
  query: select id, name from clients where id = @id
- route: GET /primary/{id}
  ttl: 60s
  reads: primary
  params: {id: int}
  query: select id, name from clients where id = @id
- route: GET /keyless
  ttl: 60s
  max_lag: 1h
  query: select id from keyless order by id
- route: POST /keyless
  body: {id: int}
  query: insert into keyless values (@id)
  rows: none
- route: GET /seen
  ttl: 60s
  max_lag: 1h
  query: select n from seen
- route: GET /late
  ttl: 60s
  max_lag: 1h
  query: select id, total from orders
- route: GET /unlogged
  ttl: 60s
  query: select count(*) from scratch
`

const seenSchema = "create view seen as select 1 as n from orders where id = 1;"

// What a standby answers is stored, judged by rows, and outdated by whatever the stream brings after it.
// standbyBecomes waits until health says so of the standby.
func (s *site) standbyBecomes(t *testing.T, state, reason string) {
	t.Helper()
	eventually(t, "health tells that the standby is "+state, func() bool {
		got, why, configured := s.StandbyHealth()
		return configured && got == state && strings.Contains(why, reason)
	})
}

func TestFillsFromAStandbyAreStoredAndOutdated(t *testing.T) {
	t.Parallel()
	s := newPair(t).site(t, followedSchema+seenSchema, standbyRoutes)
	ann, bob := s.stand(s.standbyFill(t, "GET /clients/1")), s.stand(s.standbyFill(t, "GET /clients/2"))
	if a, b := ann.Check(), bob.Check(); a != cache.Current || b != cache.Current {
		t.Fatalf("they are %s and %s", a, b)
	}
	s.exec(t, "update clients set name = 'Anna' where id = 1")
	eventually(t, "the change outdates its row", func() bool { return ann.Check() == cache.Outdated })
	if got := bob.Check(); got != cache.Current {
		t.Errorf("another row is %s", got)
	}
	if got := string(s.standbyFill(t, "GET /clients/1").Response.Body); !strings.Contains(got, "Anna") {
		t.Errorf("the standby, once it is asked again, says %s", got)
	}
	for _, request := range []string{"GET /primary/1", "GET /unlogged"} {
		if f := s.fill(t, request); f.Snapshot.Replayed != 0 || f.Refused != cache.Storable {
			t.Errorf("%s was answered by a standby, or refused: %v %q", request, f.Snapshot, f.Refused)
		}
	}
	s.standbyBecomes(t, "up", "")
}

// While the standby is behind, nobody is given what the log knows to have changed: not a row, not what a table was
// before it was renamed away, and not what forebay's own writes changed, whether a feed brings them or not.
func TestAPausedStandbyIsNotTakenForCurrent(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := p.site(t, followedSchema+seenSchema+"create table other (id int primary key, name text, status text); insert into other values (3, 'Other', 'new');", standbyRoutes)
	ann := s.stand(s.standbyFill(t, "GET /patient/1"))
	s.standbyFill(t, "GET /patient/2")
	s.standbyFill(t, "GET /keyless")
	resume := p.pause(t)
	s.exec(t, "update clients set name = 'Anna' where id = 1")
	eventually(t, "the stream brings it", func() bool { return ann.Check() == cache.Outdated })
	if got := s.body(t, "GET /patient/1"); !strings.Contains(got, "Anna") {
		t.Errorf("after the stream brought a change the answer is %s", got)
	}
	s.standbyFill(t, "GET /patient/2") // what has not changed is as good there as ever
	s.write(t, "PUT /clients/2", `{"name": "Bobby"}`)
	if got := s.body(t, "GET /patient/2"); !strings.Contains(got, "Bobby") {
		t.Errorf("after a write of forebay's own the answer is %s", got)
	}
	s.write(t, "POST /keyless", `{"id": 2}`)
	if got := s.body(t, "GET /keyless"); !strings.Contains(got, "2") {
		t.Errorf("after a write to a table that nobody follows the answer is %s", got)
	}
	changes := s.metrics.GetOrCreateCounter("forebay_db_catalogue_changes_total")
	replaced := func(request, ddl, want string) {
		t.Helper()
		s.standbyFill(t, request)
		before := changes.Get()
		s.exec(t, ddl)
		eventually(t, "the change of the catalogue is noticed", func() bool { return changes.Get() > before })
		stored := func() bool {
			f := s.fill(t, request)
			if f.Snapshot.Replayed != 0 || !strings.Contains(string(f.Response.Body), want) {
				t.Fatalf("%s, with its change noticed, is answered %s, by %v", request, f.Response.Body, f.Snapshot)
			}
			return f.Refused == cache.Storable
		}
		eventually(t, "what the primary answers is stored", stored)
		for range 20 {
			stored()
		}
	}
	replaced("GET /seen", "create or replace view seen as select 2 as n from orders where id = 1", "2")
	resume()
	if got := string(s.standbyFill(t, "GET /seen").Response.Body); !strings.Contains(got, "2") {
		t.Errorf("the standby, which has replayed it, says %s", got)
	}
	resume = p.pause(t)
	replaced("GET /patient/3", "alter table clients rename to old_clients; alter table other rename to clients", "Other")
	resume()
	if got := string(s.standbyFill(t, "GET /patient/3").Response.Body); !strings.Contains(got, "Other") {
		t.Errorf("the standby, which has replayed it, says %s", got)
	}
}

// The position is of before the query: a change that is replayed while a statement runs, which does not see it, lies
// behind what the fill has seen.
func TestAStandbysPositionIsOfBeforeItsQuery(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := p.site(t, followedSchema, `
- route: GET /one
  ttl: 60s
  max_lag: 1h
  query: select name, pg_advisory_xact_lock_shared(7) is null as no from clients where id = 1
- route: GET /several
  ttl: 60s
  max_lag: 1h
  queries:
    before: {sql: "select name from clients where id = 1", rows: one}
    lock: {sql: "select pg_advisory_xact_lock_shared(7)", rows: none}
    after: {sql: "select name from clients where id = 1", rows: one}
  response: {before: "@before", after: "@after"}
`)
	s.standbyFill(t, "GET /one")
	there := connect(t, onServer(t, s.url, p.standby))
	for i, request := range []string{"GET /one", "GET /several"} {
		s.standbyFill(t, request)
		script(t, there, "select pg_advisory_lock(7)")
		landed := make(chan cache.Fill)
		go func() {
			f, err := s.Fill(context.WithoutCancel(t.Context()), s.call(t, request, ""))
			if err != nil {
				t.Errorf("%s: %v", request, err)
			}
			landed <- f
		}()
		eventually(t, "the statement runs on the standby", func() bool {
			return one(t, there, "select count(*) from pg_locks where locktype = 'advisory' and not granted") == "1"
		})
		name := "Anna" + itoa(i)
		s.exec(t, "update clients set name = '"+name+"' where id = 1")
		eventually(t, "it is replayed", func() bool { return one(t, there, "select name from clients where id = 1") == name })
		now := s.clock.Now()
		eventually(t, "the stream has brought it", func() bool { return s.log.AsOf() > now })
		script(t, there, "select pg_advisory_unlock(7)")
		if f := <-landed; strings.Count(string(f.Response.Body), name) != strings.Count(string(f.Response.Body), "name") {
			t.Errorf("%s: answered %s, as of %v, when the log knew better", request, f.Response.Body, f.Snapshot)
		}
	}
}

// A standby further behind than the rule's max_lag is not asked for what nobody knows to have changed either.
func TestAStandbyIsBelievedForMaxLag(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := p.site(t, followedSchema+seenSchema, standbyRoutes)
	s.standbyFill(t, "GET /clients/1")
	defer p.pause(t)()
	s.exec(t, "update orders set total = 0") // so that the position moves on
	eventually(t, "the primary answers", func() bool { return s.fill(t, "GET /clients/1").Snapshot.Replayed == 0 })
	paused := s.clock.Now()
	eventually(t, "the bound has passed", func() bool { return s.clock.Now().Sub(paused) > 1200*time.Millisecond && s.log.AsOf() > paused })
	for range 20 {
		if f := s.fill(t, "GET /clients/1"); f.Snapshot.Replayed != 0 {
			t.Fatalf("answered by a standby that is %s behind", s.clock.Now().Sub(s.log.ReplayedAsOf(f.Snapshot.Replayed)))
		}
	}
}

// A standby's session that was made before the settings of its role were changed means other tables by the same
// words than the primary's sessions do, and what was found in those.
func TestAStandbysSessionHasThePrimarysSettings(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := p.site(t, followedSchema+`create schema nearer; create table nearer.clients (id int primary key, name text, status text);
		alter table nearer.clients replica identity full; insert into nearer.clients values (1, 'Near', 'active');`, `
- route: GET /clients/{id}
  ttl: 60s
  max_lag: 1h
  params: {id: int}
  query: select name from clients where id = @id
- route: GET /primary/{id}
  ttl: 60s
  reads: primary
  params: {id: int}
  query: select name from clients where id = @id
`)
	if f := s.standbyFill(t, "GET /clients/1"); !strings.Contains(string(f.Response.Body), "Ann") {
		t.Fatalf("the standby has %s", f.Response.Body)
	}
	s.exec(t, "do $$ begin execute format('alter database %I set search_path = nearer, public', current_database()); end $$")
	eventually(t, "the primary has sessions with the new settings", func() bool {
		s.one(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name = 'forebay' and state = 'idle' and query not like '%REPLICATION%'")
		f, err := s.Fill(t.Context(), s.call(t, "GET /primary/1", ""))
		return err == nil && strings.Contains(string(f.Response.Body), "Near")
	})
	if f := s.standbyFill(t, "GET /clients/1"); !strings.Contains(string(f.Response.Body), "Near") {
		t.Errorf("the standby has %s", f.Response.Body)
	}
}

// A URL that leads to a standby is answered, and nothing of it is stored: its snapshots list nobody who is at work.
func TestNothingIsStoredWhereTheURLLeadsToAStandby(t *testing.T) {
	t.Parallel()
	primary := newServer(t, "fsync = off")
	execOn(t, primary.URL("postgres"), clientsSchema)
	standby, err := private.StartStandby(t.Context(), primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	s := newSiteOn(t, standby.URL("postgres"), clientsRoutes)
	for range 3 { // whatever is known of the rule by then
		f := s.fill(t, "GET /clients/1")
		if f.Refused != cache.RefusedSnapshot {
			t.Errorf("%s is refused %q", f.Response.Body, f.Refused)
		}
	}
}

// Once it is promoted a server's position says nothing of the primary's changes.
func TestAPromotedStandbyIsNotBelieved(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := p.site(t, followedSchema+seenSchema, standbyRoutes)
	s.standbyFill(t, "GET /patient/1")
	promoted := connect(t, p.standby.URL("postgres"))
	script(t, promoted, "select pg_promote()")
	for range 50 {
		if f := s.fill(t, "GET /patient/1"); f.Snapshot.Replayed != 0 || f.Refused != cache.Storable {
			t.Fatalf("answered by what was promoted, or refused: %v %q", f.Snapshot, f.Refused)
		}
	}
	s.standbyBecomes(t, "degraded", "promoted")
}

// A standby of a standby follows the one that was promoted: its positions are of another history, though the
// primary of old still runs and is followed.
func TestAStandbyThatWentToAnotherTimelineIsNotBelieved(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	between := p.standby
	p.standby = startStandby(t, between)
	s := p.site(t, followedSchema+seenSchema, standbyRoutes)
	s.standbyFill(t, "GET /patient/1")
	script(t, connect(t, between.URL("postgres")), "select pg_promote()")
	far := connect(t, p.standby.URL("postgres"))
	eventually(t, "the standby follows it", func() bool {
		return one(t, far, "select coalesce((select received_tli from pg_stat_wal_receiver), 0)") == "2"
	})
	execOn(t, onServer(t, s.url, between), "update clients set name = 'Never'")
	eventually(t, "the standby has replayed it", func() bool {
		return one(t, connect(t, onServer(t, s.url, p.standby)), "select name from clients where id = 1") == "Never"
	})
	for range 50 {
		if f := s.fill(t, "GET /patient/1"); f.Snapshot.Replayed != 0 || strings.Contains(string(f.Response.Body), "Never") {
			t.Fatalf("answered by a standby of another history: %s", f.Response.Body)
		}
	}
	s.standbyBecomes(t, "degraded", "timeline 2")
}

// A role that may not see the timeline, and a server that follows another one.
func TestAStandbyThatCannotProveItselfIsNotBelieved(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	f := func(what, reason string, option func(*postgres.Config)) {
		t.Helper()
		s := p.site(t, followedSchema+seenSchema, standbyRoutes, option)
		eventually(t, what+": health tells", func() bool {
			state, got, _ := s.StandbyHealth()
			return state != "up" && strings.Contains(got, reason)
		})
		for range 20 {
			if f := s.fill(t, "GET /patient/1"); f.Snapshot.Replayed != 0 || f.Refused != cache.Storable {
				t.Fatalf("%s: answered by it, or refused: %v %q", what, f.Snapshot, f.Refused)
			}
		}
	}
	f("another server", "not a standby of the primary", func(c *postgres.Config) {
		u, err := url.Parse(string(c.Standby))
		if err != nil {
			t.Fatal(err)
		}
		c.Standby = rules.Secret(newDatabase(t, server, "") + "&application_name=" + u.Port())
	})
	execOn(t, p.primary.URL("postgres"), "create role reader login; grant pg_read_all_data to reader")
	f("a role that may not see it", "may not see which timeline", func(c *postgres.Config) {
		c.Standby = rules.Secret(strings.Replace(string(c.Standby), "postgres://postgres@", "postgres://reader@", 1))
	})
}

// The primary is away: a rule that would rather have an old answer than none has the standby's, unless it is known to
// be outdated. Nothing of it is stored.
func TestTheStandbyAnswersInsteadOfAPrimaryThatIsAway(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := p.site(t, followedSchema+seenSchema, strings.ReplaceAll(standbyRoutes, "max_lag: 1h", "on_lost: ttl"))
	s.standbyFill(t, "GET /patient/1")
	s.standbyFill(t, "GET /clients/1")
	resume := p.pause(t)
	late := s.stand(s.standbyFill(t, "GET /late"))
	s.exec(t, "update orders set total = 0")
	eventually(t, "the stream brings it", func() bool { return late.Check() == cache.Outdated })
	p.primary.Kill()
	t.Cleanup(func() { _ = p.primary.Start(context.Background()) }) // its database is dropped at the end
	ask := func(request string) (cache.Fill, error) { return s.Fill(t.Context(), s.call(t, request, "")) }
	eventually(t, "the stream is lost", func() bool { return !s.log.Feed().Live })
	if f, err := ask("GET /patient/1"); err != nil || f.Refused == cache.Storable || !strings.Contains(string(f.Response.Body), "Ann") {
		t.Errorf("a rule that takes what there is: %v, %q", err, f.Refused)
	}
	if _, err := ask("GET /late"); err == nil {
		t.Error("what is known to be outdated was answered")
	}
	if _, err := ask("GET /clients/1"); err == nil {
		t.Error("a rule that asks its source each time was answered by a standby")
	}
	s.standbyBecomes(t, "degraded", "it is read where the primary does not answer and the rule allows that")
	resume()
}

// Whatever happens to the tables and to the standby's replay, what is current is what the primary answers.
func TestCurrentResponsesFromAStandbyAreWhatThePrimaryAnswers(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	s := p.site(t, oracleSchema, strings.ReplaceAll(oracleRoutes, "ttl: 1h", "ttl: 1h"+patient))
	conn := connect(t, p.standby.URL("postgres"))
	compareWithDatabase(t, s, func(r *rand.Rand) {
		switch r.IntN(6) {
		case 0:
			script(t, conn, "select pg_wal_replay_pause()")
		case 1, 2, 3:
			script(t, conn, "select pg_wal_replay_resume()")
		}
	})
	script(t, conn, "select pg_wal_replay_resume()")
	if answered := s.metrics.GetOrCreateCounter(`forebay_standby_fills_total{result="answered"}`).Get(); answered < 100 {
		t.Errorf("only %d fills were answered by the standby", answered)
	}
	for name, n := range standbyResults(s) {
		t.Logf("%s: %d", name, n)
	}
}

func standbyResults(s *site) map[string]uint64 {
	results := make(map[string]uint64)
	for _, name := range []string{"answered", "refused", "behind", "failed", "instead"} {
		results[name] = s.metrics.GetOrCreateCounter(`forebay_standby_fills_total{result="` + name + `"}`).Get()
	}
	return results
}
