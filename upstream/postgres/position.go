package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Position returns the primary's WAL insert position: everything that committed before it was asked for lies
// before it. The error is an *Error.
func (d *Database) Position(ctx context.Context) (uint64, error) {
	var position uint64
	err := d.run(ctx, func(ctx context.Context, s *session) (err error) {
		position, err = s.position(ctx)
		return err
	})
	return position, err
}

func (s *session) position(ctx context.Context) (uint64, error) {
	answer := s.pg.ExecParams(ctx, "select pg_catalog.pg_current_wal_insert_lsn()::text", nil, nil, nil, nil).Read()
	if answer.Err != nil {
		return 0, fmt.Errorf("ask for the WAL position: %w", answer.Err)
	}
	return parsePosition(string(answer.Rows[0][0]))
}

// parsePosition reads a pg_lsn, as in 16/B374D848.
func parsePosition(text string) (uint64, error) {
	high, low, ok := strings.Cut(text, "/")
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("read WAL position: %q is none", text)
	}
	return h<<32 | l, nil
}
