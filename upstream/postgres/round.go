package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// round is one round trip on a session: statements that are sent together and answered in order. Not
// safe for concurrent use.
type round struct {
	s *session
	p *pgconn.Pipeline

	// survives says that the round goes on behind an error, at the next boundary. pgx 5.12 keeps the
	// descriptions of the statements that the server skips and takes them for those of the next ones, so in
	// such a round each statement has itself described again.
	survives bool
}

// open begins a round trip. Every statement sent on it has been made ready.
func (s *session) open(ctx context.Context) *round {
	return &round{s: s, p: s.pg.StartPipeline(ctx)}
}

// send queues a statement. The values are text, and are copied at once.
func (r *round) send(st *statement, values [][]byte) {
	if p := r.s.prepared[st.name]; p != nil {
		var formats []int16
		if p.shape != nil {
			formats = p.shape.formats
		}
		if r.survives {
			r.p.SendQueryPrepared(st.name, values, nil, formats)
		} else {
			r.p.SendQueryStatement(p.description, values, nil, formats)
		}
		return
	}
	r.p.SendQueryParams(st.sql, values, nil, nil, nil)
}

// boundary ends the implicit transaction, or lets the server go on after an error in an explicit one.
func (r *round) boundary() { r.p.SendPipelineSync() }

// flush sends everything, ending with a boundary.
func (r *round) flush() error { return r.p.Sync() }

// next returns the answer to the next statement.
func (r *round) next() (*pgconn.ResultReader, error) {
	result, err := r.p.GetResults()
	if err != nil {
		return nil, err
	}
	reader, ok := result.(*pgconn.ResultReader)
	if !ok {
		return nil, fmt.Errorf("read answer: unexpected %T", result)
	}
	return reader, nil
}

// passed reads the answer to the next boundary, which may bring the error of a deferred constraint.
func (r *round) passed() error {
	result, err := r.p.GetResults()
	if err != nil {
		return err
	}
	if _, ok := result.(*pgconn.PipelineSync); !ok {
		return fmt.Errorf("read end of transaction: unexpected %T", result)
	}
	return nil
}

// skip reads the next answer and ignores its rows.
func (r *round) skip() error {
	reader, err := r.next()
	if err != nil {
		return err
	}
	_, err = reader.Close()
	return err
}

// row reads the next answer's only row into strings; NULL is "".
func (r *round) row(columns int) ([]string, error) {
	reader, err := r.next()
	if err != nil {
		return nil, err
	}
	var row []string
	for reader.NextRow() {
		values := reader.Values()
		row = make([]string, len(values))
		for i, v := range values {
			row[i] = string(v)
		}
	}
	if _, err := reader.Close(); err != nil {
		return nil, err
	}
	if len(row) != columns {
		return nil, errors.New("read answer: not one row of the columns asked for")
	}
	return row, nil
}

// close reads what is left and ends the round. Err is what went wrong before, which explains more than
// what closing may say.
func (r *round) close(err error) error {
	closeErr := r.p.Close()
	if err != nil {
		return err
	}
	return closeErr
}
