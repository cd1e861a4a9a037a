package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/proxy/problem"
	"forebay/rules"
	"forebay/upstream/postgres"
)

// write runs a rule that may change something. The database has applied the change to the log before it
// returns, so its caller, and everyone after, reads it.
func (p *Proxy) write(x *exchange) {
	condition, refused := p.condition(x)
	if refused != nil {
		x.refuse(refused)
		return
	}
	x.outcome = Outcome{Result: Write, Forward: ForwardMethod}
	before := p.clock.Now()
	ctx, cancel := context.WithTimeout(context.Background(), x.remaining(before))
	defer cancel()
	written, err := p.runWrite(ctx, x, condition)
	x.source += p.clock.Now().Sub(before)
	if err == nil || mayBeWritten(err) {
		p.invalidateService(x)
	}
	if x.waited = written.Waited; err != nil {
		x.waited = waitedOf(err)
		x.outcome.Result = failedOrRefused(err)
		p.writeFailure(x, err)
		return
	}
	if p.shared != nil && len(written.Change.Dependencies) > 0 {
		p.shared.Change(written.Change)
	}
	r := written.Response
	x.outcome.Status = r.Status
	x.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	p.stamp(x)
	p.deliver(x, r)
}

func (p *Proxy) runWrite(ctx context.Context, x *exchange, condition *postgres.Condition) (postgres.Written, error) {
	c := postgres.Call{Rule: x.route.rule, Input: &x.input, Format: x.format, If: condition}
	if x.route.rule.Batch != nil {
		return x.state.Database.WriteBatch(ctx, c)
	}
	return x.state.Database.Write(ctx, c)
}

// mayBeWritten reports whether a write that failed may have happened all the same.
func mayBeWritten(err error) bool {
	var pg *postgres.Error
	return errors.As(err, &pg) && pg.Class == postgres.OutcomeUnknown
}

// failedOrRefused tells a source that had no answer from one that refused what it was asked.
func failedOrRefused(err error) Result {
	if problemOf(err).Status < fasthttp.StatusInternalServerError {
		return Write
	}
	return Failed
}

// export streams a result of any size. Nothing of it is stored.
func (p *Proxy) export(x *exchange) {
	x.outcome = Outcome{Result: Bypass, Forward: ForwardBypass, Detail: "export"}
	if !p.exports.enter(x.state.Config.Postgres.MaxConnections) {
		x.outcome = Outcome{Result: Refused}
		q := problem.New(problem.Overloaded, "As many exports are running as may at once; try again when one of them has ended.")
		q.RetryAfter = exportRetry
		x.refuse(q)
		return
	}
	// The stream outlives this handler: what it reads must not be the request's.
	c := postgres.Call{Rule: x.route.rule, Input: x.input.Clone(), Format: x.format}
	before := p.clock.Now()
	ctx, cancel := context.WithTimeout(context.Background(), x.remaining(before))
	defer cancel()
	e, err := x.state.Database.Export(ctx, c)
	x.source += p.clock.Now().Sub(before)
	if err != nil {
		p.exports.leave()
		x.waited = waitedOf(err)
		x.outcome.Result = Failed
		p.writeFailure(x, err)
		return
	}
	x.waited = e.Waited
	stream := &exporting{ReadCloser: e, leave: sync.OnceFunc(p.exports.leave)}
	h := &x.ctx.Response.Header
	x.ctx.SetStatusCode(fasthttp.StatusOK)
	h.SetContentType(e.ContentType)
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderAccept)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	if e.Filename != "" {
		h.Set(fasthttp.HeaderContentDisposition, `attachment; filename="`+e.Filename+`"`)
	}
	p.writeOutcome(x)
	if x.request.Method == fasthttp.MethodHead {
		_ = stream.Close()
		x.ctx.Response.SkipBody = true
		return
	}
	// Closed by the server when the body was sent or could not be: that ends the query, too. An error of
	// the stream ends the response without its last chunk, so nobody takes a part for the whole.
	x.ctx.SetBodyStream(stream, -1)
}

// exportRetry is what a client is told to wait that may not export now.
const exportRetry = 5 * time.Second

// exports counts those that run. Readers who take their time hold connections, so exports get at most half of
// the pool: the other half answers everybody else. Safe for concurrent use.
type exports struct{ running atomic.Int64 }

// enter reports whether one more may run beside a pool of so many connections.
func (e *exports) enter(pool int) bool {
	if e.running.Add(1) <= int64(max(pool/2, 1)) {
		return true
	}
	e.running.Add(-1)
	return false
}

func (e *exports) leave() { e.running.Add(-1) }

// exporting is a running export that leaves when it is closed.
type exporting struct {
	io.ReadCloser
	leave func()
}

// Close ends the export.
func (e *exporting) Close() error {
	defer e.leave()
	return e.ReadCloser.Close()
}

// ownMediaType is that of a rule's own form.
const ownMediaType = "application/json"

// chooseFormat returns the index of the form that the Accept field or a parameter asks for; -1: the
// rule's own. A media range chooses nothing: who wants a stream says so by name.
func chooseFormat(rule *rules.Rule, in *rules.Input, accept []byte) int {
	formats := rule.Query.Formats
	if len(accept) > 0 {
		offered := make([]string, 0, len(formats)+1)
		for i := range formats {
			if formats[i].Accept != "" {
				offered = append(offered, formats[i].Accept)
			}
		}
		offered = append(offered, ownMediaType) // last: who likes both equally gets what was named for the form
		if chosen := cache.ChooseMediaType(accept, offered); chosen != "" {
			for i := range formats {
				if formats[i].Accept == chosen {
					return i
				}
			}
		}
	}
	for i := range formats {
		if n := formats[i].Param; n >= 0 && formats[i].Value == string(in.Arguments[n].Text) {
			return i
		}
	}
	return -1
}
