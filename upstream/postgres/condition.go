package postgres

import (
	"context"
	"time"

	"forebay/cache"
	"forebay/rules"
)

// Condition is what must hold for a write to be done: of what a rule that reads answers just before it.
type Condition struct {
	Rule   *rules.Rule
	Input  *rules.Input
	Format int
	Holds  func(*cache.StoredResponse) bool // of status 404 if there is no row
}

func (c *Condition) call() Call { return Call{Rule: c.Rule, Input: c.Input, Format: c.Format} }

// errUnmet : the condition does not hold.
func errUnmet() error {
	return &Error{Class: Unmet, Status: 412, Detail: "What is stored is not what the request says it has to be; nothing was changed."}
}

// opening returns what the write's transaction begins with. One with a condition keeps the snapshot that the
// condition is judged in: whoever changes a row between that and the write, the server refuses the write, which is
// tried again, and its condition judged anew. Schedule that this closes:
//
//	one:   reads, and finds what it expects
//	other: changes the row, commits
//	one:   would write over it
func (w *writing) opening() *statement {
	if w.call.If == nil {
		return w.d.own.begin
	}
	return w.d.own.beginIf
}

// conditional opens the transaction and judges the condition in it. Where there is none, it does nothing.
func (w *writing) conditional(ctx context.Context) error {
	c := w.call.If
	if c == nil {
		return nil
	}
	k := w.d.know(c.Rule)
	if err := w.s.ready(ctx, k.statements...); err != nil {
		return err
	}
	if err := w.s.withinAll(k.statements, c.Input.Arguments); err != nil {
		return err
	}
	r := w.s.open(ctx)
	w.begin(r)
	for _, st := range k.statements {
		w.scratch.values = st.arguments(w.scratch.values[:0], c.Input.Arguments, c.Input.Body)
		r.send(st, w.scratch.values)
	}
	err := r.flush()
	if err == nil {
		err = w.begun(r)
	}
	results := make([]result, len(k.statements))
	for i, st := range k.statements {
		if err != nil {
			break
		}
		reader, failed := r.next()
		if failed == nil {
			rows := newReading(w.s, st, c.call())
			failed = rows.read(reader, &results[i])
		}
		if failed != nil {
			err = w.s.failed("judge the condition by", st, c.Input.Arguments, failed)
		}
	}
	if err = r.close(err); err != nil {
		return err
	}
	a := answer{call: c.call(), results: results, sent: time.Now(), came: time.Now(), stored: w.d.clock.Now()}
	found, _ := a.response(nil)
	if !c.Holds(found) {
		return errUnmet()
	}
	return nil
}
