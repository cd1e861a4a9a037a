package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

// doAlone runs the one statement outside of a transaction of ours. What it changed cannot be asked once
// it has committed by itself, so everything stored is outdated when it has ended.
func (w *writing) doAlone(ctx context.Context) error {
	w.scratch = w.d.takeScratch()
	defer w.d.giveScratch(w.scratch)
	if err := w.s.ready(ctx, w.k.statements...); err != nil {
		return err
	}
	if err := w.s.withinAll(w.k.statements, w.call.Input.Arguments); err != nil {
		return err
	}
	sent := time.Now()
	err := w.runAlone(ctx)
	if err != nil && w.s.pg.IsClosed() && !pgconn.SafeToRetry(err) {
		w.d.strays.add(stray{backend: w.s.backend})
		w.d.metrics.unknown.Inc()
		err = outcomeUnknown(err)
	}
	w.d.floor.unknow()
	w.d.log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Everything}})
	if err != nil {
		return once(err)
	}
	a := w.answer(sent, w.scratch.results)
	w.finish(&a)
	return nil
}

func (w *writing) runAlone(ctx context.Context) error {
	const off = "SET default_transaction_read_only = off"
	const on = "SET default_transaction_read_only = on"
	r := w.s.open(ctx)
	r.p.SendQueryParams(off, nil, nil, nil, nil)
	r.boundary()
	for _, st := range w.k.statements {
		r.send(st, st.arguments(nil, w.call.Input.Arguments, w.call.Input.Body))
		r.boundary()
	}
	r.p.SendQueryParams(on, nil, nil, nil, nil)
	err := r.flush()
	if err == nil {
		err = r.skip()
	}
	if err == nil {
		err = r.passed()
	}
	w.scratch.grow(len(w.k.statements))
	for i, st := range w.k.statements {
		if err != nil {
			break
		}
		from := w.d.clock.Now()
		var reader *pgconn.ResultReader
		if reader, err = r.next(); err == nil {
			rows := newReading(w.s, st, w.call)
			err = rows.read(reader, &w.scratch.results[i])
		}
		if err != nil {
			err = w.s.failed("run", st, w.call.Input.Arguments, err)
		}
		if err == nil {
			err = r.passed()
		}
		w.took = append(w.took, w.d.clock.Now().Sub(from))
	}
	return r.close(err)
}

// once wraps an error of something that must not be tried again, whatever its class.
func once(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("%w: %w", errOnce, err)
}

// errOnce : what failed may have had an effect.
var errOnce = errors.New("not to be repeated")
