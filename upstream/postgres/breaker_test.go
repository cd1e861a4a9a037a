package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"forebay/upstream/postgres"
)

const faultsSchema = clientsSchema + `
create function fail(code text) returns int language plpgsql as $$ begin raise exception using errcode = code, message = 'made up'; end $$;
`

const faultsRoutes = `
- route: GET /fail
  params: {code: text}
  query: select fail(@code) as n
- route: POST /fail
  params: {code: text}
  query: select fail(@code) as n
- route: GET /sleep
  params: {seconds: number}
  query: select pg_sleep(@seconds)::text as s
- route: GET /number
  params: {n: text}
  query: select @n::text::int as n
- route: GET /one
  query: select 1 as n
  rows: value
`

func noRetries(c *postgres.Config) { c.Retry.Attempts = 1 }
func impatient(c *postgres.Config) { c.StatementTimeout = 400 * time.Millisecond }
func soonTripped(c *postgres.Config) {
	c.Breaker.Failures = 3
	c.Breaker.OpenFor = 50 * time.Millisecond
}
func longOpen(c *postgres.Config) { c.Breaker.Failures = 3; c.Breaker.OpenFor = time.Hour }

func TestBreakerOpensOnTheDatabasesFaultsOnly(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, server, faultsSchema)
	f := func(name, request string, class postgres.ErrorClass, state string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := []func(*postgres.Config){noRetries, longOpen}
			if class == postgres.StatementTimeout {
				options = append(options, impatient)
			}
			s := newSiteOn(t, database, faultsRoutes, options...)
			for i := range 3 {
				_, err := s.Fill(t.Context(), s.call(t, request, ""))
				if e := failure(t, err); e.Class != class {
					t.Fatalf("call %d is %s (%v); want %s", i, e.Class, e, class)
				}
			}
			if got := s.BreakerState(); got != state {
				t.Errorf("breaker is %s; want %s", got, state)
			}
		})
	}
	// the database's
	f("statement timeout", "GET /sleep?seconds=5", postgres.StatementTimeout, "open")
	f("shutdown", "GET /fail?code=57P01", postgres.Unavailable, "open")
	f("out of memory", "GET /fail?code=53200", postgres.Unavailable, "open")
	f("disk full", "GET /fail?code=53100", postgres.Unavailable, "open")
	f("too many connections", "GET /fail?code=53300", postgres.Unavailable, "open")
	f("i/o error", "GET /fail?code=58030", postgres.Unavailable, "open")
	f("internal error", "GET /fail?code=XX000", postgres.Unavailable, "open")
	// the caller's
	f("wrong text", "GET /number?n=4x2", postgres.Invalid, "closed")
	f("out of range", "GET /number?n=99999999999", postgres.Invalid, "closed")
	f("unique", "GET /fail?code=23505", postgres.Conflict, "closed")
	f("check", "GET /fail?code=23514", postgres.Invalid, "closed")
	f("raised", "GET /fail?code=P0001", postgres.Raised, "closed")
	// others' or the rule's
	f("deadlock", "GET /fail?code=40P01", postgres.Busy, "closed")
	f("serialization", "GET /fail?code=40001", postgres.Busy, "closed")
	f("syntax", "GET /fail?code=42601", postgres.Fault, "closed")
}

func TestBreakerDoesNotCountCallersWhoLeaveOrWait(t *testing.T) {
	t.Parallel()
	s := newSite(t, faultsSchema, faultsRoutes, noRetries, longOpen, func(c *postgres.Config) {
		c.StatementTimeout = time.Minute
		c.MaxConnections, c.AcquireTimeout = 1, time.Second
	})
	held, release := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Fill(held, s.call(t, "GET /sleep?seconds=60", ""))
		done <- err
	}()
	eventually(t, "the connection is in use", func() bool { return s.Stats().InUse == 1 })
	for range 3 {
		_, err := s.Fill(t.Context(), s.call(t, "GET /one", ""))
		if e := failure(t, err); e.Class != postgres.PoolExhausted || e.Status != 503 || e.RetryAfter <= 0 {
			t.Errorf("with the pool exhausted: %s, status %d, retry after %s", e.Class, e.Status, e.RetryAfter)
		}
	}
	release()
	if e := failure(t, <-done); e.Class != postgres.Canceled {
		t.Errorf("given up: %s, %v", e.Class, e)
	}
	for range 3 {
		s.body(t, "GET /one") // connected: what follows is about the statement
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		_, err := s.Fill(ctx, s.call(t, "GET /sleep?seconds=60", ""))
		cancel()
		if e := failure(t, err); e.Class != postgres.Deadline || e.Status != 504 {
			t.Errorf("out of time: %s, status %d, %v", e.Class, e.Status, e)
		}
	}
	if got := s.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s", got)
	}
	if got := s.Stats().Timeouts; got != 3 {
		t.Errorf("%d waits timed out; want 3", got)
	}
	s.body(t, "GET /one")
}

// A canceled request ends its query on the server.
func TestCancelReachesTheServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, faultsSchema, faultsRoutes)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Fill(ctx, s.call(t, "GET /sleep?seconds=60", ""))
		done <- err
	}()
	const running = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid()"
	eventually(t, "the query runs", func() bool { return s.one(t, running) == "1" })
	cancel()
	failure(t, <-done)
	eventually(t, "the query has ended", func() bool { return s.one(t, running) == "0" })
}

func TestBreakerAnswersAtOnceAndRecovers(t *testing.T) {
	t.Parallel()
	r := newRelay(t, newDatabase(t, server, faultsSchema))
	s := newSiteOn(t, r.url, faultsRoutes, noRetries, soonTripped)
	s.body(t, "GET /one")
	r.refuse(true)
	r.cut()
	eventually(t, "the breaker opens", func() bool {
		_, err := s.Fill(t.Context(), s.call(t, "GET /one", ""))
		e := failure(t, err)
		if e.Status != 503 || e.RetryAfter <= 0 {
			t.Fatalf("%s, status %d, retry after %s: %v", e.Class, e.Status, e.RetryAfter, e)
		}
		return e.Class == postgres.CircuitOpen
	})
	if state, reason := s.Health(); state == "up" || reason == "" {
		t.Errorf("health is %s (%s)", state, reason)
	}
	r.refuse(false)
	eventually(t, "the database answers again", func() bool {
		_, err := s.Fill(t.Context(), s.call(t, "GET /one", ""))
		return err == nil
	})
	if got := s.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s", got)
	}
	if state, reason := s.Health(); state != "up" {
		t.Errorf("health is %s (%s)", state, reason)
	}
}

// trip takes the database away until the site's breaker is open.
func (r *relay) trip(t *testing.T, s *site) {
	t.Helper()
	r.refuse(true)
	r.cut()
	eventually(t, "the breaker opens", func() bool {
		_, err := s.Fill(t.Context(), s.call(t, "GET /one", ""))
		return failure(t, err).Class == postgres.CircuitOpen
	})
}

func TestBreakerClosesAsSoonAsTheDatabaseIsThereAgain(t *testing.T) {
	t.Parallel()
	r := newRelay(t, newDatabase(t, server, faultsSchema))
	s := newUnstarted(t, r.url, faultsRoutes, noRetries, longOpen)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	s.body(t, "GET /one")
	r.trip(t, s)
	r.refuse(false)
	eventually(t, "the database answers again", func() bool {
		_, err := s.Fill(t.Context(), s.call(t, "GET /one", ""))
		return err == nil
	})
}

// A database that answers something says nothing of what else was wrong with it, and one that goes down again
// as soon as it is back gets the rest that the breaker is for.
func TestBreakerIsClosedEarlyOnlyAfterAnAbsence(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, server, faultsSchema)
	f := func(name string, revives bool, trip func(t *testing.T, r *relay, s *site)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelay(t, database)
			s := newSiteOn(t, r.url, faultsRoutes, noRetries, longOpen, impatient)
			s.body(t, "GET /one")
			trip(t, r, s)
			if got := s.BreakerState(); got != "open" {
				t.Fatalf("breaker is %s", got)
			}
			if postgres.Revive(t.Context(), s.Database) {
				t.Error("closed while nothing answers")
			}
			r.refuse(false)
			if got := postgres.Revive(t.Context(), s.Database); got != revives {
				t.Errorf("closed early: %t; want %t", got, revives)
			}
		})
	}
	ask := func(t *testing.T, s *site, request string, times int) {
		for range times {
			_, err := s.Fill(t.Context(), s.call(t, request, ""))
			failure(t, err)
		}
	}
	absent := func(t *testing.T, r *relay, s *site) { r.trip(t, s) }
	after := func(request string, times int) func(t *testing.T, r *relay, s *site) {
		return func(t *testing.T, r *relay, s *site) {
			ask(t, s, request, times)
			r.trip(t, s)
		}
	}
	f("absent", true, absent)
	f("absent after a caller's mistake", true, after("GET /number?n=x", 2))
	f("statement timeouts", false, after("GET /sleep?seconds=5", 3))
	f("absent after a statement timeout", false, after("GET /sleep?seconds=5", 1))
	f("out of memory", false, after("GET /fail?code=53200", 3))
	f("a function that says so", false, after("GET /fail?code=57P01", 3))
	f("absent after a success after a statement timeout", true, func(t *testing.T, r *relay, s *site) {
		ask(t, s, "GET /sleep?seconds=5", 2)
		s.body(t, "GET /one")
		r.trip(t, s)
	})
	f("absent once more", false, func(t *testing.T, r *relay, s *site) {
		r.trip(t, s)
		r.refuse(false)
		if !postgres.Revive(t.Context(), s.Database) {
			t.Error("not closed")
		}
		r.trip(t, s)
	})
}

// A call that says nothing about the database neither closes a circuit that is trying it again nor opens it.
func TestHalfOpenCircuitIsNotClosedByWhoLeaves(t *testing.T) {
	t.Parallel()
	s := newSite(t, faultsSchema, faultsRoutes, noRetries, soonTripped)
	for range 3 {
		if _, err := s.Fill(t.Context(), s.call(t, "GET /fail?code=57P01", "")); err == nil {
			t.Fatal("no error")
		}
	}
	eventually(t, "the database may be tried again", func() bool { return s.BreakerState() == "half-open" })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := s.Fill(ctx, s.call(t, "GET /sleep?seconds=60", ""))
	if e := failure(t, err); e.Class != postgres.Deadline {
		t.Errorf("%s: %v", e.Class, e)
	}
	if got := s.BreakerState(); got != "half-open" {
		t.Errorf("breaker is %s after a call that was given up", got)
	}
	s.body(t, "GET /one")
	if got := s.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s after a call that succeeded", got)
	}
}

// What is read is tried again; what is written, only while nothing can have happened.
func TestRetriesWhatIsSafeWithinTheDeadline(t *testing.T) {
	t.Parallel()
	schema := faultsSchema + `create sequence tries;
		create function fail_first(times int, code text) returns bigint language plpgsql as $$
		declare n bigint := nextval('tries');
		begin if n <= times then raise exception using errcode = code; end if; return n; end $$;`
	const routes = `
- route: POST /first
  params: {times: int, code: text}
  query: select fail_first(@times, @code) as n
  rows: value
`
	f := func(times int, code string, want string) {
		t.Helper()
		s := newSite(t, schema, routes, func(c *postgres.Config) { c.Retry.Attempts = 3 })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		w, err := s.Write(ctx, s.call(t, fmt.Sprintf("POST /first?times=%d&code=%s", times, code), ""))
		got := ""
		if err == nil {
			got = string(w.Response.Body)
		} else {
			got = failure(t, err).Class.String() + " after " + s.one(t, "select last_value from tries")
		}
		if got != want {
			t.Errorf("%d × %s: %s; want %s", times, code, got, want)
		}
	}
	f(2, "40001", "3")
	f(2, "40P01", "3")
	f(9, "40001", "busy after 3")
	f(1, "57P01", "2")
	f(1, "23505", "conflict after 1")
	f(1, "22P02", "invalid after 1")
	f(1, "57014", "deadline after 1")
}

func TestRetriesEndWithTheDeadline(t *testing.T) {
	t.Parallel()
	r := newRelay(t, newDatabase(t, server, faultsSchema))
	s := newSiteOn(t, r.url, faultsRoutes, func(c *postgres.Config) {
		c.Retry.Attempts, c.Retry.Base, c.Breaker.Failures = 1000, time.Hour, 1000
	})
	r.refuse(true)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // the wait would be longer, so it is not begun
	defer cancel()
	_, err := s.Fill(ctx, s.call(t, "GET /one", ""))
	if e := failure(t, err); e.Class != postgres.Unavailable || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s, %v; want what went wrong, not that time was up", e.Class, e)
	}
}
