package redis

import (
	"context"
	"errors"
	"net"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

const (
	breakerFailures = 5           // in a row
	breakerOpenFor  = time.Second // then one call tries again
)

func (s *Store) breakerSettings() gobreaker.Settings {
	return gobreaker.Settings{
		Name:         "redis",
		MaxRequests:  1,
		Timeout:      breakerOpenFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		IsSuccessful: answered,
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			s.alarmed.Store(to != gobreaker.StateClosed)
			if to == gobreaker.StateOpen && from == gobreaker.StateClosed {
				s.logger.Warn("redis breaker opened, going on without the shared tier")
			}
			if to == gobreaker.StateClosed {
				s.logger.Info("redis breaker closed, the shared tier is back")
			}
		},
	}
}

// answered reports whether Redis did what it can.
func answered(err error) bool {
	return err == nil || errors.Is(err, goredis.Nil) || goredis.IsOOMError(err) || isWrongType(err)
}

// stopped reports whether the breaker kept a call from Redis.
func stopped(err error) bool {
	return errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
}

// isWrongType reports whether Redis has something of another type under the key.
func isWrongType(err error) bool { return err != nil && goredis.HasErrorPrefix(err, "WRONGTYPE") }

// guarded runs the call within the budget, unless the breaker is open.
func (s *Store) guarded(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := s.breaker.Allow()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Budget)
	defer cancel()
	if err = call(ctx); err != nil {
		err = inTime(ctx, err)
	}
	done(err)
	if !answered(err) && !errors.Is(err, context.Canceled) {
		s.health.callFailed(err)
	}
	return err
}

// inTime returns the error, or that the time was up: the client may have said so in other words.
func inTime(ctx context.Context, err error) error {
	var network net.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &network) && network.Timeout():
		return context.DeadlineExceeded // the connection's deadline is the context's
	}
	return err
}
