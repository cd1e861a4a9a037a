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
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	clock   cache.Clock
	openFor time.Duration
	opened  atomic.Int64 // cache.Instant of the last opening
}

func newBreaker(cfg rules.Breaker, clock cache.Clock, logger *slog.Logger) *breaker {
	b := &breaker{clock: clock, openFor: cfg.OpenFor}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "postgres",
		MaxRequests: 1,
		Timeout:     cfg.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= max(cfg.Failures, 1) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.opened.Store(int64(clock.Now()))
				logger.Warn("database circuit opened", "from", from.String(), "for", cfg.OpenFor)
			} else if to == gobreaker.StateClosed {
				logger.Info("database circuit closed")
			}
		},
		IsSuccessful: func(err error) bool { return err == nil || !isFailure(classOf(err)) },
		IsExcluded:   func(err error) bool { return err != nil && isExcluded(classOf(err)) },
	})
	return b
}

// allow lets a call through, or says that the circuit is open and when to come again. Done is told how
// the call ended.
func (b *breaker) allow() (done func(error), err error) {
	done, err = b.circuit.Allow()
	if err == nil {
		return done, nil
	}
	wait := b.openFor - b.clock.Now().Sub(cache.Instant(b.opened.Load()))
	if errors.Is(err, gobreaker.ErrTooManyRequests) {
		wait = 0
	}
	return nil, &Error{
		Class: CircuitOpen, Status: 503, RetryAfter: max(wait, time.Second), Err: err,
		Detail: "The database does not answer at present.",
	}
}

// isFailure reports whether an error of the class is the database's fault.
func isFailure(c ErrorClass) bool { return c == Unavailable || c == StatementTimeout }

// isExcluded reports whether an error of the class says nothing about the database.
func isExcluded(c ErrorClass) bool { return c == PoolExhausted || c == Canceled || c == Deadline }

// BreakerState returns the circuit's state: closed, half-open or open.
func (d *Database) BreakerState() string { return d.breaker.circuit.State().String() }
