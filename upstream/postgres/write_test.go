package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"forebay/cache"
	"forebay/upstream/postgres"
)

const shopSchema = `
create extension if not exists btree_gist;
create table clients (
  id int primary key, email text not null unique, age int check (age >= 0), status text not null default 'active',
  constraint short_status check (length(status) < 10));
create unique index on clients (lower(status), age);
create table orders (id int primary key, client int not null references clients on delete cascade on update cascade, total numeric(6,2));
create table lines (id int primary key, "order" int not null references orders on delete cascade);
create table bookings (room int, during int4range, exclude using gist (room with =, during with &&));
create table audit (at timestamptz default now(), what text);
create table late (id int primary key, partner int, constraint pair foreign key (partner) references late deferrable initially deferred);
create function noted() returns trigger language plpgsql as $$ begin insert into audit (what) values (tg_op); return null; end $$;
create trigger noted after insert or update or delete on clients for each statement execute function noted();
create table split (id int) partition by range (id);
create table split_1 partition of split for values from (0) to (10);
create function forbid() returns void language plpgsql as $$ begin raise check_violation using message = 'secret'; end $$;
create table sparse (id int primary key, name text not null);
insert into clients values (1, 'ann@x', 30), (2, 'bob@x', 40);
insert into orders values (1, 1, 10); insert into lines values (1, 1);
create procedure in_steps(n int) language plpgsql as $$
begin
  for i in 1..n loop insert into audit (what) values ('step ' || i); commit; end loop;
end $$;
create function shout(what text) returns void language plpgsql as $$ begin raise exception 'no %', what using hint = 'Ask nicely.'; end $$;
`

const shopRoutes = `
- route: POST /clients
  body: {id: int, email: text, age: {type: int, optional: true}, status: {type: text, default: active}}
  query: insert into clients (id, email, age, status) values (@id, @email, @age, @status) returning id, email
  rows: one
  status: 201
- route: GET /clients/{id}
  ttl: 60s
  params: {id: int}
  query: select id, email, age from clients where id = @id
  rows: one
- route: GET /orders
  ttl: 60s
  query: select id from orders order by id
- route: GET /audit
  ttl: 60s
  query: select what from audit
- route: GET /sparse
  ttl: 60s
  query: select count(*) from sparse
- route: DELETE /clients/{id}
  params: {id: int}
  query: delete from clients where id = @id returning id
  rows: one
- route: POST /orders
  body: {id: int, client: int, total: {type: number, default: 1}}
  query: insert into orders (id, client, total) values (@id, @client, @total)
  rows: none
  status: 204
- route: POST /bookings
  body: {room: int, from: int, to: int}
  query: insert into bookings values (@room, int4range(@from, @to))
  rows: none
- route: POST /sparse
  body: {id: int, name: {type: text, optional: true}}
  query: insert into sparse (id, name) values (@id, @name)
  rows: none
- route: POST /late
  body: {id: int, partner: int}
  query: insert into late values (@id, @partner)
  rows: none
- route: POST /steps
  body: {n: int}
  query: call in_steps(@n)
  rows: none
- route: POST /shout
  body: {what: text}
  query: select shout(@what)
  rows: none
- route: POST /split
  body: {id: int}
  query: insert into split values (@id)
  rows: none
- route: POST /forbid
  query: select forbid()
  rows: none
- route: POST /nothing
  query: update clients set age = age where id = -1 returning id
- route: DELETE /late/{id}
  params: {id: int}
  query: delete from late where id = @id
  rows: none
- route: POST /vacuum
  query: vacuum audit
  rows: none
`

func TestConstraintsBecomeAnswers(t *testing.T) {
	t.Parallel()
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, shopSchema, shopRoutes, option)
			f := func(request, body string, status int, code, field, detail string) {
				t.Helper()
				_, err := s.tryWrite(t, request, body)
				e := failure(t, err)
				if e.Status != status || e.Code != code || e.Field != field || e.Detail != detail {
					t.Errorf("%s %s: %d %s %q %q; want %d %s %q %q", request, body, e.Status, e.Code, e.Field, e.Detail, status, code, field, detail)
				}
			}
			// unique, also on an expression
			f("POST /clients", `{"id": 1, "email": "new@x"}`, 409, "23505", "id", "A row with this id already exists.")
			f("POST /clients", `{"id": 9, "email": "ann@x"}`, 409, "23505", "email", "A row with this email already exists.")
			f("POST /clients", `{"id": 9, "email": "c@x", "age": 30, "status": "ACTIVE"}`, 409, "23505", "status, age", "A row with this status and age already exists.")
			// foreign key
			f("POST /orders", `{"id": 9, "client": 77}`, 409, "23503", "client", "No row with this client exists.")
			// check
			f("POST /clients", `{"id": 9, "email": "c@x", "age": -1}`, 422, "23514", "age", `The values break the rule "clients_age_check".`)
			f("POST /clients", `{"id": 9, "email": "c@x", "status": "much too long"}`, 422, "23514", "status", `The values break the rule "short_status".`)
			f("POST /split", `{"id": 10}`, 422, "23514", "", `No partition of "split" takes the values.`)
			f("POST /forbid", ``, 422, "23514", "", "The values break a rule of the database.")
			// not null
			f("POST /sparse", `{"id": 9}`, 422, "23502", "name", "name must not be null.")
			// a number that does not fit
			f("POST /orders", `{"id": 9, "client": 1, "total": 123456}`, 422, "22003", "total", "total is out of range.")
			// raised by a function
			f("POST /shout", `{"what": "way"}`, 400, "P0001", "", "no way.")
			// exclusion
			s.write(t, "POST /bookings", `{"room": 1, "from": 1, "to": 5}`)
			f("POST /bookings", `{"room": 1, "from": 3, "to": 9}`, 409, "23P01", "room, during", "The row overlaps with another one.")
			// a deferred constraint, which only the commit finds
			f("POST /late", `{"id": 1, "partner": 2}`, 409, "23503", "partner", "No row with this partner exists.")
			if got := s.one(t, "select count(*) from late"); got != "0" {
				t.Errorf("%s rows stayed after a commit that was refused", got)
			}
			// a row that is still referred to, in the very table
			s.write(t, "POST /late", `{"id": 3, "partner": 3}`)
			s.write(t, "POST /late", `{"id": 4, "partner": 3}`)
			f("DELETE /late/3", ``, 409, "23503", "id", "The row with this id is still referred to.")
			if got := s.BreakerState(); got != "closed" {
				t.Errorf("breaker is %s", got)
			}
		})
	}
}

// Values of rows never reach the sender: they may be somebody else's.
func TestErrorsShowNoValues(t *testing.T) {
	t.Parallel()
	s := newSite(t, shopSchema, shopRoutes)
	s.exec(t, "update clients set email = 'secret@example' where id = 1")
	_, err := s.tryWrite(t, "POST /clients", `{"id": 9, "email": "secret@example"}`)
	e := failure(t, err)
	if shown := e.Detail + e.Hint + e.Field; strings.Contains(shown, "secret") {
		t.Errorf("the sender is shown %q", shown)
	}
	if !strings.Contains(e.Error(), "clients_email_key") {
		t.Errorf("the operator is told %q; want the constraint", e.Error())
	}
}

func TestWritesOutdateWhatTheyTouch(t *testing.T) {
	t.Parallel()
	for way, option := range bothWays {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, shopSchema, shopRoutes, option)
			stand := func(request string) *cache.Standing { return s.stand(s.fill(t, request)) }
			client, orders, audit, sparse := stand("GET /clients/1"), stand("GET /orders"), stand("GET /audit"), stand("GET /sparse")
			w := s.write(t, "DELETE /clients/1", "")
			for name, standing := range map[string]*cache.Standing{"clients": client, "orders (cascade)": orders, "audit (trigger)": audit} {
				if standing.Check() != cache.Outdated {
					t.Errorf("%s: not outdated by %+v", name, w.Change)
				}
			}
			if sparse.Check() != cache.Current {
				t.Error("sparse: outdated, though nothing touched it")
			}
			if !w.Change.Visible || w.Change.Xid == 0 || w.LSN == "" || !strings.Contains(string(w.Response.Body), `"id":1`) {
				t.Errorf("answered %+v with %s", w, w.Response.Body)
			}
			// its own change is visible, and judged so
			if f := s.fill(t, "GET /clients/1"); f.Response.Status != 404 || s.stand(f).Check() != cache.Current {
				t.Errorf("after the write: status %d, %s", f.Response.Status, s.stand(f).Check())
			}
		})
	}
}

// What happens to a sequence is of no transaction, and no feed brings it: the write outdates what was read of it.
func TestWritesOutdateWhatTheyCount(t *testing.T) {
	t.Parallel()
	s := newSite(t, "create sequence numbers; create table counted (id int primary key default nextval('numbers'))", `
- route: GET /number
  ttl: 60s
  query: select last_value from numbers
  rows: value
- route: POST /counted
  query: insert into counted default values
  rows: none
`)
	standing := s.stand(s.fill(t, "GET /number"))
	s.write(t, "POST /counted", "")
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("the number read before is %s", got)
	}
}

func TestWriteThatChangesNothingOutdatesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, shopSchema+"alter table clients disable trigger all;", shopRoutes)
	standing := s.stand(s.fill(t, "GET /clients/1"))
	w := s.write(t, "POST /nothing", "")
	if got := string(w.Response.Body); got != "[]" || w.Change.Xid != 0 || standing.Check() != cache.Current {
		t.Errorf("answered %s, change %+v, %s", got, w.Change, standing.Check())
	}
}

func TestRefusedWriteLeavesResponsesCurrent(t *testing.T) {
	t.Parallel()
	s := newSite(t, shopSchema, shopRoutes)
	standing := s.stand(s.fill(t, "GET /clients/1"))
	if _, err := s.tryWrite(t, "POST /clients", `{"id": 1, "email": "new@x"}`); err == nil {
		t.Fatal("a duplicate was taken")
	}
	if got := standing.Check(); got != cache.Current {
		t.Errorf("after a refused write: %s", got)
	}
}

// A procedure that commits cannot run in a transaction of ours, and what it did cannot be asked afterwards.
func TestProcedureThatCommitsOutdatesEverything(t *testing.T) {
	t.Parallel()
	s := newSite(t, shopSchema, shopRoutes)
	for _, n := range []string{"3", "2"} { // found out, then known
		standing := s.stand(s.fill(t, "GET /audit"))
		s.write(t, "POST /steps", `{"n": `+n+`}`)
		if got := standing.Check(); got != cache.Outdated {
			t.Errorf("after %s steps: %s", n, got)
		}
	}
	if got := s.one(t, "select count(*) from audit where what like 'step%'"); got != "5" {
		t.Errorf("%s steps were taken; want 5", got)
	}
	s.write(t, "POST /vacuum", "")
	if _, err := s.Fill(t.Context(), s.call(t, "GET /audit", "")); err != nil {
		t.Error(err)
	}
	if got := s.one(t, "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in%'"); got != "0" {
		t.Errorf("%s sessions are in a transaction", got)
	}
}

// The answer to COMMIT is lost: the write may have happened, and then nobody may be served the old row.
func TestLostCommitIsMarked(t *testing.T) {
	t.Parallel()
	r := newRelay(t, newDatabase(t, server, shopSchema+`
		create function lose() returns trigger language plpgsql as $$ begin perform pg_sleep(0.2); return null; end $$;
		create constraint trigger lose after insert on sparse deferrable initially deferred for each row execute function lose();`))
	s := newSiteOn(t, r.url, shopRoutes)
	standing := s.stand(s.fill(t, "GET /sparse"))
	observer := connect(t, s.serverURL(t, r))
	done := make(chan error, 1)
	go func() {
		_, err := s.tryWrite(t, "POST /sparse", `{"id": 1, "name": "x"}`)
		done <- err
	}()
	eventually(t, "the commit is on its way", func() bool {
		return one(t, observer, "select count(*) from pg_stat_activity where query ilike 'commit%' and state = 'active' and datname = current_database()") == "1"
	})
	r.deaf.Store(true)
	eventually(t, "it happened", func() bool { return one(t, observer, "select count(*) from sparse") == "1" })
	r.cut()
	e := failure(t, <-done)
	if e.Class != postgres.OutcomeUnknown || e.Status != 504 {
		t.Errorf("%s, status %d: %v", e.Class, e.Status, e)
	}
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("the old count is %s", got)
	}
	r.deaf.Store(false)
	f := s.fill(t, "GET /sparse")
	if got := string(f.Response.Body); got != `[{"count":1}]` || s.stand(f).Check() != cache.Current {
		t.Errorf("afterwards: %s, %s", got, s.stand(f).Check())
	}
	if got := one(t, observer, "select count(*) from sparse"); got != "1" {
		t.Errorf("%s rows: the write was repeated", got)
	}
}

// serverURL is the site's database without the relay in front of it.
func (s *site) serverURL(t testing.TB, r *relay) string {
	t.Helper()
	return strings.Replace(s.url, r.listener.Addr().String(), r.target, 1)
}

// Whoever reads after a write was answered reads it, however many do both at once.
func TestReadersSeeWhatWasAnswered(t *testing.T) {
	t.Parallel()
	s := newSite(t, `create table counters (id int primary key, n int not null); insert into counters select i, 0 from generate_series(1, 4) i`, `
- route: GET /counters/{id}
  ttl: 60s
  params: {id: int}
  query: select n from counters where id = @id
  rows: value
- route: POST /counters/{id}
  params: {id: int}
  query: update counters set n = n + 1 where id = @id returning n
  rows: value
`)
	errs := make(chan error, 4)
	for id := range 4 {
		go func() { errs <- s.countUp(t.Context(), t, id+1) }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// countUp writes and reads one counter in turns, keeping what it read as a cache does.
func (s *site) countUp(ctx context.Context, t testing.TB, id int) error {
	var stored *cache.Standing
	var body string
	for i := range 100 {
		w, err := s.Write(ctx, s.call(t, fmt.Sprintf("POST /counters/%d", id), ""))
		if err != nil {
			return err
		}
		want := string(w.Response.Body)
		for range 2 {
			if stored == nil || stored.Check() != cache.Current {
				f, err := s.Fill(ctx, s.call(t, fmt.Sprintf("GET /counters/%d", id), ""))
				if err != nil {
					return err
				}
				stored, body = s.stand(f), string(f.Response.Body)
			}
			if body != want {
				return fmt.Errorf("counter %d, round %d: read %s after %s was answered", id, i, body, want)
			}
		}
	}
	return nil
}

func TestObservationsNameTables(t *testing.T) {
	t.Parallel()
	s := newSite(t, shopSchema, shopRoutes)
	s.write(t, "POST /clients", `{"id": 9, "email": "c@x"}`)
	o := <-s.observed
	slices.Sort(o.Tables)
	if !o.Write || o.Rows != 1 || strings.Join(o.Tables, " ") != "audit clients" {
		t.Errorf("observed %+v", o)
	}
}
