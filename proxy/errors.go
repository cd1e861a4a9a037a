package proxy

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
	"forebay/rules"
	"forebay/upstream/origin"
	"forebay/upstream/postgres"
)

// writeFailure answers with what the client may know of an error. What only the operator may know goes to
// the log.
func (p *Proxy) writeFailure(x *exchange, err error) {
	q := problemOf(err)
	if q.Status >= 500 {
		p.complain(x.route, "request failed", q.Status, err)
	}
	var o *origin.Error
	if errors.As(err, &o) && o.ProxyStatus != "" {
		x.ctx.Response.Header.Set("Proxy-Status", "forebay; error="+o.ProxyStatus)
	}
	x.refuse(q)
	h := &x.ctx.Response.Header
	x.scratch = x.outcome.AppendCacheStatus(x.scratch[:0])
	h.AddBytesKV(fieldCacheStatus, x.scratch)
}

// waitedOf returns how long was waited for a connection before an error.
func waitedOf(err error) time.Duration {
	var pg *postgres.Error
	if errors.As(err, &pg) {
		return pg.Waited
	}
	return 0
}

// complainEvery is how often one rule's failures are logged: an outage must not fill a disk.
const complainEvery = time.Second

// complain logs a failed request, and says how many were not logged since the last one.
func (p *Proxy) complain(t *route, what string, status int, err error) {
	now := int64(p.clock.Now())
	last := t.complained.Load()
	if last != 0 && now-last < int64(complainEvery) || !t.complained.CompareAndSwap(last, now) {
		t.unsaid.Add(1)
		return
	}
	p.logger.Warn(what, "rule", t.rule.Name, "status", status, "err", err, "unlogged", t.unsaid.Swap(0))
}

// problemOf turns an error of a source into what the client is told.
func problemOf(err error) *problem.Problem {
	var pg *postgres.Error
	var o *origin.Error
	switch {
	case errors.As(err, &pg):
		return problemOfPostgres(pg)
	case errors.As(err, &o):
		return problemOfOrigin(o)
	case errors.Is(err, errDeadline), errors.Is(err, context.DeadlineExceeded):
		return problem.New(problem.Timeout, "The answer did not come within the time that this route allows.")
	}
	return problem.New(problem.Internal, "The request could not be answered because of an error in forebay itself.")
}

func problemOfOrigin(o *origin.Error) *problem.Problem {
	t, detail := problem.BadGateway, "The service behind this route gave no usable answer."
	switch o.Status {
	case fasthttp.StatusServiceUnavailable:
		t, detail = problem.Unavailable, "The service behind this route is not available now."
	case fasthttp.StatusGatewayTimeout:
		t, detail = problem.Timeout, "The service behind this route did not answer in time."
	}
	q := problem.New(t, detail)
	q.RetryAfter = o.RetryAfter
	if o.Status == fasthttp.StatusServiceUnavailable && q.RetryAfter == 0 {
		q.RetryAfter = time.Second
	}
	return q
}

// problemOfPostgres keeps what Postgres said in its own words where that helps the caller: the SQLSTATE,
// the hint, the column.
func problemOfPostgres(e *postgres.Error) *problem.Problem {
	if input, ok := e.Err.(*rules.InputError); ok { // found with what the database knows, and not by it
		return problem.OfInput(input)
	}
	q := problem.New(typeOfPostgres(e.Class), e.Detail)
	if e.Status != 0 {
		q.Status = e.Status
	}
	q.Code, q.Hint, q.RetryAfter = e.Code, e.Hint, e.RetryAfter
	if e.Field != "" {
		q.Errors = append(q.Errors, problem.FieldError{Field: e.Field, In: e.In, Detail: e.Detail})
	}
	for _, item := range e.Items {
		q.Errors = append(q.Errors, problem.FieldError{Field: "[" + strconv.Itoa(item.Index) + "]" + dotted(item.Field), In: "body", Detail: item.Detail})
	}
	return q
}

func dotted(field string) string {
	if field == "" {
		return ""
	}
	return "." + field
}

func typeOfPostgres(c postgres.ErrorClass) problem.Type {
	switch c {
	case postgres.Unavailable, postgres.CircuitOpen, postgres.Busy, postgres.Canceled:
		return problem.Unavailable
	case postgres.PoolExhausted:
		return problem.PoolExhausted
	case postgres.StatementTimeout, postgres.Deadline:
		return problem.Timeout
	case postgres.Conflict:
		return problem.Conflict
	case postgres.Invalid, postgres.Raised:
		return problem.Constraint
	case postgres.Unmet:
		return problem.PreconditionFailed
	case postgres.Forbidden:
		return problem.Forbidden
	case postgres.TooLarge:
		return problem.ResultTooLarge
	case postgres.OutcomeUnknown:
		return problem.BadGateway
	case postgres.Fault:
	}
	return problem.Internal
}
