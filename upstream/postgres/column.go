package postgres

import (
	"context"
	"fmt"
	"strconv"
)

// ColumnName returns the name of a relation's column by its attribute number; "" if there is none. For
// people: it asks the server each time. The error is an *Error.
func (d *Database) ColumnName(ctx context.Context, oid uint32, column int16) (string, error) {
	name := ""
	err := d.run(ctx, func(ctx context.Context, s *session) error {
		values := [][]byte{strconv.AppendUint(nil, uint64(oid), 10), strconv.AppendInt(nil, int64(column), 10)}
		answer := s.pg.ExecParams(ctx, `select a.attname from pg_catalog.pg_attribute a
where a.attrelid = $1::pg_catalog.oid and a.attnum = $2::pg_catalog.int2 and not a.attisdropped`, values, nil, nil, nil).Read()
		if answer.Err != nil {
			return fmt.Errorf("read column: %w", answer.Err)
		}
		if len(answer.Rows) == 1 {
			name = string(answer.Rows[0][0])
		}
		return nil
	})
	return name, err
}
