package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// request is a request as it goes out.
type request struct {
	ctx    context.Context // of Fetch: its end ends the exchange
	method string
	head   head
	body   []byte    // sent at once; nil where upload is set
	upload *upload   // nil: no body, or body is all of it
	by     time.Time // the answer's header must be here
}

// answer is the header of what came back, and the connection that the body is still on.
type answer struct {
	*lease
	response *fasthttp.Response
	framing  framing
	sent     time.Time
	received time.Time
	stop     func() bool // unties the connection from the request's context
}

// errSilent is a connection that ended before the answer's first byte.
var errSilent = errors.New("connection ended before the answer")

// failure is an exchange that ended early, and where.
type failure struct {
	error
	at stage
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.error }

// exchange sends the request and reads the answer's header. It repeats a request that the service cannot
// have seen, once.
func (o *Origin) exchange(r *request) (*answer, error) {
	a, fresh, err := o.try(r)
	if err == nil || fresh || !errors.Is(err, errSilent) || !r.repeatable() || r.ctx.Err() != nil {
		return a, err
	}
	o.metrics.retries.Inc()
	a, _, err = o.try(r)
	return a, err
}

// repeatable reports whether sending the request twice does what sending it once does.
func (r *request) repeatable() bool {
	switch r.method {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions:
		return r.upload == nil && len(r.body) == 0
	}
	return false
}

// try makes one attempt. Fresh tells that the connection was made for it.
func (o *Origin) try(r *request) (a *answer, fresh bool, err error) {
	l, err := o.acquire(r.by)
	if err != nil {
		return nil, true, &failure{err, connecting}
	}
	fresh = !l.conn.used
	a = &answer{lease: l, response: fasthttp.AcquireResponse(), sent: time.Now()}
	a.stop = context.AfterFunc(r.ctx, func() { _ = l.conn.Conn.Close() })
	if r.upload == nil {
		err = o.sendAndWait(r, a)
	} else {
		err = o.sendAndListen(r, a)
	}
	if err != nil {
		a.stop()
		a.give(false)
		fasthttp.ReleaseResponse(a.response)
		if r.ctx.Err() != nil {
			err = &failure{context.Cause(r.ctx), awaiting}
		}
		return nil, fresh, err
	}
	a.received = time.Now()
	a.framing = framingOf(r.method, &a.response.Header)
	a.conn.expectBody()
	return a, fresh, nil
}

// sendAndWait sends all there is and then reads.
func (o *Origin) sendAndWait(r *request, a *answer) error {
	w := o.client.AcquireWriter(a.conn)
	err := a.conn.expectSent(r.by)
	if err == nil {
		_, err = w.Write(r.head)
	}
	if err == nil {
		_, err = w.Write(r.body)
	}
	if err == nil {
		err = w.Flush()
	}
	o.client.ReleaseWriter(w)
	// A service that closes the connection may have said why before: the answer is looked for even if the
	// request could not be sent whole.
	a.conn.expectHead(r.by)
	herr := readHead(a.br, &a.response.Header)
	switch {
	case herr == nil:
		return nil
	case err != nil && isClosed(herr):
		return &failure{silent(a, err), sending}
	}
	return &failure{silent(a, herr), awaiting}
}

// silent marks an error of a connection that ended without a byte of an answer.
func silent(a *answer, err error) error {
	if isClosed(err) && a.br.Buffered() == 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	return err
}

// sendAndListen sends the body as it comes from the client and reads meanwhile, since the answer may be
// early: then the rest of the upload is left to who has the answer.
func (o *Origin) sendAndListen(r *request, a *answer) error {
	u := r.upload
	patience := time.Until(r.by)
	go func() {
		w := o.client.AcquireWriter(a.conn)
		u.send(w, r.head, a.conn, patience)
		o.client.ReleaseWriter(w)
	}()
	err := readHead(a.br, &a.response.Header)
	if err == nil && !u.last.Load() {
		return nil
	}
	ours := errors.Is(err, net.ErrClosed) // send closed the connection, because of the client
	if err != nil && !ours {
		u.interrupt()
		_ = a.conn.Conn.Close()
	}
	<-u.done
	var refused *RequestError
	switch {
	case err == nil:
		return nil
	case ours && errors.As(u.err, &refused):
		return refused
	case u.err != nil && isClosed(err) && !errors.As(u.err, &refused):
		return &failure{u.err, sending}
	}
	return &failure{err, awaiting}
}
