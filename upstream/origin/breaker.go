package origin

import (
	"context"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/rules"
)

// errUnwell is what the breaker is told of a 502, 503 or 504.
var errUnwell = errors.New("service answered that it is unwell")

// neverOpen is a number of failures in a row that is not reached.
const neverOpen = 1 << 31

// newBreaker makes a breaker that opens after so many failures in a row and lets one request try after a
// while. What is not the service's fault does not count either way.
func (o *Origin) newBreaker(c rules.Breaker) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	failures := uint32(neverOpen)
	if c.Failures > 0 {
		failures = uint32(min(c.Failures, neverOpen))
	}
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          o.config.Name,
		Timeout:       c.OpenFor,
		ReadyToTrip:   func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= failures },
		OnStateChange: func(_ string, from, to gobreaker.State) { o.turned(from, to) },
		IsExcluded:    isCallers,
	})
}

// isCallers reports whether an exchange ended for a reason that says nothing about the service.
func isCallers(err error) bool {
	var r *RequestError
	return errors.As(err, &r) || errors.Is(err, context.Canceled) || errors.Is(err, errNoConnection) ||
		errors.Is(err, errLoop) || errors.Is(err, ErrTooLarge)
}

// turned notes a change of the breaker's state. Called with the breaker's lock held.
func (o *Origin) turned(from, to gobreaker.State) {
	if o.retired.Load() {
		return
	}
	o.metrics.breaker.Set(float64(to))
	switch to {
	case gobreaker.StateOpen:
		o.opened.Store(int64(o.clock.Now()))
		o.logger.Warn("circuit breaker opened", "upstream", o.config.Name, "open_for", o.config.Breaker.OpenFor)
	case gobreaker.StateClosed:
		o.logger.Info("circuit breaker closed", "upstream", o.config.Name)
	case gobreaker.StateHalfOpen:
		o.logger.Debug("circuit breaker lets one request try", "upstream", o.config.Name, "was", from.String())
	}
}

// allow asks the breaker. Done must be called once, with what the exchange came to.
func (o *Origin) allow() (done func(error), err error) {
	done, err = o.breaker.Allow()
	if err == nil {
		return done, nil
	}
	o.metrics.requests[rejected].Inc()
	wait := o.untilTry()
	return nil, &Error{
		Status: fasthttp.StatusServiceUnavailable, ProxyStatus: "destination_unavailable",
		RetryAfter: max(wait.Round(time.Second), time.Second), Err: errCircuitOpen,
	}
}

// untilTry returns how long the breaker stays open; not positive: no longer.
func (o *Origin) untilTry() time.Duration {
	return o.config.Breaker.OpenFor - o.clock.Now().Sub(cache.Instant(o.opened.Load()))
}

// verdict is what the breaker is told of a status.
func verdict(status int) error {
	switch status {
	case fasthttp.StatusBadGateway, fasthttp.StatusServiceUnavailable, fasthttp.StatusGatewayTimeout:
		return errUnwell
	}
	return nil
}

// outcomeOf sorts what an exchange came to.
func outcomeOf(err error) outcome {
	var r *RequestError
	var dial *dialError
	switch {
	case err == nil, errors.Is(err, ErrTooLarge):
		return answered
	case errors.Is(err, errUnwell):
		return unwell
	case errors.As(err, &r), errors.Is(err, context.Canceled):
		return abandoned
	case errors.Is(err, errNoConnection):
		return limited
	case errors.As(err, &dial):
		return unreachable
	case isTimeout(err):
		return timedOut
	}
	return broken
}
