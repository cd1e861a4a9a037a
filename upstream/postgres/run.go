package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"forebay/cache"
)

// work is what a call does with a session. It leaves no transaction open unless it returns an error.
type work func(ctx context.Context, s *session) error

// run does work on a session, within the breaker, and again when that is safe: an error says itself
// whether it is (repeatable). All of it stays within ctx's deadline. The error is an *Error.
func (d *Database) run(ctx context.Context, w work) error {
	return d.repeat(ctx, func() error { return d.attempt(ctx, w) })
}

// repeat tries, and tries again what may be tried again.
func (d *Database) repeat(ctx context.Context, try func() error) error {
	err := try()
	if err == nil || d.cfg.Retry.Attempts < 2 || !repeatable(err) {
		return err
	}
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.Multiplier = max(d.cfg.Retry.Base, time.Millisecond), 2
	first := true
	_, failed := backoff.Retry(ctx, func() (struct{}, error) {
		if first {
			first = false
			return struct{}{}, err
		}
		d.metrics.retries.Inc()
		again := try()
		if again == nil {
			return struct{}{}, nil
		}
		// What the circuit says of the second try explains less than what the first one met.
		if classOf(again) != CircuitOpen {
			err = again
		}
		if !repeatable(again) {
			again = backoff.Permanent(again)
		}
		return struct{}{}, again
	}, backoff.WithBackOff(waits), backoff.WithMaxTries(uint(d.cfg.Retry.Attempts)), backoff.WithMaxElapsedTime(0))
	if failed == nil {
		return nil
	}
	return err // never the library's, which is the context's when time is up
}

// repeatable reports whether what failed had no effect and may succeed when it is tried again.
func repeatable(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Class {
	case Unavailable:
		return !errors.Is(err, errClosed) && !errors.Is(err, errOnce)
	case Busy:
		return e.Code != lockNotAvailable && !errors.Is(err, errOnce)
	}
	return false
}

// attempt is one try.
func (d *Database) attempt(ctx context.Context, w work) error {
	done, err := d.breaker.allow()
	if err != nil {
		d.metrics.refused.Inc()
		return err
	}
	err = d.hold(ctx, w)
	done(err)
	return err
}

// hold gives work a session and takes it back.
func (d *Database) hold(ctx context.Context, w work) error {
	conn, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer d.release(conn)
	s := sessionOf(conn.Conn().PgConn())
	start := d.clock.Now()
	err = w(ctx, s)
	if err != nil && isOutworn(err) && !s.pg.IsClosed() {
		err = d.renew(ctx, s, w, err)
	}
	took := d.clock.Now().Sub(start)
	d.metrics.duration.Update(took.Seconds())
	if err == nil {
		d.metrics.ok.Inc()
		return nil
	}
	if rollbackErr := s.rollback(ctx); rollbackErr != nil {
		_ = s.pg.Close(ctx) // the pool replaces it
	}
	e := d.explain(ctx, err, took)
	e.Waited = s.waited
	if e.Code == pgerrcode.CheckViolation && e.Field == "" && !s.pg.IsClosed() && ctx.Err() == nil {
		s.nameChecked(ctx, e)
	}
	if e.Class == Unavailable && s.pg.IsClosed() {
		d.broke.Store(int64(d.clock.Now()))
	}
	d.metrics.requests[e.Class].Inc()
	return e
}

// renew does the work once more after DDL made what is prepared useless. Nothing has happened yet:
// the server refuses a plan that does not fit before it runs it.
func (d *Database) renew(ctx context.Context, s *session, w work, cause error) error {
	if err := s.rollback(ctx); err != nil {
		return cause
	}
	if err := s.forget(ctx); err != nil || errors.Is(cause, errOnce) {
		return cause
	}
	return w(ctx, s)
}

// slowConnect is how long connecting may take before it is held against the database rather than against
// a request that allows less time.
const slowConnect = time.Second

// acquire gets a connection, and notes how long that took: it is not the time of any statement.
func (d *Database) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	start := d.clock.Now()
	conn, err := d.wait(ctx, start)
	waited := d.clock.Now().Sub(start)
	var e *Error
	switch {
	case err == nil:
		sessionOf(conn.Conn().PgConn()).waited = waited
	case errors.As(err, &e):
		e.Waited = waited
	}
	return conn, err
}

// wait gets a connection within the time that the pool allows, from start on.
func (d *Database) wait(ctx context.Context, start cache.Instant) (*pgxpool.Conn, error) {
	pool, err := d.open()
	if err != nil {
		return nil, unavailable(err)
	}
	d.metrics.waiting.Add(1)
	defer d.metrics.waiting.Add(-1)
	waitCtx := ctx
	if d.held.Add(1) > int64(d.connect.MaxConns) {
		d.metrics.waits.Inc()
		if deadline, ok := ctx.Deadline(); !ok || d.clock.At(deadline).Sub(start) > d.cfg.AcquireTimeout {
			var cancel context.CancelFunc
			waitCtx, cancel = context.WithTimeout(ctx, d.cfg.AcquireTimeout)
			defer cancel()
		}
	}
	conn, err := pool.Acquire(waitCtx)
	if err == nil {
		return conn, nil
	}
	d.held.Add(-1)
	var connect *pgconn.ConnectError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, &Error{Class: Canceled, Status: 499, Detail: "The request was given up.", Err: err}
	case waitCtx.Err() == nil || errors.As(err, &connect):
		return nil, absent(err)
	case pool.Stat().AcquiredConns() == 0 && d.clock.Now().Sub(start) < min(d.cfg.ConnectTimeout, slowConnect):
		return nil, &Error{Class: Deadline, Status: 504, Detail: "The database was not reached within the time that this route allows.", Err: err}
	case pool.Stat().AcquiredConns() == 0:
		return nil, absent(err) // nobody holds one: it is connecting that takes so long
	}
	d.metrics.timeouts.Inc()
	return nil, &Error{
		Class: PoolExhausted, Status: 503, RetryAfter: time.Second, Err: err,
		Detail: "All database connections are in use, and none became free in time.",
	}
}

// release gives back what acquire got.
func (d *Database) release(conn *pgxpool.Conn) {
	d.held.Add(-1)
	d.giveBack(conn)
}

func unavailable(err error) *Error {
	return &Error{Class: Unavailable, Status: 503, RetryAfter: time.Second, Err: err, Detail: "The database cannot be reached at present."}
}

// absent is unavailable where the database may just not be there: it cannot be connected to, broke the
// connection off, or says that it is starting or ending.
func absent(err error) *Error {
	e := unavailable(err)
	var said *pgconn.PgError
	e.absent = !errors.As(err, &said) || said.SeverityUnlocalized == "FATAL" &&
		(said.Code == pgerrcode.AdminShutdown || said.Code == pgerrcode.CrashShutdown || said.Code == pgerrcode.CannotConnectNow)
	return e
}
