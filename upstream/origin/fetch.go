package origin

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/cache"
)

// maxFetched is up to how many bytes a body is held in memory, stored or not.
const maxFetched = 16 << 20

// Fetch gets a whole response for a storable rule and says whether it may be stored. An error is an *Error,
// or the context's when it was canceled.
//
// The response's Standing is the caller's affair: Asked is the log's position before the request was sent.
func (o *Origin) Fetch(ctx context.Context, r *Request) (cache.Fill, error) {
	asked := o.log.Position()
	done, err := o.allow()
	if err != nil {
		return cache.Fill{}, err
	}
	o.metrics.running.Inc()
	fill, err := o.fetch(ctx, r)
	o.metrics.running.Dec()
	said := err
	if err == nil {
		said = verdict(fill.Response.Status)
	}
	done(said)
	o.metrics.requests[outcomeOf(said)].Inc()
	if err != nil {
		return cache.Fill{}, o.errorOf(err)
	}
	fill.Asked = asked
	return fill, nil
}

// errorOf turns what an exchange ended with into what callers understand.
func (o *Origin) errorOf(err error) error {
	if isRequestError(err) || isCanceled(err) {
		return err
	}
	at := awaiting
	if f := failureOf(err); f != nil {
		at = f.at
	}
	return classify(err, at)
}

func (o *Origin) fetch(ctx context.Context, r *Request) (cache.Fill, error) {
	by := time.Now().Add(o.patience())
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(by) {
		by = deadline
	}
	a, err := o.exchange(&request{ctx: ctx, method: fasthttp.MethodGet, head: r.head(o, nil), by: by})
	if err != nil {
		return cache.Fill{}, err
	}
	o.metrics.answered(a.elapsed())
	status := a.response.StatusCode()
	b := newBody(a, nil, func(error) {})
	defer b.Close()
	switch status {
	case fasthttp.StatusNotModified:
		return cache.Fill{}, errUnasked304
	case fasthttp.StatusSwitchingProtocols:
		return cache.Fill{}, errSwitched
	}
	bytes, err := b.readAll(maxFetched)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return cache.Fill{}, err
	}
	return o.fill(r, a, bytes), nil
}

// fill judges the answer and puts it into the form that is stored.
func (o *Origin) fill(r *Request, a *answer, body []byte) cache.Fill {
	rule := r.rule
	terms := cache.Terms{TTL: rule.TTL, Negative: rule.Negative, StaleWhileRevalidate: rule.StaleWhileRevalidate, StaleIfError: rule.StaleIfError}
	fields := copyFields(&a.response.Header)
	reuse := terms.Judge(&cache.Answer{
		Status: a.response.StatusCode(), Fields: fields, Sent: a.sent, Received: a.received,
		Cut: a.framing == byClose,
	})
	if reuse.Refused == cache.Storable && !settled(rule, reuse.Vary) {
		reuse.Refused = cache.RefusedVary
	}
	response := &cache.StoredResponse{
		Traits: &cache.Traits{
			Status: a.response.StatusCode(), StaleWhileRevalidate: reuse.StaleWhileRevalidate, StaleIfError: reuse.StaleIfError,
			Rule: rule.Name, Directives: reuse.Directives, Vary: reuse.Vary,
			// No table is declared that a change could be matched with: time and purges alone judge it.
			TTLOnly: len(rule.DependsOn) == 0,
		},
		Body: body, Date: cache.MomentOf(reuse.Date),
		Stored: o.clock.At(a.received), InitialAge: reuse.InitialAge, Lifetime: reuse.Lifetime,
	}
	response.RequestTime, response.ResponseTime = cache.MomentsOf(a.sent, a.received)
	describe(response, fields, connectionOf(&a.response.Header))
	return cache.Fill{Response: response, Refused: reuse.Refused}
}

// describe sorts the fields, in the room that they have: what the server writes itself is left out, with what
// concerned the connection.
func describe(r *cache.StoredResponse, fields []cache.Field, connection []byte) {
	r.Header = fields[:0]
	var vias []byte
	for _, f := range fields {
		switch {
		case is(f.Name, fasthttp.HeaderContentType):
			r.ContentType = f.Value
		case is(f.Name, fasthttp.HeaderETag):
			r.ETag = string(f.Value) // of all fields the only one that is kept for each response
		case is(f.Name, fasthttp.HeaderVia):
			vias = append(append(vias, f.Value...), ", "...)
		case is(f.Name, fasthttp.HeaderDate), is(f.Name, fasthttp.HeaderAge), isHopByHop(f.Name, connection):
		default:
			r.Header = append(r.Header, f)
		}
	}
	r.Header = append(r.Header, cache.Field{Name: []byte(fasthttp.HeaderVia), Value: append(vias, "1.1 "+pseudonym...)})
}

// patience is how long the service may take to the end of an answer's header.
func (o *Origin) patience() time.Duration {
	if o.config.Timeout > 0 {
		return o.config.Timeout
	}
	return bodyPause
}
