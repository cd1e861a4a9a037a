package postgres

import (
	"slices"
	"strings"
)

// ownStatements are the statements of this package that calls send along. Immutable.
type ownStatements struct {
	settings   string // set_config calls that make a transaction what a session would be; "" where sessions are
	begin      *statement
	beginIf    *statement // of a write with a condition
	beginRead  *statement
	commit     *statement
	snapshots  [4]*statement // by looking + 2*custom
	locks      *statement
	scans      *statement
	written    *statement
	alone      *statement
	immediate  *statement
	savepoint  *statement
	release    *statement
	rollbackTo *statement
	local      *statement // the settings alone, for transactions that take no snapshot; nil where sessions have them
	vantage    string     // takes a snapshot and nothing else
	customPlan *statement
	unbounded  *statement // no statement_timeout: for exports
	replayed   *statement // of a standby, as the next one
	vouch      *statement
}

func newOwnStatements(cfg Config) ownStatements {
	o := ownStatements{
		begin:      ownStatement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
		beginIf:    ownStatement("BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"),
		beginRead:  ownStatement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
		commit:     ownStatement("COMMIT"),
		locks:      ownStatement(locksQuery),
		scans:      ownStatement(scansQuery),
		written:    ownStatement(writtenQuery),
		alone:      ownStatement(aloneQuery),
		vantage:    snapshotQuery("", false, false, false),
		immediate:  ownStatement("SET CONSTRAINTS ALL IMMEDIATE"),
		savepoint:  ownStatement("SAVEPOINT forebay"),
		release:    ownStatement("RELEASE SAVEPOINT forebay"),
		rollbackTo: ownStatement("ROLLBACK TO SAVEPOINT forebay"),
		customPlan: ownStatement("select " + setting("plan_cache_mode", "force_custom_plan")),
		unbounded:  ownStatement("select " + setting("statement_timeout", "0")),
		replayed:   ownStatement(replayedQuery),
		vouch:      ownStatement(vouchQuery),
	}
	if !cfg.PreparedStatements {
		settings := sessionSettings(cfg)
		delete(settings, readOnly)          // of no effect once a transaction has begun
		delete(settings, "client_encoding") // what pgx asks for when it connects, and poolers keep
		for name, value := range settings {
			o.settings += ", " + setting(name, value)
		}
		o.local = ownStatement("select " + o.settings[2:])
		o.written = ownStatement(writtenQuery + ", " + lifeExpression)
		o.vantage += ", " + lifeExpression
	}
	for i := range o.snapshots {
		o.snapshots[i] = ownStatement(snapshotQuery(o.settings, i&1 != 0, i&2 != 0, !cfg.PreparedStatements))
	}
	return o
}

// snapshotQuery takes the snapshot, and sets what the statement behind it needs on the way. To look at
// what is read, nothing may run in parallel: workers take locks and count scans in processes of their
// own. A plan that was made for workers before gets none. Behind a pooler the transaction also tells its server's life.
func snapshotQuery(settings string, looking, custom, pooled bool) string {
	q := "select pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_is_in_recovery()"
	if pooled {
		q += ", " + lifeExpression + settings + ", " + setting("transaction_read_only", "on")
	}
	if looking {
		q += ", " + setting("max_parallel_workers_per_gather", "0") + ", " + setting("max_parallel_workers", "0")
	}
	if custom {
		q += ", " + setting("plan_cache_mode", "force_custom_plan")
	}
	return q
}

// setting sets one for the rest of the transaction.
func setting(name, value string) string {
	return "pg_catalog.set_config('" + name + "', '" + strings.ReplaceAll(value, "'", "''") + "', true)"
}

// snapshot returns the statement that takes the snapshot.
func (o *ownStatements) snapshot(looking, custom bool) *statement {
	i := 0
	if looking {
		i |= 1
	}
	if custom {
		i |= 2
	}
	return o.snapshots[i]
}

// with returns the statements and more of them, for ready.
func with(statements []*statement, more ...*statement) []*statement {
	return append(slices.Clip(statements), more...)
}
