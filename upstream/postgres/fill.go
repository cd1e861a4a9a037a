package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"forebay/cache"
	"forebay/rules"
)

// Fill runs a rule that reads and returns its response with the snapshot it was read in and what it
// depends on. Where one row is wanted and there is none, the response has status 404 and no body. What
// may not be stored says so in Refused; it is an answer all the same. The error is an *Error.
func (d *Database) Fill(ctx context.Context, call Call) (cache.Fill, error) {
	if f, ok := d.fillOnStandby(ctx, call); ok {
		return f, nil
	}
	k := d.know(call.Rule)
	scratch := d.takeScratch()
	defer d.giveScratch(scratch)
	f, tried := &scratch.filling, false
	err := d.run(ctx, func(ctx context.Context, s *session) error {
		tried = true
		*f = filling{d: d, s: s, k: k, call: call, scratch: scratch, took: f.took[:0]}
		return f.do(ctx)
	})
	if err != nil {
		d.observeFailure(k, tried, err)
		if f, ok := d.fillInstead(ctx, call, err); ok {
			return f, nil
		}
		return cache.Fill{}, err
	}
	return f.fill, nil
}

// filling is one try at a fill.
type filling struct {
	d    *Database
	s    *session
	k    *knowledge
	call Call

	look       look
	feed       *cache.Feed // as it was when the log was asked for its position
	sharing    bool        // another fill's snapshot
	generation uint64      // of the catalogue before anything was sent
	since      *comparison // that was the last before anything was sent
	scratch    *scratch
	sent       cache.Instant   // before anything was
	took       []time.Duration // by statement
	before     string          // scans counted before the statements
	after      string
	locks      string
	fill       cache.Fill
}

func (f *filling) do(ctx context.Context) error {
	if f.readsStandby() {
		if err := f.s.kin(); err != nil {
			return err
		}
	}
	f.fill.Waited = f.s.waited
	f.since = f.d.compared.Load()
	f.generation = f.d.catalogue.generation.Load()
	f.look = f.d.look(f.k, f.d.clock.Now())
	if f.look == atLocks {
		defer f.k.looking.Store(false)
	}
	if err := f.s.ready(ctx, f.needed()...); err != nil {
		return err
	}
	if err := f.s.withinAll(f.k.statements, f.call.Input.Arguments); err != nil {
		return err
	}
	// Before the snapshot is asked for, so that every change marked from here on is judged. The feed is looked
	// at after: what it no longer tells apart by then it purges, and this fill has asked before that.
	f.fill.Asked = f.d.log.Position()
	f.feed = f.d.log.Feed()
	sent := time.Now()
	f.sent = f.d.clock.At(sent)
	f.share()
	if err := f.ask(ctx); err != nil {
		return err
	}
	came := time.Now()
	a := answer{
		call: f.call, results: f.scratch.results, sent: sent, came: came, stored: f.d.clock.At(came),
	}
	f.fill.Response, f.scratch.body = a.response(f.scratch.body[:0])
	f.depend(ctx)
	f.observe()
	return nil
}

// needed returns the statements that have to be ready.
func (f *filling) needed() []*statement {
	own := &f.d.own
	list := with(f.k.statements, f.snapshot())
	if f.consistent() {
		list = append(list, own.beginRead, own.commit)
	}
	if f.look >= atLocks {
		list = append(list, own.locks)
	}
	if f.look == atAll {
		list = append(list, own.scans)
	}
	if f.readsStandby() {
		list = append(list, own.replayed, own.vouch)
	}
	return list
}

// consistent reports whether there are several statements, which have to agree with each other.
func (f *filling) consistent() bool { return len(f.k.statements) > 1 }

func (f *filling) snapshot() *statement {
	return f.d.own.snapshot(f.look != trusting, f.call.Rule.Query.CustomPlan)
}

// ask sends everything in one round trip and reads the answers.
func (f *filling) ask(ctx context.Context) error {
	if f.sharing {
		return f.askAlone(ctx)
	}
	r := f.s.open(ctx)
	f.send(r)
	err := r.flush()
	if err == nil {
		err = f.receive(r)
	}
	f.stop(ctx, err)
	return r.close(err)
}

// askAlone sends the one statement and nothing else.
func (f *filling) askAlone(ctx context.Context) error {
	st := f.k.statements[0]
	p := f.s.prepared[st.name]
	f.scratch.values = st.arguments(f.scratch.values[:0], f.call.Input.Arguments, f.call.Input.Body)
	f.scratch.grow(1)
	rows := f.s.pg.ExecStatement(ctx, p.description, f.scratch.values, nil, p.shape.formats)
	w := f.reading(st)
	if err := w.read(rows, &f.scratch.results[0]); err != nil {
		f.stop(ctx, err)
		_, _ = rows.Close()
		return f.s.failed("read rows of", st, f.call.Input.Arguments, err)
	}
	f.took = append(f.took, f.d.clock.Now().Sub(f.sent))
	return nil
}

// stop has the server stop sending rows that nobody wants. The connection is given up, since the server
// may come to it when the statement has ended already, and end the next one.
func (f *filling) stop(ctx context.Context, err error) {
	if err != nil && classOf(err) == TooLarge {
		_ = f.s.pg.CancelRequest(ctx)
		f.s.outworn = true
	}
}

func (f *filling) send(r *round) {
	own := &f.d.own
	if f.readsStandby() {
		f.sendReplayed(r)
	}
	if f.consistent() {
		r.send(own.beginRead, nil)
	}
	r.send(f.snapshot(), nil)
	if f.look == atAll {
		r.send(own.scans, nil)
	}
	for _, st := range f.k.statements {
		f.scratch.values = st.arguments(f.scratch.values[:0], f.call.Input.Arguments, f.call.Input.Body)
		r.send(st, f.scratch.values)
	}
	if f.look >= atLocks {
		r.send(own.locks, [][]byte{strconv.AppendUint(nil, uint64(f.d.server.facts().database), 10)})
	}
	if f.look == atAll {
		r.send(own.scans, nil)
	}
	if f.readsStandby() {
		r.send(own.vouch, nil)
	}
	if f.consistent() {
		r.send(own.commit, nil)
	}
}

func (f *filling) receive(r *round) error {
	if f.readsStandby() {
		if err := f.receiveReplayed(r); err != nil {
			return err
		}
	}
	if f.consistent() {
		if err := r.skip(); err != nil {
			return err
		}
	}
	if err := f.receiveSnapshot(r); err != nil {
		return err
	}
	if f.look == atAll {
		if err := f.receiveText(r, &f.before); err != nil {
			return err
		}
	}
	if err := f.receiveRows(r); err != nil {
		return err
	}
	if f.look >= atLocks {
		if err := f.receiveText(r, &f.locks); err != nil {
			return err
		}
	}
	if f.look == atAll {
		if err := f.receiveText(r, &f.after); err != nil {
			return err
		}
	}
	if f.readsStandby() {
		if err := f.receiveVouch(r); err != nil {
			return err
		}
	}
	if f.consistent() {
		return r.skip()
	}
	return nil
}

func (f *filling) receiveText(r *round, text *string) error {
	row, err := r.row(1)
	if err != nil {
		return fmt.Errorf("look at dependencies: %w", err)
	}
	*text = row[0]
	return nil
}

// receiveSnapshot reads the snapshot. In recovery it lists no running transactions, so nothing can be
// proven by it.
func (f *filling) receiveSnapshot(r *round) error {
	if f.readsStandby() {
		return r.skip()
	}
	reader, err := r.next()
	if err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	taken := false
	for reader.NextRow() {
		values := reader.Values()
		if f.fill.Snapshot, err = cache.ParseSnapshot(values[0]); err != nil {
			break
		}
		taken = true
		if string(values[1]) == "t" || f.d.server.blur && !f.s.lives(string(values[2])) {
			f.fill.Refused = cache.RefusedSnapshot
		}
	}
	if _, closeErr := reader.Close(); closeErr != nil {
		return fmt.Errorf("take snapshot: %w", closeErr)
	}
	if err != nil || !taken {
		f.fill.Refused = cache.RefusedSnapshot
		f.d.logger.Error("snapshot cannot be read", "rule", f.call.Rule.Name, "err", err)
	}
	f.offer(f.sent)
	return nil
}

func (f *filling) receiveRows(r *round) error {
	f.scratch.grow(len(f.k.statements))
	from := f.d.clock.Now()
	for i, st := range f.k.statements {
		reader, err := r.next()
		if err != nil {
			return f.s.failed("run", st, f.call.Input.Arguments, err)
		}
		w := f.reading(st)
		if err := w.read(reader, &f.scratch.results[i]); err != nil {
			return f.s.failed("read rows of", st, f.call.Input.Arguments, err)
		}
		now := f.d.clock.Now()
		f.took = append(f.took, now.Sub(from))
		from = now
	}
	return nil
}

// reading says what is wanted of a statement's rows.
func (f *filling) reading(st *statement) reading { return newReading(f.s, st, f.call) }

func newReading(s *session, st *statement, call Call) reading {
	template := call.template()
	w := reading{statement: st, shape: s.shapeOf(st), format: call.format(), header: len(call.Rule.Query.Header) > 0}
	w.json = len(template) == 0 || template.Names(st.label)
	w.csv = template.Names("csv") && st.rows == rules.Many
	if w.shape == nil {
		w.shape = noShape
	}
	return w
}

// depend gives the fill its dependencies, or refuses to have it stored.
func (f *filling) depend(ctx context.Context) {
	if !f.s.present() {
		f.fill.Refused = cache.RefusedSnapshot
	}
	if f.beneath() {
		f.refuse(cache.RefusedSnapshot)
		return
	}
	if f.look == trusting {
		f.trust()
	} else {
		f.discover(ctx)
	}
	if f.d.strays.concern(f.fill.Dependencies) || f.readsStandby() && f.d.primary.strays.concern(f.fill.Dependencies) {
		f.fill.Refused = cache.RefusedSnapshot
	}
}

// discover gives the fill the dependencies that were looked for.
func (f *filling) discover(ctx context.Context) {
	f.d.metrics.looks.Inc()
	found, touched, err := f.found(ctx)
	if err != nil {
		f.fill.Refused = cache.RefusedSnapshot
		if !errors.Is(err, context.Canceled) {
			f.d.logger.Warn("cannot tell what a rule depends on; its answers are not stored", "rule", f.call.Rule.Name, "err", err)
		}
		return
	}
	if !found.every {
		touched = found.relations
	}
	f.fill.Dependencies = found.dependOn(tops(touched), f.feed, f.call.Input.Arguments)
	f.admit(found, touched)
}

// trust takes what was found before: after the position was asked for, see publish. If it is of another
// catalogue state by now than the one that the decision not to look was made in, nothing is certain.
func (f *filling) trust() {
	found := f.k.found.Load()
	if found == nil {
		return // the rule's answers are not stored
	}
	f.fill.Dependencies = found.depends
	if found.byRows() && f.feed.Mode != cache.FeedOff {
		f.fill.Dependencies = found.dependOn(found.tops, f.feed, f.call.Input.Arguments)
	}
	if found.every || found.generation != f.d.catalogue.generation.Load() {
		f.fill.Refused = cache.RefusedSnapshot
	}
	f.admit(found, found.relations)
}

// found makes a finding of what was seen, and makes it known.
func (f *filling) found(ctx context.Context) (*finding, []relation, error) {
	oids, err := touched(f.locks, f.before, f.after)
	if err != nil {
		return nil, nil, err
	}
	relations, err := f.s.relations(ctx, oids)
	if err != nil {
		return nil, nil, err
	}
	seen := see(relations, f.look)
	seen.uncounted = f.before == uncounted || f.after == uncounted
	known := f.k.found.Load()
	now := f.d.clock.Now()
	switch {
	case known == nil || known.generation != f.generation:
		known, err = f.s.conclude(ctx, f.k, seen, nil, f.generation, f.since)
		if err != nil {
			return nil, nil, err
		}
		now -= cache.Instant(lookAgain) // the next fill looks at the locks alone
	case f.look == atLocks:
		known = known.again(seen)
	case seen.uncounted && known.every && !known.ttl:
		return nil, nil, errUncounted
	default:
		next := *known
		next.relations = withoutAbove(seen.relations, known.named)
		known = &next
	}
	return f.d.publish(f.k, known, now), seen.relations, nil
}

func (f *filling) observe() {
	var tables []string
	if found := f.k.found.Load(); found != nil {
		tables = found.tables
	}
	for i, st := range f.k.statements {
		f.d.observe(Observation{
			Rule: f.call.Rule.Name, Kind: f.call.Rule.Kind, Statement: st.label, Tables: tables,
			Duration: f.took[i], Rows: f.scratch.results[i].rows,
		})
	}
}

// observeFailure tells of a call that failed, if it got as far as the database.
func (d *Database) observeFailure(k *knowledge, tried bool, err error) {
	if !tried {
		return
	}
	o := Observation{Rule: k.rule.Name, Kind: k.rule.Kind, Err: err, Write: k.rule.Writes()}
	if found := k.found.Load(); found != nil {
		o.Tables = found.tables
	}
	if len(k.statements) > 0 {
		o.Statement = k.statements[0].label
	}
	d.observe(o)
}
