package postgres

// RowOf returns the row that a call of a rule with one table and one condition depends on, for tests.
func RowOf(d *Database, call Call) (oid uint32, column int16, value string, ok bool) {
	f := d.know(call.Rule).found.Load()
	if f == nil {
		return 0, 0, "", false
	}
	for oid, conditions := range f.rows {
		value, null, ok := conditions[0].value(call.Input.Arguments)
		return oid, conditions[0].column, value, ok && !null
	}
	return 0, 0, "", false
}
