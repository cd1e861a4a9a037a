package postgres

import "context"

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
