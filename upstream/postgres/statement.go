package postgres

import (
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/zeebo/xxh3"

	"forebay/rules"
	"forebay/upstream/postgres/wire"
)

// statement is a SQL text that is prepared under a name of its own. Immutable; safe for concurrent use.
type statement struct {
	name   string // of the prepared statement, the same for the same text on every connection
	label  string // as templates and observations name it
	sql    string
	rows   rules.Rows
	params []int         // as rules.Statement has them
	inputs []rules.Param // that params index into
	writes bool          // of a rule that writes
	own    bool          // of this package: its answer is read here, not encoded
}

// newStatement makes a statement of the rule's.
func newStatement(r *rules.Rule, s *rules.Statement) *statement {
	st := &statement{
		name: preparedName(s.SQL), label: s.Name, sql: s.SQL, rows: s.Rows, params: s.Params, inputs: r.Params, writes: r.Writes(),
	}
	if r.Batch != nil {
		st.inputs = r.Batch.Item
	}
	return st
}

// ownStatement makes a statement of this package's.
func ownStatement(sql string) *statement {
	return &statement{name: preparedName(sql), label: "forebay", sql: sql, own: true}
}

// preparedName names a prepared statement by its text, so that a connection that outlives a reload never
// runs another text under the same name.
func preparedName(sql string) string {
	h := xxh3.HashString128(sql)
	return fmt.Sprintf("forebay_%016x%016x", h.Hi, h.Lo)
}

// arguments appends what the statement's parameters are bound to, as text; nil is NULL.
func (s *statement) arguments(dst [][]byte, arguments []rules.Argument, body []byte) [][]byte {
	for _, index := range s.params {
		switch {
		case index == -1 && body == nil:
			dst = append(dst, []byte("{}"))
		case index == -1:
			dst = append(dst, body)
		case index >= len(arguments) || !arguments[index].Present:
			dst = append(dst, nil)
		case arguments[index].Text == nil:
			dst = append(dst, []byte{})
		default:
			dst = append(dst, arguments[index].Text)
		}
	}
	return dst
}

// shape is what a statement's rows look like and how they are written. Immutable; safe for concurrent use.
type shape struct {
	columns    []wire.Column
	formats    []int16
	encoder    *wire.Encoder
	params     []uint32 // the types of the statement's parameters
	bounds     []bound  // of them, what they hold of a rule's integers
	generation uint64   // of the catalogue that the types were read in
}

// noShape is that of statements whose rows nobody reads. Immutable.
var noShape = &shape{}

// newShape makes the shape of a statement that is described so; text says that values arrive as text whatever they are.
func newShape(st *statement, described *pgconn.StatementDescription, types wire.Catalogue, generation uint64, text bool) (*shape, error) {
	fields := described.Fields
	s := &shape{params: described.ParamOIDs, bounds: st.boundsOf(described.ParamOIDs), generation: generation, columns: make([]wire.Column, len(fields)), formats: make([]int16, len(fields))}
	for i, f := range fields {
		if !text {
			s.formats[i] = wire.FormatOf(types, f.DataTypeOID)
		}
		s.columns[i] = wire.Column{Name: f.Name, OID: f.DataTypeOID, Format: s.formats[i]}
	}
	var err error
	s.encoder, err = wire.NewEncoder(types, s.columns)
	return s, err
}

// fits reports whether rows described so have this shape.
func (s *shape) fits(fields []pgconn.FieldDescription) bool {
	return slices.EqualFunc(s.columns, fields, func(c wire.Column, f pgconn.FieldDescription) bool {
		return c.Name == f.Name && c.OID == f.DataTypeOID && c.Format == f.Format
	})
}

// column returns the place of the column of that name, or -1.
func (s *shape) column(name string) int {
	return slices.IndexFunc(s.columns, func(c wire.Column) bool { return c.Name == name })
}

// oids returns the types of the fields.
func oids(fields []pgconn.FieldDescription) []uint32 {
	list := make([]uint32, len(fields))
	for i, f := range fields {
		list[i] = f.DataTypeOID
	}
	return list
}
