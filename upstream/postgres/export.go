package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"forebay/rules"
	"forebay/upstream/postgres/wire"
)

// exportBuffer is how many bytes of rows are encoded before they are handed on.
const exportBuffer = 64 << 10

// Export is the rows of a streamed form, encoded as they are read: it holds one buffer of them, however
// many there are, and the database waits while nobody reads. An error on the way is returned by Read,
// after what was encoded before it; who sees none before io.EOF has all rows. Not safe for concurrent
// use, but for Close.
//
// It has a connection of the pool until it is read to its end, fails or is closed. No statement_timeout
// bounds it. Instead it ends when for Config.ExportStall either the database sends nothing or the reader
// asks for nothing.
type Export struct {
	ContentType string // of the form, with its charset
	Filename    string // for Content-Disposition; may be empty
	Columns     []string
	Waited      time.Duration // for a connection

	d      *Database
	k      *knowledge
	start  time.Time
	conn   *pgxpool.Conn
	round  *round
	rows   *pgconn.ResultReader
	shape  *shape
	write  func(dst []byte, row [][]byte) ([]byte, error)
	buffer []byte
	at     int // in buffer: what was read of it
	count  int
	err    error // why there are no more rows; io.EOF at the end
	stall  *time.Timer
	cancel context.CancelFunc
	still  atomic.Bool // nothing moved for too long
	closed atomic.Bool
	idle   chan struct{} // holds a token while nobody is at work on the export
}

// Export starts a streamed form of a rule and returns with its first rows at hand, so that what goes
// wrong until then is an ordinary error. The caller closes it. Ctx bounds the time until it returns, and
// nothing after. The error is an *Error.
func (d *Database) Export(ctx context.Context, call Call) (*Export, error) {
	f := call.format()
	if f == nil || !f.Stream || len(call.Rule.Query.Statements) != 1 {
		return nil, fault(fmt.Errorf("rule %q has no streamed form %d", call.Rule.Name, call.Format))
	}
	var e *Export
	k := d.know(call.Rule)
	err := d.repeat(ctx, func() error {
		done, err := d.breaker.allow()
		if err != nil {
			d.metrics.refused.Inc()
			return err
		}
		e, err = d.startExport(ctx, k, call, f)
		done(err)
		return err
	})
	if err != nil {
		d.observeFailure(k, true, err)
		return nil, err
	}
	return e, nil
}

func (d *Database) startExport(ctx context.Context, k *knowledge, call Call, f *rules.Format) (*Export, error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return nil, err
	}
	s := sessionOf(conn.Conn().PgConn())
	e := newExport(d, k, f, conn)
	err = e.begin(ctx, s, call, f)
	if err != nil && isOutworn(err) && !s.pg.IsClosed() {
		e.abandon(err)
		if err = s.forget(ctx); err == nil {
			e = newExport(d, k, f, conn)
			err = e.begin(ctx, s, call, f)
		}
	}
	if err == nil {
		e.Waited = s.waited
		e.idle <- struct{}{}
		return e, nil
	}
	if e.still.Load() {
		err = e.stallError()
	}
	explained := d.explain(ctx, err, time.Since(e.start))
	explained.Waited = s.waited
	d.metrics.requests[explained.Class].Inc()
	e.abandon(err)
	d.release(conn)
	return nil, explained
}

func newExport(d *Database, k *knowledge, f *rules.Format, conn *pgxpool.Conn) *Export {
	e := &Export{d: d, k: k, conn: conn, start: time.Now(), Filename: f.Filename, idle: make(chan struct{}, 1)}
	e.ContentType = f.Accept
	if f.Accept == "text/csv" {
		e.ContentType += "; charset=utf-8; header=present"
	}
	return e
}

// begin sends the statement and reads its first rows. The export has a context of its own, which
// the caller's ends only until this returns.
func (e *Export) begin(ctx context.Context, s *session, call Call, f *rules.Format) error {
	own := &e.d.own
	st := e.k.statements[0]
	if err := s.ready(ctx, with(e.k.statements, own.snapshot(false, call.Rule.Query.CustomPlan), own.unbounded)...); err != nil {
		return err
	}
	if err := s.within(st, call.Input.Arguments); err != nil {
		return err
	}
	var lasting context.Context
	lasting, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, e.cancel)
	defer stop()
	e.stall = time.AfterFunc(e.d.cfg.ExportStall, e.stalled)

	e.round = s.open(lasting)
	e.round.send(own.snapshot(false, call.Rule.Query.CustomPlan), nil)
	e.round.send(own.unbounded, nil)
	e.round.send(st, st.arguments(nil, call.Input.Arguments, call.Input.Body))
	if err := e.round.flush(); err != nil {
		return err
	}
	for range 2 {
		if err := e.round.skip(); err != nil {
			return err
		}
	}
	var err error
	if e.rows, err = e.round.next(); err != nil {
		return s.failed("run", st, call.Input.Arguments, err)
	}
	if e.shape = s.shapeOf(st); e.shape == nil || !e.shape.fits(e.rows.FieldDescriptions()) {
		return fmt.Errorf("read rows of %q: %w", st.label, errShapeChanged)
	}
	e.form(f)
	e.fill()
	if e.err != nil && !errors.Is(e.err, io.EOF) {
		return e.err // nothing was handed on yet
	}
	e.settle()
	return nil
}

// form sets how rows are written.
func (e *Export) form(f *rules.Format) {
	if f.Accept == "text/csv" {
		columns, titles := csvColumns(e.shape, f)
		e.Columns = titles
		e.buffer = wire.AppendCSVHeader(e.buffer, titles)
		e.write = func(dst []byte, row [][]byte) ([]byte, error) { return e.shape.encoder.AppendCSV(dst, columns, row) }
		return
	}
	for _, c := range e.shape.columns {
		e.Columns = append(e.Columns, c.Name)
	}
	e.write = func(dst []byte, row [][]byte) ([]byte, error) {
		dst, err := e.shape.encoder.AppendObject(dst, row)
		if err != nil {
			return dst, err
		}
		return append(dst, '\n'), nil
	}
}

// fill encodes rows until the buffer is full or there are no more.
func (e *Export) fill() {
	for e.err == nil && len(e.buffer) < exportBuffer {
		e.stall.Reset(e.d.cfg.ExportStall)
		if !e.rows.NextRow() {
			if _, e.err = e.rows.Close(); e.err == nil {
				e.err = io.EOF
			}
			break
		}
		if e.buffer, e.err = e.write(e.buffer, e.rows.Values()); e.err == nil {
			e.count++
		}
	}
	if e.err != nil && !errors.Is(e.err, io.EOF) {
		e.err = fmt.Errorf("export after %d rows: %w", e.count, e.err)
	}
}

// settle gives the connection back once there are no more rows, and tells how it went.
func (e *Export) settle() {
	if e.err == nil {
		return
	}
	failure := e.err
	if errors.Is(failure, io.EOF) {
		failure = nil
	}
	if failure == nil {
		e.stall.Stop()
		failure = e.round.close(nil) // the transaction's end
		e.cancel()
		if failure != nil {
			e.err = fmt.Errorf("end of export: %w", failure)
		}
	} else {
		e.release(failure)
	}
	if failure == nil {
		e.d.metrics.ok.Inc()
	} else {
		e.d.metrics.requests[classOf(e.d.explain(context.Background(), failure, 0))].Inc()
	}
	e.d.release(e.conn)
	o := Observation{
		Rule: e.k.rule.Name, Kind: e.k.rule.Kind, Statement: e.k.statements[0].label,
		Duration: time.Since(e.start), Rows: e.count, Err: failure,
	}
	if found := e.k.found.Load(); found != nil {
		o.Tables = found.tables
	}
	e.d.observe(o)
}

// release ends what the connection is doing. After an error of the server's nothing more comes, and the
// connection is as good as new; else rows are still to come, and giving it up cancels the query on the
// server.
func (e *Export) release(failure error) {
	if e.stall != nil {
		e.stall.Stop()
	}
	var refused *pgconn.PgError
	if e.round != nil && errors.As(failure, &refused) {
		_ = e.round.close(nil)
	}
	if e.cancel != nil {
		e.cancel()
	}
	if e.round != nil {
		_ = e.round.close(nil)
	}
}

// abandon ends an export that never began.
func (e *Export) abandon(err error) {
	e.err = err
	e.release(err)
	e.idle <- struct{}{}
}

// stalled ends an export that has not moved: whether it is the database or the reader that is waited for.
func (e *Export) stalled() {
	e.still.Store(true)
	e.cancel() // wakes a Read that waits for the database
	<-e.idle
	defer func() { e.idle <- struct{}{} }()
	e.end(e.stallError())
}

func (e *Export) stallError() error {
	return &Error{
		Class: Deadline, Status: 504, Detail: "The export was ended because nothing moved for too long.",
		Err: fmt.Errorf("export after %d rows: nothing moved for %s", e.count, e.d.cfg.ExportStall),
	}
}

// end ends an export that is not at its end, for this reason. Called with the token of idle.
func (e *Export) end(err error) {
	if e.err == nil {
		e.err = err
		e.settle()
	}
}

// Read returns the next encoded rows.
func (e *Export) Read(p []byte) (int, error) {
	<-e.idle
	defer func() { e.idle <- struct{}{} }()
	if e.closed.Load() {
		return 0, errExportClosed
	}
	if e.at == len(e.buffer) {
		if e.err != nil {
			return 0, e.err
		}
		e.buffer, e.at = e.buffer[:0], 0
		e.fill()
		e.settle()
		if len(e.buffer) == 0 {
			return 0, e.err
		}
	}
	if e.err == nil {
		e.stall.Reset(e.d.cfg.ExportStall)
	}
	n := copy(p, e.buffer[e.at:])
	e.at += n
	return n, nil
}

// errExportClosed : Read after Close.
var errExportClosed = errors.New("the export is closed")

// Close ends the export, also one that somebody is reading in another goroutine: its query is canceled
// on the server and its connection freed.
func (e *Export) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	e.cancel() // wakes a Read that waits for the database
	<-e.idle
	defer func() { e.idle <- struct{}{} }()
	e.end(&Error{Class: Canceled, Status: 499, Detail: "The export was given up.", Err: errExportClosed})
	return nil
}
