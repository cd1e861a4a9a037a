package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"forebay/cache"
	"forebay/upstream/postgres/wire"
)

// WriteBatch runs each item of the input through the rule's one statement, in one transaction, and
// returns when it is durable and marked. Items that the input has found wrong are not sent.
//
// All items go out in one round trip, as one statement where that comes to the same (bulk). If one is
// refused, everything is rolled back and sent again, each item behind a savepoint of its own, to keep the
// good ones; an atomic batch is then an error that lists
// the bad ones, and nothing of it is kept. Constraints are checked item by item, deferred ones, too.
// Otherwise as Write.
func (d *Database) WriteBatch(ctx context.Context, call Call) (Written, error) {
	var b *batch
	k := d.know(call.Rule)
	err := d.run(ctx, func(ctx context.Context, s *session) error {
		b = &batch{writing: writing{d: d, s: s, k: k, call: call, change: cache.Change{Epoch: d.log.Epoch()}}, outcomes: make([]outcome, len(call.Input.Items))}
		return b.do(ctx)
	})
	if err != nil {
		d.observeFailure(k, b != nil, err)
		return Written{}, err
	}
	b.await(ctx)
	return b.written, nil
}

// batch is one try at a batch.
type batch struct {
	writing
	outcomes []outcome
	bulk     *bulk
	apartFor string // why the items were not inserted at once after all
}

// outcome is what became of one item.
type outcome struct {
	json []byte
	err  *Error
}

func (b *batch) do(ctx context.Context) error {
	b.scratch = b.d.takeScratch()
	defer b.d.giveScratch(b.scratch)
	own := &b.d.own
	needed := b.ownNeeded(own.begin, own.written, own.immediate, own.savepoint, own.release, own.rollbackTo)
	if err := b.s.ready(ctx, with(b.k.statements, needed...)...); err != nil {
		return err
	}
	var err error
	if b.bulk, err = b.s.bulk(ctx, b.k); err != nil {
		return err
	}
	b.validate()
	if b.call.Rule.Batch.Atomic && b.failed() > 0 {
		return b.refuseAll()
	}
	sent, from := time.Now(), b.d.clock.Now()
	if b.failed() < len(b.outcomes) {
		if err := b.store(ctx); err != nil {
			return err
		}
	}
	b.took = []time.Duration{b.d.clock.Now().Sub(from)}
	b.name(ctx)
	return b.conclude(sent)
}

// validate takes over what the input has found wrong, and what the types of the statement's parameters do not hold.
func (b *batch) validate() {
	for i := range b.call.Input.Items {
		b.outcomes[i] = outcome{}
		item := &b.call.Input.Items[i]
		if e := item.Err; e != nil {
			refused := &Error{Class: Invalid, Status: e.Status, Detail: e.Detail, Err: e}
			if len(e.Fields) > 0 {
				refused.Field = e.Fields[0].Field
			}
			b.outcomes[i].err = refused
		} else if err := b.s.within(b.k.statements[0], item.Arguments); err != nil {
			errors.As(err, &b.outcomes[i].err)
		}
	}
}

// store runs the items and commits those that may stay.
func (b *batch) store(ctx context.Context) error {
	err := b.atOnce(ctx)
	if err != nil {
		var refused bool
		if refused, err = b.refusal(ctx, err); !refused {
			return err
		}
		if err := b.s.rollback(ctx); err != nil {
			return err
		}
		b.validate() // what became of the items so far was rolled back
		if err := b.apart(ctx); err != nil {
			return err
		}
	}
	if b.call.Rule.Batch.Atomic && b.failed() > 0 {
		if err := b.s.rollback(ctx); err != nil {
			return err
		}
		return b.refuseAll()
	}
	return b.commit(ctx)
}

// refusal reports whether an error is about what an item says, so that the others may still be good.
func (b *batch) refusal(ctx context.Context, err error) (bool, error) {
	if isOutworn(err) || b.s.pg.IsClosed() {
		return false, err
	}
	switch e := b.d.explain(ctx, err, 0); e.Class {
	case Conflict, Invalid, Raised, Forbidden:
		return true, e
	}
	return false, err
}

// atOnce sends all items, for none to be refused.
func (b *batch) atOnce(ctx context.Context) error {
	if b.bulk.statement == nil || len(b.outcomes)-b.failed() < 2 {
		return b.together(ctx)
	}
	err := b.inBulk(ctx)
	if !errors.Is(err, errOneByOne) {
		return err
	}
	if b.apartFor == "" {
		b.apartFor = "one statement for many rows did not come to the same"
	}
	b.k.bulk.Store(&bulk{generation: b.bulk.generation, reason: b.apartFor})
	if err := b.s.rollback(ctx); err != nil {
		return err
	}
	b.validate() // what became of the items so far was rolled back
	return b.together(ctx)
}

// together sends all items as one transaction that any error ends.
func (b *batch) together(ctx context.Context) error {
	return b.inOne(ctx, func(r *round) {
		for i := range b.outcomes {
			if b.outcomes[i].err == nil {
				b.sendItem(r, i)
			}
		}
	}, func(r *round) error {
		for i := range b.outcomes {
			if b.outcomes[i].err == nil {
				if err := b.receiveItem(r, i); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// inOne sends what is to be written as one transaction that any error ends.
func (b *batch) inOne(ctx context.Context, send func(*round), receive func(*round) error) error {
	own := &b.d.own
	r := b.s.open(ctx)
	b.begin(r)
	r.send(own.immediate, nil)
	send(r)
	r.send(own.written, nil)
	err := r.flush()
	if err == nil {
		err = b.begun(r)
	}
	if err == nil {
		err = r.skip()
	}
	if err == nil {
		err = receive(r)
	}
	if err == nil {
		err = b.receiveWritten(r)
	}
	return r.close(err)
}

// apart sends the items again, so that the good ones stay:
//
//	BEGIN; SAVEPOINT s                                  sync
//	item; RELEASE s; SAVEPOINT s                        sync     s is behind the item, or, after an error, before it
//	ROLLBACK TO s                                       sync     undoes nothing, or the bad item
//
// A sync inside a transaction ends nothing; it lets the server go on after an error. So it is one round
// trip, however many items are bad.
func (b *batch) apart(ctx context.Context) error {
	own := &b.d.own
	r := b.s.open(ctx)
	r.survives = true
	b.begin(r)
	r.send(own.immediate, nil)
	r.send(own.savepoint, nil)
	r.boundary()
	for i := range b.outcomes {
		if b.outcomes[i].err != nil {
			continue
		}
		b.sendItem(r, i)
		r.send(own.release, nil)
		r.send(own.savepoint, nil)
		r.boundary()
		r.send(own.rollbackTo, nil)
		r.boundary()
	}
	r.send(own.written, nil)
	err := r.flush()
	if err == nil {
		err = b.receiveApart(ctx, r)
	}
	return r.close(err)
}

func (b *batch) receiveApart(ctx context.Context, r *round) error {
	if err := b.begun(r); err != nil {
		return err
	}
	for range 2 {
		if err := r.skip(); err != nil {
			return err
		}
	}
	if err := r.passed(); err != nil {
		return err
	}
	for i := range b.outcomes {
		if b.outcomes[i].err != nil {
			continue
		}
		if err := b.receiveOne(ctx, r, i); err != nil {
			return err
		}
	}
	if err := b.receiveWritten(r); err != nil {
		return err
	}
	return r.passed()
}

// receiveOne reads an item's answer and those of the savepoints around it.
func (b *batch) receiveOne(ctx context.Context, r *round, i int) error {
	err := b.receiveItem(r, i)
	for range 2 {
		if err == nil {
			err = r.skip()
		}
	}
	if err != nil {
		refused, explained := b.refusal(ctx, err)
		if !refused {
			return err
		}
		errors.As(explained, &b.outcomes[i].err)
	}
	if err := r.passed(); err != nil {
		return err
	}
	if err := r.skip(); err != nil {
		return err
	}
	return r.passed()
}

func (b *batch) sendItem(r *round, i int) {
	item := &b.call.Input.Items[i]
	st := b.k.statements[0]
	b.scratch.values = st.arguments(b.scratch.values[:0], item.Arguments, item.Body)
	r.send(st, b.scratch.values)
}

func (b *batch) receiveItem(r *round, i int) error {
	st := b.k.statements[0]
	reader, err := r.next()
	if err != nil {
		return b.s.failed(fmt.Sprintf("run for item [%d]", i), st, b.call.Input.Items[i].Arguments, err)
	}
	one := reading{statement: st, shape: b.s.shapeOf(st), json: true}
	var result result
	if err := one.read(reader, &result); err != nil {
		return b.s.failed(fmt.Sprintf("read rows for item [%d] of", i), st, b.call.Input.Items[i].Arguments, err)
	}
	if result.missing {
		b.outcomes[i].err = &Error{Class: Invalid, Status: 404, Detail: "There is no such row."}
		return nil
	}
	b.outcomes[i].json = result.json
	return nil
}

func (b *batch) failed() int {
	n := 0
	for i := range b.outcomes {
		if b.outcomes[i].err != nil {
			n++
		}
	}
	return n
}

// refuseAll is the error of an atomic batch: its status is that of the first bad item.
func (b *batch) refuseAll() error {
	var all *Error
	for i := range b.outcomes {
		e := b.outcomes[i].err
		if e == nil {
			continue
		}
		if all == nil {
			all = &Error{Class: e.Class, Status: e.Status, Code: e.Code, Err: e}
		}
		all.Items = append(all.Items, ItemError{Index: i, Code: e.Code, Field: e.Field, Detail: e.Detail})
	}
	all.Detail = fmt.Sprintf("Nothing was stored, because %d of %d items were refused: %s", len(all.Items), len(b.outcomes), spell(all.Items))
	return all
}

// conclude makes the response.
func (b *batch) conclude(sent time.Time) error {
	b.scratch.grow(1)
	b.scratch.results[0].rows = len(b.outcomes) - b.failed()
	response, _ := (&answer{call: Call{Rule: b.call.Rule, Input: b.call.Input, Format: -1}, sent: sent, came: time.Now(), stored: b.d.clock.Now()}).response(nil)
	response.Body, response.ContentType = b.call.Rule.Query.Template.Execute(nil, b.value), contentTypeJSON
	b.written.Response, b.written.Change, b.written.Waited = response, b.change, b.s.waited
	b.observe()
	return nil
}

// value writes what the batch's template names.
func (b *batch) value(dst []byte, name string) []byte {
	total, failed := len(b.outcomes), b.failed()
	switch name {
	case "succeeded":
		return b.list(dst, func(o *outcome) bool { return o.err == nil }, func(dst []byte, i int) []byte {
			if len(b.outcomes[i].json) == 0 {
				return append(dst, "null"...)
			}
			return append(dst, b.outcomes[i].json...)
		})
	case "failed":
		return b.list(dst, func(o *outcome) bool { return o.err != nil }, func(dst []byte, i int) []byte {
			return b.call.Rule.Batch.Failed.Execute(dst, func(dst []byte, name string) []byte { return b.failedValue(dst, i, name) })
		})
	case "total":
		return strconv.AppendInt(dst, int64(total), 10)
	case "succeeded_count":
		return strconv.AppendInt(dst, int64(total-failed), 10)
	case "failed_count":
		return strconv.AppendInt(dst, int64(failed), 10)
	case "success_rate":
		rate := 0.0
		if total > 0 {
			rate = 100 * float64(total-failed) / float64(total)
		}
		return strconv.AppendFloat(dst, rate, 'f', 2, 64)
	case "generated_at":
		return (&answer{came: time.Now()}).value(dst, name)
	}
	return (&answer{call: b.call}).value(dst, name)
}

// list writes an array of the items that are wanted, in their order.
func (b *batch) list(dst []byte, wanted func(*outcome) bool, write func(dst []byte, i int) []byte) []byte {
	dst = append(dst, '[')
	first := true
	for i := range b.outcomes {
		if !wanted(&b.outcomes[i]) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = write(dst, i)
	}
	return append(dst, ']')
}

// failedValue writes what the template of a failed item names.
func (b *batch) failedValue(dst []byte, i int, name string) []byte {
	item, e := &b.call.Input.Items[i], b.outcomes[i].err
	switch name {
	case "item":
		return append(dst, item.Raw...)
	case "error":
		return wire.AppendJSONString(dst, []byte(e.Detail))
	case "index":
		return strconv.AppendInt(dst, int64(i), 10)
	}
	return b.value(dst, name)
}

// spell lists what an atomic batch refused.
func spell(items []ItemError) string {
	parts := make([]string, len(items))
	for i, item := range items {
		detail := item.Detail
		if i < len(items)-1 {
			detail = strings.TrimSuffix(detail, ".")
		}
		parts[i] = fmt.Sprintf("item [%d]: %s", item.Index, detail)
	}
	return strings.Join(parts, "; ")
}
