package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/upstream/postgres/wire"
)

const (
	sessionKey  = "forebay session" // in a connection's custom data
	maxPrepared = 1000              // statements per connection before all are let go; reloads may add up
)

// session is a connection of the pool and what is known of it. Owned by whoever holds the connection.
type session struct {
	db       *Database
	pg       *pgconn.PgConn
	facts    facts // of a standby's; the primary's are the server's
	backend  backend
	epoch    uint64 // of the server, in which it was met
	born     time.Time
	outworn  bool          // it is not to be used again
	waited   time.Duration // for it, by whoever holds it
	prepared map[string]*preparedStatement
}

// preparedStatement is a statement that the connection's server side knows.
type preparedStatement struct {
	description *pgconn.StatementDescription
	shape       *shape // nil for this package's own
}

// present reports whether the session leads to the server that the newest one does, as far as anybody
// noticed: only then may its transaction ids be compared with others'.
func (s *session) present() bool { return s.epoch == s.db.server.epoch.Load() }

// comparable reports whether the session's transaction ids may be compared with those that the log knows:
// it is present, and of a server that the feed hears of.
func (s *session) comparable() bool { return s.present() && s.db.server.heard() }

// lives reports whether the transaction that this was asked in was of the life of the server that is known, and
// has the session met anew if it was not. What it read is not to be stored then.
func (s *session) lives(life string) bool {
	if s.db.server.lives(life) {
		return true
	}
	s.outworn = true
	return false
}

// ready prepares what is not prepared yet, in one round trip, and learns what the rows look like.
func (s *session) ready(ctx context.Context, statements ...*statement) error {
	if !s.db.cfg.PreparedStatements {
		return s.describe(ctx, statements)
	}
	var missing []*statement
	generation := s.db.catalogue.generation.Load()
	for _, st := range statements {
		p := s.prepared[st.name]
		if p != nil && (st.own || p.shape != nil && p.shape.generation == generation) {
			continue
		}
		if !slices.ContainsFunc(missing, func(other *statement) bool { return other.name == st.name }) { // two with one text
			missing = append(missing, st)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return s.prepare(ctx, missing, generation)
}

func (s *session) prepare(ctx context.Context, missing []*statement, generation uint64) error {
	if len(s.prepared) > maxPrepared {
		if err := s.forget(ctx); err != nil {
			return err
		}
	}
	p := s.pg.StartPipeline(ctx)
	for _, st := range missing {
		if s.prepared[st.name] != nil {
			p.SendDeallocate(st.name)
		}
		p.SendPrepare(st.name, st.sql, nil)
	}
	err := p.Sync()
	for _, st := range missing {
		if err != nil {
			break
		}
		var description *pgconn.StatementDescription
		if description, err = s.prepareResult(p, s.prepared[st.name] != nil); err == nil {
			description.Name = st.name
			s.prepared[st.name] = &preparedStatement{description: description}
		} else {
			delete(s.prepared, st.name)
		}
	}
	if closeErr := p.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return s.learn(ctx, missing, generation)
}

// prepareResult reads the answer to one Parse, and to the Close before it if there was one.
func (s *session) prepareResult(p *pgconn.Pipeline, closed bool) (*pgconn.StatementDescription, error) {
	if closed {
		if _, err := p.GetResults(); err != nil {
			return nil, err
		}
	}
	result, err := p.GetResults()
	if err != nil {
		return nil, err
	}
	description, ok := result.(*pgconn.StatementDescription)
	if !ok {
		return nil, fmt.Errorf("prepare statement: unexpected answer %T", result)
	}
	return description, nil
}

// learn gives the prepared statements their shapes.
func (s *session) learn(ctx context.Context, statements []*statement, generation uint64) error {
	for _, st := range statements {
		p := s.prepared[st.name]
		if st.own {
			continue
		}
		types, err := s.types(ctx, oids(p.description.Fields))
		if err == nil {
			p.shape, err = newShape(st, p.description, types, generation, false)
		}
		if err != nil {
			delete(s.prepared, st.name)
			_ = s.deallocate(ctx, st.name)
			return fmt.Errorf("describe statement %q: %w", st.label, err)
		}
	}
	return nil
}

// types returns a catalogue that knows the types, asking the server for those that nobody asked for yet.
func (s *session) types(ctx context.Context, oids []uint32) (wire.Catalogue, error) {
	generation := s.db.catalogue.generation.Load()
	types, missing := s.db.catalogue.missingTypes(oids)
	if len(missing) == 0 {
		return types, nil
	}
	list := make([]string, len(missing))
	for i, oid := range missing {
		list[i] = strconv.FormatUint(uint64(oid), 10)
	}
	array := []byte("{" + strings.Join(list, ",") + "}")
	answer := s.pg.ExecParams(ctx, wire.CatalogueQuery, [][]byte{array}, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, fmt.Errorf("read catalogue of types: %w", answer.Err)
	}
	if len(answer.Rows) != 1 {
		return nil, errors.New("read catalogue of types: no answer")
	}
	more, err := wire.ParseCatalogue(answer.Rows[0][0])
	if err != nil {
		return nil, err
	}
	return s.db.catalogue.addTypes(more, generation), nil
}

// interpreted asks the server a question of many parts that it is not to compile first: what it estimates of them makes
// it take a hundred times as long for that as for the answer. The setting holds for the one transaction that both are.
func (s *session) interpreted(ctx context.Context, sql string, values ...[]byte) *pgconn.Result {
	both := &pgconn.Batch{}
	both.ExecParams(`select pg_catalog.set_config('jit', 'off', true)`, nil, nil, nil, nil)
	both.ExecParams(sql, values, nil, nil, nil)
	answers, err := s.pg.ExecBatch(ctx, both).ReadAll()
	switch {
	case err != nil:
		return &pgconn.Result{Err: err}
	case len(answers) != 2:
		return &pgconn.Result{Err: fmt.Errorf("%d answers to two questions", len(answers))}
	}
	return answers[1]
}

// forget lets go of everything prepared: after the server said that it knows a name no longer, or knows
// it for a plan whose result has changed.
func (s *session) forget(ctx context.Context) error {
	p := s.pg.StartPipeline(ctx)
	for name := range s.prepared {
		p.SendDeallocate(name)
	}
	err := p.Sync()
	clear(s.prepared)
	s.db.catalogue.dropShapes()
	if closeErr := p.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (s *session) deallocate(ctx context.Context, name string) error {
	return s.pg.Deallocate(ctx, name)
}

// rollback ends a transaction that an error left open.
func (s *session) rollback(ctx context.Context) error {
	if s.pg.IsClosed() || s.pg.TxStatus() == 'I' {
		return nil
	}
	_, err := s.pg.Exec(ctx, "ROLLBACK").ReadAll()
	return err
}

// isOutworn reports whether the error says that what is prepared does not fit the catalogue any more, so
// that preparing it anew may help. All of these come before the statement did anything.
func isOutworn(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return errors.Is(err, wire.ErrMismatch) || errors.Is(err, errShapeChanged)
	}
	switch pg.Code {
	case pgerrcode.FeatureNotSupported, // cached plan must not change result type
		pgerrcode.InvalidSQLStatementName,    // somebody deallocated it
		pgerrcode.DuplicatePreparedStatement, // a server connection that knows it from another client
		pgerrcode.ProtocolViolation:          // as many formats as the statement had columns once
		return true
	}
	return false
}

// errShapeChanged : the rows are not those that were described.
var errShapeChanged = errors.New("the statement's result has changed")
