package postgres

import (
	"context"

	"forebay/cache"
)

// Compare compares the catalogue once.
func Compare(ctx context.Context, d *Database) bool { return d.compare(ctx) }

// RowsOf returns the rows that a call of a rule with one table and one condition depends on; not ok: it is the
// table.
func RowsOf(d *Database, call Call) (values []string, ok bool) {
	f := d.know(call.Rule).found.Load()
	if f == nil {
		return nil, false
	}
	for oid, conditions := range f.rows {
		rows, ok := conditions[0].appendRows(nil, oid, call.Input.Arguments)
		for _, row := range rows {
			_, _, value, _ := row.Row()
			values = append(values, value)
		}
		return values, ok
	}
	return nil, false
}

// Revive looks once whether a database that was not there is there again.
func Revive(ctx context.Context, d *Database) bool { return d.revive(ctx) }

// ForgetSnapshot has the next fill take a snapshot of its own.
func ForgetSnapshot(d *Database) { d.shared.Store(nil) }

// KeepSnapshot has all fills share the last snapshot from here on, however old, until one of the log's changes.
func KeepSnapshot(d *Database) {
	t := *d.shared.Load()
	t.at = d.clock.Now() + 1<<60
	d.shared.Store(&t)
}

// LookAgain has the next fill of the rule look at what it depends on, as one does every ten seconds.
func LookAgain(d *Database, call Call) {
	k := d.know(call.Rule)
	f := *k.found.Load()
	f.at = d.clock.Now() - 2*cache.Instant(lookAgain)
	k.found.Store(&f)
}
