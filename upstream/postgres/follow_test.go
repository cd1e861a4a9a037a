package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"forebay/cache"
	"forebay/upstream/changes"
	"forebay/upstream/postgres"
)

// newFollowed makes a site whose log hears of everybody's changes, and that has surveyed its rules.
func newFollowed(t testing.TB, schema, routes string) *site {
	t.Helper()
	return newFollowedOn(t, newDatabase(t, server, schema), routes)
}

// newFollowedOn is newFollowed on a database that is there.
func newFollowedOn(t testing.TB, database, routes string, options ...func(*postgres.Config)) *site {
	t.Helper()
	var feed *changes.Feed
	s := newSiteWith(t, database, routes, func(s *site, deps *postgres.Deps) {
		var err error
		feed, err = changes.New(changes.Config{URL: s.config.URL, Mode: changes.ModeWAL}, changes.Deps{
			Log: s.log, Clock: s.clock, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet(),
		})
		if err != nil {
			t.Fatal(err)
		}
		deps.Feed = feed
		deps.FeedServer = func() (postgres.Server, bool) { id, ok := feed.Identity(); return postgres.Server(id), ok }
		deps.Uncovered = func(oid uint32) string {
			for _, u := range feed.Status().Uncovered {
				if u.Oid == oid && !u.Rows {
					return u.Reason
				}
			}
			return ""
		}
	}, options...)
	t.Cleanup(s.Close)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	work.Go(func() { _ = feed.Run(ctx) })
	t.Cleanup(func() { cancel(); work.Wait() })
	if err := s.Survey(ctx, s.rules.Rules()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the feed is live", func() bool { return s.log.Feed().Live })
	return s
}

// stored fills until the response may be stored, and ties it to the log.
func (s *site) stored(t testing.TB, request string) *cache.Standing {
	t.Helper()
	var standing *cache.Standing
	eventually(t, request+" may be stored", func() bool {
		f := s.fill(t, request)
		standing = s.stand(f)
		return f.Refused == cache.Storable && standing.Check() == cache.Current
	})
	return standing
}

const followedSchema = clientsSchema + `
alter table clients replica identity full;
create table orders (id int primary key, client int not null references clients on delete cascade, total int);
insert into orders values (1, 1, 10), (2, 2, 20);
create materialized view counted as select count(*) as n from orders;
create unlogged table scratch (id int primary key);
create table keyless (id int);
insert into keyless values (1);
`

const followedRoutes = clientsRoutes + `
- route: GET /orders
  ttl: 60s
  query: select id, total from orders order by id
- route: GET /clients/{id}/orders
  ttl: 60s
  params: {id: int}
  query: select o.id from orders o join clients c on c.id = o.client where c.id = @id
- route: GET /counted
  ttl: 60s
  query: select n from counted
- route: GET /scratch
  ttl: 60s
  query: select id from scratch
- route: GET /keyless
  ttl: 60s
  query: select id from keyless
- route: DELETE /clients/{id}
  params: {id: int}
  query: delete from clients where id = @id
  rows: none
- route: POST /clients
  body: {id: int, name: text, status: text}
  query: insert into clients (id, name, status) values (@id, @name, @status)
  rows: none
`

// What others change outdates the responses that read those rows, and no others.
func TestChangesOfOthersOutdateTheirRows(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, followedSchema, followedRoutes)
	ann, bob, nobody := s.stored(t, "GET /clients/1"), s.stored(t, "GET /clients/2"), s.stored(t, "GET /clients/99")
	active, paused, orders := s.stored(t, "GET /clients?status=active"), s.stored(t, "GET /clients?status=paused"), s.stored(t, "GET /orders")
	f := func(what string, outdated, current []*cache.Standing) {
		t.Helper()
		s.exec(t, what)
		for i, standing := range outdated {
			eventually(t, fmt.Sprintf("%s outdates the %dth", what, i), func() bool { return standing.Check() == cache.Outdated })
		}
		for i, standing := range current {
			if got := standing.Check(); got != cache.Current {
				t.Errorf("%s: the %dth is %s, because of %+v", what, i, got, standing.Cause())
			}
		}
	}
	f("update clients set name = 'Anna' where id = 1", []*cache.Standing{ann, active}, []*cache.Standing{bob, nobody, paused, orders})
	f("insert into clients values (99, 'New', 'trial')", []*cache.Standing{nobody}, []*cache.Standing{bob, paused, orders})
	f("update clients set status = 'active' where id = 2", []*cache.Standing{bob, paused}, []*cache.Standing{orders})
	f("update orders set total = 1 where id = 1", []*cache.Standing{orders}, nil)
	if got := s.body(t, "GET /clients/1"); !strings.Contains(got, "Anna") {
		t.Errorf("a new fill reads %s", got)
	}
}

// An own write waits for its change to come in, so that it outdates no more than anybody's.
func TestOwnWritesOutdateTheirRows(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, followedSchema, followedRoutes)
	ann, bob, paused := s.stored(t, "GET /clients/1"), s.stored(t, "GET /clients/2"), s.stored(t, "GET /clients?status=paused")
	s.write(t, "PUT /clients/1", `{"name": "Anna"}`)
	if got := ann.Check(); got != cache.Outdated {
		t.Errorf("the row that was written is %s when the write is answered", got)
	}
	if a, b := bob.Check(), paused.Check(); a != cache.Current || b != cache.Current {
		t.Errorf("other rows are %s and %s", a, b)
	}
	// cascades come in as well
	orders := s.stored(t, "GET /orders")
	s.write(t, "DELETE /clients/1", "")
	if got := orders.Check(); got != cache.Outdated {
		t.Errorf("what the cascade deleted from is %s", got)
	}
	if got := bob.Check(); got != cache.Current {
		t.Errorf("another row is %s", got)
	}
}

// A join is told apart by the rows of the one table and not of the other.
func TestRowsOfOneTableAndAllOfAnother(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, followedSchema, followedRoutes)
	one, two := s.stored(t, "GET /clients/1/orders"), s.stored(t, "GET /clients/2/orders")
	s.exec(t, "update clients set name = 'x' where id = 1")
	eventually(t, "the client's change outdates", func() bool { return one.Check() == cache.Outdated })
	if got := two.Check(); got != cache.Current {
		t.Errorf("the other client's orders are %s", got)
	}
	s.exec(t, "update orders set total = 0 where id = 1")
	eventually(t, "any order outdates", func() bool { return two.Check() == cache.Outdated })
}

// What the stream cannot bring is on its TTL, and says why.
func TestUnheardOfIsOnTTL(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, followedSchema, followedRoutes)
	for route, reason := range map[string]string{"GET /counted": "materialized view", "GET /scratch": "unlogged table", "GET /keyless": "no primary key"} {
		eventually(t, route+" is stored on TTL", func() bool {
			f := s.fill(t, route)
			// Own writes to such tables are known all the same, so changes do concern it.
			return f.Refused == cache.Storable && !f.Response.TTLOnly
		})
		if c := s.Classification(s.call(t, route, "").Rule); c.Exact || !strings.Contains(c.Reason, reason) {
			t.Errorf("%s is judged %+v; want %q", route, c, reason)
		}
	}
	if c := s.Classification(s.call(t, "GET /clients/1", "").Rule); !c.Exact || strings.Join(c.Rows, " ") != "clients[id]" || c.Reason != "" {
		t.Errorf("by id is judged %+v", c)
	}
}

// Without replica identity FULL the old status of a row is not known: lists depend on the table, and by-id
// responses still on their rows.
func TestRowsTheStreamCannotTellApart(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, clientsSchema, clientsRoutes)
	ann, bob, paused := s.stored(t, "GET /clients/1"), s.stored(t, "GET /clients/2"), s.stored(t, "GET /clients?status=paused")
	s.exec(t, "update clients set name = 'Anna' where id = 1")
	eventually(t, "the row and the list are outdated", func() bool { return ann.Check() == cache.Outdated && paused.Check() == cache.Outdated })
	if got := bob.Check(); got != cache.Current {
		t.Errorf("another row is %s", got)
	}
	if c := s.Classification(s.call(t, "GET /clients", "").Rule); !strings.Contains(strings.Join(c.Whole, " "), "does not tell its rows apart by status") {
		t.Errorf("lists are judged %+v", c)
	}
}

// fakeFeed follows nothing by itself.
type fakeFeed struct {
	brings    atomic.Bool
	asked     atomic.Uint64
	meanwhile func() // happens while a write waits; nil: nothing

	mu     sync.Mutex // guards wanted
	wanted map[uint32][]int16
}

func (f *fakeFeed) Watch(wanted map[uint32][]int16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = wanted
}

func (f *fakeFeed) Wait(ctx context.Context, xid uint64) bool {
	f.asked.Store(xid)
	if f.meanwhile != nil {
		f.meanwhile()
	}
	if f.brings.Load() {
		return true
	}
	<-ctx.Done()
	return false
}

// covered is a live feed of all that is wanted.
func (f *fakeFeed) covered() *cache.Feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	feed := &cache.Feed{Mode: cache.FeedWAL, Live: true, Covered: make(map[uint32]cache.Coverage)}
	for oid, columns := range f.wanted {
		feed.Covered[oid] = cache.Coverage{Columns: columns}
	}
	return feed
}

// hear has the log hear of everything that is wanted, as of now.
func (s *site) hear(feed *cache.Feed) {
	s.log.SetFeed(feed)
	s.log.Advance(s.clock.Now(), cache.Snapshot{})
}

func newFaked(t testing.TB, schema, routes string) (*site, *fakeFeed) {
	t.Helper()
	return newFakedOn(t, newDatabase(t, server, schema), routes)
}

func newFakedOn(t testing.TB, database, routes string, options ...func(*postgres.Config)) (*site, *fakeFeed) {
	t.Helper()
	feed := new(fakeFeed)
	s := newSiteWith(t, database, routes, func(_ *site, deps *postgres.Deps) { deps.Feed = feed }, options...)
	t.Cleanup(s.Close)
	if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
		t.Fatal(err)
	}
	return s, feed
}

// A change that does not come in time is marked by what the write had locked, before it is answered.
func TestOwnWriteThatDoesNotComeInIsMarked(t *testing.T) {
	t.Parallel()
	s, feed := newFaked(t, followedSchema, followedRoutes)
	s.hear(feed.covered())
	ann, bob := s.stored(t, "GET /clients/1"), s.stored(t, "GET /clients/2")
	feed.brings.Store(true)
	w := s.write(t, "PUT /clients/1", `{"name": "Anna"}`)
	if got := bob.Check(); feed.asked.Load() != w.Change.Xid || got != cache.Current || ann.Check() != cache.Current {
		t.Errorf("with the change said to have come in: waited for %d of %d, %s", feed.asked.Load(), w.Change.Xid, got)
	}
	feed.brings.Store(false)
	start := time.Now()
	s.write(t, "PUT /clients/1", `{"name": "Anna"}`)
	if a, b := ann.Check(), bob.Check(); a != cache.Outdated || b != cache.Outdated {
		t.Errorf("with the change late the responses are %s and %s", a, b)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("the write took %s", took)
	}
	if f := s.fill(t, "GET /clients/1"); s.stand(f).Check() != cache.Current {
		t.Error("a response from after the write is not current")
	}
	// a feed that is lost is not waited for
	s.log.SetFeed(&cache.Feed{Mode: cache.FeedWAL, Reason: "lost"})
	feed.asked.Store(0)
	s.write(t, "PUT /clients/1", `{"name": "Anna"}`)
	if feed.asked.Load() != 0 {
		t.Error("waited for a feed that is lost")
	}
}

// The answer to COMMIT is lost: whether the feed brings the change or not, what it may have changed is
// marked when the write is answered.
func TestLostCommitIsMarkedBesideAFeed(t *testing.T) {
	t.Parallel()
	r := newRelay(t, newDatabase(t, server, followedSchema+`
		create function lose() returns trigger language plpgsql as $$ begin perform pg_sleep(0.2); return null; end $$;
		create constraint trigger lose after update on clients deferrable initially deferred for each row execute function lose();`))
	s, feed := newFakedOn(t, r.url, followedRoutes)
	s.hear(feed.covered())
	ann, bob := s.stored(t, "GET /clients/1"), s.stored(t, "GET /clients/2")
	observer := connect(t, s.serverURL(t, r))
	done := make(chan error, 1)
	go func() {
		_, err := s.tryWrite(t, "PUT /clients/1", `{"name": "Anna"}`)
		done <- err
	}()
	eventually(t, "the commit is on its way", func() bool {
		return one(t, observer, "select count(*) from pg_stat_activity where query ilike 'commit%' and state = 'active' and datname = current_database()") == "1"
	})
	r.deaf.Store(true)
	r.cut()
	if e := failure(t, <-done); e.Class != postgres.OutcomeUnknown {
		t.Errorf("%s: %v", e.Class, e)
	}
	if a, b := ann.Check(), bob.Check(); a != cache.Outdated || b != cache.Outdated {
		t.Errorf("the responses are %s and %s", a, b)
	}
}

// The server crashes while a write waits for its change to come in, and loses it. What the write marks then is of
// an ended epoch: another transaction that is given its id is a change all the same.
func TestALostWritesIdMayBeGivenToAnother(t *testing.T) {
	t.Parallel()
	s, feed := newFaked(t, followedSchema, followedRoutes)
	s.hear(feed.covered())
	feed.meanwhile = func() { s.log.NewEpoch("after a crash") } // as the feed does
	lost := s.write(t, "PUT /clients/1", `{"name": "Anna"}`).Change
	xid := lost.Xid
	f := s.fill(t, "GET /clients/1")
	f.Snapshot = cache.Snapshot{Xmin: xid, Xmax: xid} // as in the server's new life
	standing := s.stand(f)
	if got := standing.Check(); got != cache.Current {
		t.Fatalf("what was read after it is %s, because of %+v", got, standing.Cause())
	}
	s.log.Commit(cache.Change{Xid: xid, LSN: 1, Dependencies: lost.Dependencies})
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("after a change by another of that id it is %s", got)
	}
}

// Nothing is stored that the feed might not outdate.
func TestFillsAreAdmittedByTheFeed(t *testing.T) {
	t.Parallel()
	s, feed := newFaked(t, followedSchema, followedRoutes)
	refusal := func() cache.Refusal { return s.fill(t, "GET /clients/1").Refused }
	covered := feed.covered()
	f := func(name string, feed *cache.Feed, want cache.Refusal) {
		t.Helper()
		s.hear(feed)
		if got := refusal(); got != want {
			t.Errorf("%s: refused %q; want %q", name, got, want)
		}
	}
	f("live", covered, cache.Storable)
	f("lost", &cache.Feed{Mode: cache.FeedWAL}, cache.RefusedFeed)
	f("nothing covered yet", &cache.Feed{Mode: cache.FeedWAL, Live: true}, cache.RefusedFeed)
	f("begun in the future", &cache.Feed{Mode: cache.FeedWAL, Live: true, Covered: covered.Covered, Exported: cache.Snapshot{Xmin: 1 << 40, Xmax: 1 << 40}}, cache.RefusedAdmission)
	f("off", &cache.Feed{Mode: cache.FeedOff, Live: true}, cache.Storable)
}

// What the survey finds is asked for, with columns, before anything is read.
func TestSurveyAsksTheFeedForTablesAndColumns(t *testing.T) {
	t.Parallel()
	s, feed := newFaked(t, followedSchema, followedRoutes)
	feed.mu.Lock()
	defer feed.mu.Unlock()
	wanted := make(map[string]string)
	for oid, columns := range feed.wanted {
		wanted[s.TableName(cache.Relation(oid))] = fmt.Sprint(columns)
	}
	want := map[string]string{"clients": "[1 3]", "orders": "[2]", "counted": "[]", "scratch": "[]", "keyless": "[]"}
	if fmt.Sprint(wanted) != fmt.Sprint(want) {
		t.Errorf("wanted are %v; want %v", wanted, want)
	}
}

// A commit that waits for a synchronous standby is brought by the stream, and seen by nobody until the standby is
// there or given up: meanwhile the row as it was may not be stored, and others may.
func TestACommitThatNobodySeesYet(t *testing.T) {
	t.Parallel()
	// Whoever does not ask for more waits for nobody: when every process of a server has heard of a setting is not told.
	pg := newServer(t, "fsync = off", "synchronous_standby_names = 'nobody'", "synchronous_commit = local")
	database := newDatabase(t, pg.URL("postgres"), followedSchema)
	s := newFollowedOn(t, database, followedRoutes)
	ann, bob := s.stored(t, "GET /clients/1"), s.stored(t, "GET /clients/2")
	admin, writer := connect(t, database), connect(t, database)
	script(t, writer, "set synchronous_commit = on")
	done := make(chan error, 1)
	var writing sync.WaitGroup
	writing.Go(func() {
		_, err := writer.Exec(context.WithoutCancel(t.Context()), "update clients set name = 'Anna' where id = 1")
		done <- err
	})
	giveUp := func() {
		script(t, admin, "alter system set synchronous_standby_names = ''")
		script(t, admin, "select pg_reload_conf()")
		writing.Wait()
	}
	t.Cleanup(giveUp)
	eventually(t, "the stream brings it", func() bool { return ann.Check() == cache.Outdated })
	for range 3 {
		f := s.fill(t, "GET /clients/1")
		if !strings.Contains(string(f.Response.Body), "Ann\"") {
			t.Fatalf("%s is visible", f.Response.Body)
		}
		if got := s.stand(f).Check(); got != cache.Outdated {
			t.Errorf("the row as it was is %s", got)
		}
	}
	if got := bob.Check(); got != cache.Current {
		t.Errorf("another row is %s", got)
	}
	giveUp()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the row is stored", func() bool {
		f := s.fill(t, "GET /clients/1")
		return f.Refused == cache.Storable && s.stand(f).Check() == cache.Current && strings.Contains(string(f.Response.Body), "Anna")
	})
}

// What a survey has found out is followed while it waits for another rule, and it tells how far it is.
func TestSurveysAreFollowedMeanwhile(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, server, "create table first (id int primary key); create table second (id int primary key)")
	feed := new(fakeFeed)
	s := newSiteWith(t, database, `
- {route: GET /first, ttl: 60s, query: select id from first}
- {route: GET /second, ttl: 60s, query: select id from second}
`, func(_ *site, deps *postgres.Deps) { deps.Feed = feed }, func(c *postgres.Config) { c.StatementTimeout = patience })
	t.Cleanup(s.Close)
	conn := connect(t, database)
	script(t, conn, "begin; lock second")
	ended := make(chan error, 1)
	go func() { ended <- s.Survey(t.Context(), s.rules.Rules()) }()
	eventually(t, "the first rule's table is followed", func() bool { return len(feed.covered().Covered) == 1 })
	if judged, of := s.Judging(); judged != 1 || of != 2 {
		t.Errorf("%d of %d rules are judged", judged, of)
	}
	script(t, conn, "rollback")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if judged, of := s.Judging(); judged != 0 || of != 0 || len(feed.covered().Covered) != 2 {
		t.Errorf("after the survey %d of %d rules are judged, and %v are followed", judged, of, feed.covered().Covered)
	}
}
