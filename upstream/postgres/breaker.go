package postgres

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"forebay/cache"
	"forebay/rules"
)

// breaker opens when the database fails, and stays closed however wrong the callers are. Safe for
// concurrent use.
type breaker struct {
	cfg     rules.Breaker
	clock   cache.Clock
	logger  *slog.Logger
	circuit atomic.Pointer[circuit]
	opened  atomic.Int64  // cache.Instant of the last opening
	revived atomic.Int64  // cache.Instant at which it was last closed early; 0: never
	trips   chan struct{} // a word that it has opened
}

// circuit is the breaker's until it is closed early: then there is another one.
type circuit struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]
	otherwise bool        // of the failures in a row, one was no absence; under gobreaker's own lock, like its counts
	absent    atomic.Bool // it opened because the database was not there, and for nothing else
}

func newBreaker(cfg rules.Breaker, clock cache.Clock, logger *slog.Logger) *breaker {
	b := &breaker{cfg: cfg, clock: clock, logger: logger, trips: make(chan struct{}, 1)}
	b.circuit.Store(b.newCircuit())
	return b
}

func (b *breaker) newCircuit() *circuit {
	c := &circuit{}
	c.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "postgres",
		MaxRequests: 1,
		Timeout:     b.cfg.OpenFor,
		ReadyToTrip: func(counts gobreaker.Counts) bool { return int(counts.ConsecutiveFailures) >= max(b.cfg.Failures, 1) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.trip(c, from)
			} else if to == gobreaker.StateClosed {
				b.logger.Info("database circuit closed")
			}
		},
		IsSuccessful: func(err error) bool {
			failed := err != nil && isFailure(classOf(err))
			c.otherwise = failed && (c.otherwise || !isAbsence(err))
			return !failed
		},
		IsExcluded: func(err error) bool { return err != nil && isExcluded(classOf(err)) },
	})
	return c
}

// trip notes that the circuit has opened, and why.
func (b *breaker) trip(c *circuit, from gobreaker.State) {
	b.opened.Store(int64(b.clock.Now()))
	c.absent.Store(!c.otherwise)
	c.otherwise = false // what comes next is the one try of a half-open circuit
	b.logger.Warn("database circuit opened", "from", from.String(), "for", b.cfg.OpenFor, "absent", c.absent.Load())
	select {
	case b.trips <- struct{}{}:
	default:
	}
}

// allow lets a call through, or says that the circuit is open and when to come again. Done is told how
// the call ended.
func (b *breaker) allow() (done func(error), err error) {
	c := b.circuit.Load()
	done, err = c.Allow()
	if err == nil {
		return done, nil
	}
	wait := b.cfg.OpenFor - b.clock.Now().Sub(cache.Instant(b.opened.Load()))
	if errors.Is(err, gobreaker.ErrTooManyRequests) || c.absent.Load() {
		wait = 0
	}
	return nil, &Error{
		Class: CircuitOpen, Status: 503, RetryAfter: max(wait, time.Second), Err: err,
		Detail: "The database does not answer at present.",
	}
}

// state returns the circuit's state: closed, half-open or open.
func (b *breaker) state() gobreaker.State { return b.circuit.Load().State() }

// absence returns the circuit if it is open because the database was not there: then that it is there again says
// all that a try by a caller would. It returns nil otherwise. A statement that takes too long, a full disk or too
// many connections are not over because the database answers something.
func (b *breaker) absence() *circuit {
	if c := b.circuit.Load(); c.State() == gobreaker.StateOpen && c.absent.Load() {
		return c
	}
	return nil
}

// rested reports whether the circuit may be closed early: once in the time that it would be open. A database that
// a statement brings down each time it is back gets its rest.
func (b *breaker) rested() bool {
	revived := cache.Instant(b.revived.Load())
	return revived == 0 || b.clock.Now().Sub(revived) >= b.cfg.OpenFor
}

// revive closes the circuit, since the database is there again.
func (b *breaker) revive(c *circuit) {
	if b.circuit.CompareAndSwap(c, b.newCircuit()) {
		b.revived.Store(int64(b.clock.Now()))
		b.logger.Info("database circuit closed", "reason", "the database answers again")
	}
}

// isFailure reports whether an error of the class is the database's fault.
func isFailure(c ErrorClass) bool { return c == Unavailable || c == StatementTimeout }

// isAbsence reports whether an error says that the database is not there, and no more.
func isAbsence(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.absent
}

// isExcluded reports whether an error of the class says nothing about the database.
func isExcluded(c ErrorClass) bool { return c == PoolExhausted || c == Canceled || c == Deadline }

// BreakerState returns the circuit's state: closed, half-open or open.
func (d *Database) BreakerState() string { return d.breaker.state().String() }
