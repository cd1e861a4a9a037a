package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// describe learns the shapes of statements for a connection on which nothing can stay prepared. It asks
// once per statement and catalogue state for the whole database, not per connection.
func (s *session) describe(ctx context.Context, statements []*statement) error {
	generation := s.db.catalogue.generation.Load()
	for _, st := range statements {
		if st.own || s.db.catalogue.shape(st.name, generation) != nil {
			continue
		}
		description, err := s.description(ctx, st)
		if err != nil {
			return err
		}
		types, err := s.types(ctx, oids(description.Fields))
		if err != nil {
			return err
		}
		shape, err := newShape(st, description, types, generation, true)
		if err != nil {
			return fmt.Errorf("describe statement %q: %w", st.label, err)
		}
		s.db.catalogue.setShape(st.name, shape)
	}
	return nil
}

// description describes the statement without running it and without leaving anything prepared.
func (s *session) description(ctx context.Context, st *statement) (*pgconn.StatementDescription, error) {
	p := s.pg.StartPipeline(ctx)
	p.SendPrepare("", st.sql, nil)
	err := p.Sync()
	var description *pgconn.StatementDescription
	if err == nil {
		description, err = s.prepareResult(p, false)
	}
	if closeErr := p.Close(); err == nil {
		err = closeErr
	}
	return description, err
}

// shapeOf returns the shape that rows of the statement have on this connection. Ready has been called.
func (s *session) shapeOf(st *statement) *shape {
	if p := s.prepared[st.name]; p != nil {
		return p.shape
	}
	return s.db.catalogue.shape(st.name, s.db.catalogue.generation.Load())
}
