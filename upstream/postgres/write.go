package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
)

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
// that begins now sees it. A condition is judged in the same transaction. The error is an *Error; with class OutcomeUnknown the write may have happened,
// and it is marked all the same.
func (d *Database) Write(ctx context.Context, call Call) (Written, error) {
	var w *writing
	k := d.know(call.Rule)
	err := d.run(ctx, func(ctx context.Context, s *session) error {
		w = &writing{d: d, s: s, k: k, call: call, change: cache.Change{Epoch: d.log.Epoch()}}
		if k.alone.Load() && call.If == nil {
			return w.doAlone(ctx)
		}
		err := w.do(ctx)
		if cannotNest(err) && call.If == nil {
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
	if err := w.s.ready(ctx, with(w.k.statements, w.ownNeeded(w.opening(), own.written)...)...); err != nil {
		return err
	}
	if err := w.s.withinAll(w.k.statements, w.call.Input.Arguments); err != nil {
		return err
	}
	sent := time.Now()
	if err := w.conditional(ctx); err != nil {
		return err
	}
	r := w.s.open(ctx)
	if w.call.If == nil {
		w.begin(r)
	}
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
	r.send(w.opening(), nil)
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
	if w.call.If == nil {
		if err := w.begun(r); err != nil {
			return err
		}
	}
	w.scratch.grow(len(w.k.statements))
	from := w.d.clock.Now()
	for i, st := range w.k.statements {
		reader, err := r.next()
		if err != nil {
			return w.s.failed("run", st, w.call.Input.Arguments, err)
		}
		rows := newReading(w.s, st, w.call)
		if err := rows.read(reader, &w.scratch.results[i]); err != nil {
			return w.s.failed("read rows of", st, w.call.Input.Arguments, err)
		}
		now := w.d.clock.Now()
		w.took = append(w.took, now.Sub(from))
		from = now
	}
	return w.receiveWritten(r)
}

// receiveWritten reads the answer to writtenQuery.
func (w *writing) receiveWritten(r *round) error {
	columns := 4
	if w.d.server.blur {
		columns++
	}
	row, err := r.row(columns)
	if err != nil {
		return fmt.Errorf("ask what was written: %w", err)
	}
	if w.d.server.blur {
		w.s.lives(row[4]) // else the session is not comparable from here on
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

// answer makes the response out of results. It is made before the commit, while the results are at hand.
func (w *writing) answer(sent time.Time, results []result) answer {
	return answer{call: w.call, results: results, sent: sent, came: time.Now(), stored: w.d.clock.Now()}
}

// finish makes what Write returns.
func (w *writing) finish(a *answer) {
	w.written.Response, w.scratch.body = a.response(w.scratch.body[:0])
	w.written.Change, w.written.Waited = w.change, w.s.waited
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
