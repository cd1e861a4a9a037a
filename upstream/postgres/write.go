package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

// commitGrace is how much longer than the request a COMMIT that was sent may take: to give it up is to
// not know how it ended.
const commitGrace = 5 * time.Second

// writtenQuery asks who the transaction is and what it has locked for writing: its own tables, those of
// cascades and triggers, and what they are partitions or heirs of. Sequences and foreign tables are told
// apart: what happened to them does not wait for the commit.
const writtenQuery = `with recursive locked (oid) as (
  select l.relation from pg_catalog.pg_lock_status() l
  where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation'
    and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
    and l.mode in ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    and l.relation >= 16384
  union
  select i.inhparent from locked join pg_catalog.pg_inherits i on i.inhrelid = locked.oid
), told as (
  select locked.oid, coalesce(c.relkind, 'r') as kind from locked left join pg_catalog.pg_class c on c.oid = locked.oid
)
select coalesce(pg_catalog.pg_current_xact_id_if_assigned()::text, ''),
  pg_catalog.pg_current_wal_insert_lsn()::text,
  coalesce((select pg_catalog.string_agg(told.oid::text, ',') from told where told.kind in ('r', 'p', 'm', 'v')), ''),
  coalesce((select pg_catalog.string_agg(told.oid::text, ',') from told where told.kind in ('S', 'f')), '')`

// Write runs a rule that writes, in one transaction, and returns when it is durable and marked: a read
// that begins now sees it. The error is an *Error; with class OutcomeUnknown the write may have happened,
// and it is marked all the same.
func (d *Database) Write(ctx context.Context, call Call) (Written, error) {
	var w *writing
	k := d.know(call.Rule)
	err := d.run(ctx, func(ctx context.Context, s *session) error {
		w = &writing{d: d, s: s, k: k, call: call}
		if k.alone.Load() {
			return w.doAlone(ctx)
		}
		err := w.do(ctx)
		if cannotNest(err) {
			if err = s.rollback(ctx); err != nil {
				return err
			}
			k.alone.Store(true)
			return w.doAlone(ctx)
		}
		return err
	})
	if err != nil {
		d.observeFailure(k, w != nil, err)
		return Written{}, err
	}
	w.await(ctx)
	return w.written, nil
}

// cannotNest reports whether the statement refuses to run in a transaction: a procedure that commits,
// VACUUM, CREATE INDEX CONCURRENTLY. Whatever it did until then goes with the rollback.
func cannotNest(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == pgerrcode.ActiveSQLTransaction || pg.Code == pgerrcode.InvalidTransactionTermination)
}

// writing is one try at a write.
type writing struct {
	d    *Database
	s    *session
	k    *knowledge
	call Call

	scratch *scratch
	took    []time.Duration
	oids    []uint32 // what it has locked for writing
	awaited []uint32 // of them: those whose change a feed brings
	change  cache.Change
	beyond  []cache.Dependency // sequences and foreign tables
	tables  []string
	written Written
}

func (w *writing) do(ctx context.Context) error {
	own := &w.d.own
	w.scratch = w.d.takeScratch()
	defer w.d.giveScratch(w.scratch)
	if err := w.s.ready(ctx, with(w.k.statements, w.ownNeeded(own.begin, own.written)...)...); err != nil {
		return err
	}
	sent := time.Now()
	r := w.s.open(ctx)
	w.begin(r)
	for _, st := range w.k.statements {
		w.scratch.values = st.arguments(w.scratch.values[:0], w.call.Input.Arguments, w.call.Input.Body)
		r.send(st, w.scratch.values)
	}
	r.send(own.written, nil)
	err := r.flush()
	if err == nil {
		err = w.receive(r)
	}
	if err = r.close(err); err != nil {
		return err
	}
	a := w.answer(sent, w.scratch.results)
	if err := w.commit(ctx); err != nil {
		return err
	}
	w.name(ctx)
	w.finish(&a)
	return nil
}

// name learns what the tables that were written are called, for observations. The first write to a table
// that no fill has met asks the server; where that fails they have no names.
func (w *writing) name(ctx context.Context) {
	if relations, err := w.s.relations(ctx, w.oids); err == nil {
		w.tables = names(relations)
	}
}

// ownNeeded adds what this package sends along.
func (w *writing) ownNeeded(list ...*statement) []*statement {
	own := &w.d.own
	list = append(list, own.commit)
	if own.local != nil {
		list = append(list, own.local)
	}
	if w.call.Rule.Query.CustomPlan {
		list = append(list, own.customPlan)
	}
	return list
}

// begin opens the transaction.
func (w *writing) begin(r *round) {
	own := &w.d.own
	r.send(own.begin, nil)
	if own.local != nil {
		r.send(own.local, nil)
	}
	if w.call.Rule.Query.CustomPlan {
		r.send(own.customPlan, nil)
	}
}

// begun reads the answers to begin.
func (w *writing) begun(r *round) error {
	n := 1
	if w.d.own.local != nil {
		n++
	}
	if w.call.Rule.Query.CustomPlan {
		n++
	}
	for range n {
		if err := r.skip(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	return nil
}

func (w *writing) receive(r *round) error {
	if err := w.begun(r); err != nil {
		return err
	}
	w.scratch.grow(len(w.k.statements))
	from := w.d.clock.Now()
	for i, st := range w.k.statements {
		reader, err := r.next()
		if err != nil {
			return fmt.Errorf("run statement %q: %w", st.label, err)
		}
		rows := newReading(w.s, st, w.call)
		if err := rows.read(reader, &w.scratch.results[i]); err != nil {
			return fmt.Errorf("read rows of statement %q: %w", st.label, err)
		}
		now := w.d.clock.Now()
		w.took = append(w.took, now.Sub(from))
		from = now
	}
	return w.receiveWritten(r)
}

// receiveWritten reads the answer to writtenQuery.
func (w *writing) receiveWritten(r *round) error {
	row, err := r.row(4)
	if err != nil {
		return fmt.Errorf("ask what was written: %w", err)
	}
	w.written.LSN = row[1]
	beyond, err := parseOids(row[3])
	if err != nil {
		return err
	}
	w.beyond = dependenciesOf(beyond)
	if row[0] == "" {
		return nil // no transaction id: no row was changed
	}
	if w.change.Xid, err = strconv.ParseUint(row[0], 10, 64); err != nil {
		return fmt.Errorf("read transaction id: %w", err)
	}
	tables, err := parseOids(row[2])
	if err != nil {
		return err
	}
	w.oids = tables
	return nil
}

// commit commits, and has the change marked but for what await is left to wait for.
//
// What no feed brings is marked before the COMMIT goes out, too, because that may take effect although its
// answer never comes: then only snapshots can show that it did, or that the transaction has ended without.
// What a feed brings it brings as precisely as anybody's change: by rows. Marks by locks are for what does
// not come in time.
func (w *writing) commit(ctx context.Context) error {
	if !w.s.present() {
		w.change.Xid = 0 // of another server, maybe: nothing it can be compared with
	}
	w.change.Touched = w.touched()
	followed, rest := w.split()
	w.mark(rest)
	err := w.sendCommit(ctx)
	switch {
	case err == nil:
		w.change.Visible = true
		w.mark(rest)
		w.awaited = followed
	case classOf(err) == OutcomeUnknown:
		w.d.metrics.unknown.Inc()
		w.mark(w.oids)
	}
	w.change.Dependencies = wholesOf(w.oids)
	if len(w.beyond) > 0 {
		w.d.log.Purge(cache.Purge{Dependencies: w.beyond})
	}
	return err
}

// mark applies the change to the log for these tables, as far as the locks told of it.
func (w *writing) mark(oids []uint32) {
	if len(oids) == 0 {
		return
	}
	change := w.change
	change.Dependencies, change.Applied = wholesOf(oids), w.d.clock.Now()
	w.d.log.Commit(change)
}

// touched says for people what the write did: which statement it was, and to what.
func (w *writing) touched() []cache.Touch {
	verb, _, _ := strings.Cut(strings.TrimSpace(w.k.statements[0].sql), " ")
	switch verb = strings.ToUpper(verb); {
	case len(w.oids) == 1 && (verb == "INSERT" || verb == "UPDATE" || verb == "DELETE"):
	default:
		verb = "WRITE"
	}
	list := make([]cache.Touch, len(w.oids))
	for i, oid := range w.oids {
		list[i] = cache.Touch{Relation: oid, Operation: verb}
	}
	return list
}

// split returns of which tables a feed brings the change, and of which none does.
func (w *writing) split() (followed, rest []uint32) {
	feed := w.d.log.Feed()
	if w.d.following.feed == nil || !feed.Live || feed.Mode == cache.FeedOff || w.change.Xid == 0 || !w.d.leadsToTheFeed() {
		return nil, w.oids
	}
	for _, oid := range w.oids {
		if _, covered := feed.Covered[oid]; covered {
			followed = append(followed, oid)
		} else {
			rest = append(rest, oid)
		}
	}
	return followed, rest
}

// ownWait is how long a write waits for its own change to come in before it marks what it had locked.
const ownWait = 50 * time.Millisecond

// await waits for what the feed brings of the change, also for a caller who has left; what does not come in
// time is marked. Called when the connection has been given back: nothing of the database is needed for it.
func (w *writing) await(ctx context.Context) {
	if len(w.awaited) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ownWait)
	defer cancel()
	if !w.d.following.feed.Wait(ctx, w.change.Xid) {
		w.d.metrics.late.Inc()
		w.mark(w.awaited)
	}
}

// sendCommit sends COMMIT and waits for its answer, also for a caller who has left.
func (w *writing) sendCommit(ctx context.Context) error {
	limit := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline) + commitGrace
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	r := w.s.open(ctx)
	r.send(w.d.own.commit, nil)
	err := r.flush()
	var reader *pgconn.ResultReader
	if err == nil {
		reader, err = r.next()
	}
	var tag pgconn.CommandTag
	if err == nil {
		tag, err = reader.Close()
	}
	if err = r.close(err); err != nil {
		return commitFailure(err)
	}
	if tag.String() != "COMMIT" {
		return fault(fmt.Errorf("commit: the server answered %s", tag))
	}
	return nil
}

// commitFailure tells an answer from silence. An ERROR is an answer: a deferred constraint, say. What
// ends the connection may have come after the commit.
func commitFailure(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" {
		return fmt.Errorf("commit: %w", err)
	}
	return outcomeUnknown(err)
}

func outcomeUnknown(err error) *Error {
	return &Error{
		Class: OutcomeUnknown, Status: 504, Err: err,
		Detail: "The connection to the database broke while the change was being committed; it may or may not have happened.",
	}
}

// answer makes the response out of results. It is made before the commit, while the results are at hand.
func (w *writing) answer(sent time.Time, results []result) answer {
	return answer{call: w.call, results: results, sent: sent, came: time.Now(), stored: w.d.clock.Now()}
}

// finish makes what Write returns.
func (w *writing) finish(a *answer) {
	w.written.Response, w.scratch.body = a.response(w.scratch.body[:0])
	w.written.Change = w.change
	w.observe()
}

func (w *writing) observe() {
	for i, st := range w.k.statements {
		w.d.observe(Observation{
			Rule: w.call.Rule.Name, Kind: w.call.Rule.Kind, Statement: st.label, Tables: w.tables,
			Duration: w.took[i], Rows: w.scratch.results[i].rows, Write: true,
		})
	}
}

// doAlone runs the one statement outside of a transaction of ours. What it changed cannot be asked once
// it has committed by itself, so everything stored is outdated when it has ended.
func (w *writing) doAlone(ctx context.Context) error {
	w.scratch = w.d.takeScratch()
	defer w.d.giveScratch(w.scratch)
	if err := w.s.ready(ctx, w.k.statements...); err != nil {
		return err
	}
	sent := time.Now()
	err := w.runAlone(ctx)
	if err != nil && w.s.pg.IsClosed() && !pgconn.SafeToRetry(err) {
		w.d.strays.add(w.s.backend)
		w.d.metrics.unknown.Inc()
		err = outcomeUnknown(err)
	}
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

// spell lists what an atomic batch refused.
func spell(items []ItemError) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = fmt.Sprintf("item %d: %s", item.Index+1, item.Detail)
	}
	return strings.Join(parts, " ")
}
