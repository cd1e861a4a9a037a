package wire

import (
	"errors"
	"fmt"
)

// ErrNeedsToJSON means that only Postgres can write a column; see NeedsToJSON.
var ErrNeedsToJSON = errors.New("only to_json can write this type")

// Column describes a column of a result.
type Column struct {
	Name   string // the key in objects
	OID    uint32 // its type
	Format int16  // the format its values arrive in: 0 is text, 1 is binary
}

// Encoder writes the rows of one statement's results. Immutable, safe for concurrent use.
type Encoder struct {
	columns []field
	names   []string
}

// NewEncoder makes an Encoder for rows of these columns. Types holds what is not built in (Missing says
// which); it is not kept. A column that only to_json can write is an error, ErrNeedsToJSON.
func NewEncoder(types Catalogue, columns []Column) (*Encoder, error) {
	e := &Encoder{columns: make([]field, len(columns)), names: make([]string, len(columns))}
	for i, column := range columns {
		f, err := newColumnForm(types, column)
		if err != nil {
			return nil, fmt.Errorf("encode column %q: %w", column.Name, err)
		}
		e.columns[i] = newField(i, column.Name, f)
		e.names[i] = column.Name
	}
	return e, nil
}

func newColumnForm(types Catalogue, column Column) (*form, error) {
	if column.Format != 0 {
		k, ok := binaryKind(baseOf(types, column.OID))
		if !ok {
			return nil, fmt.Errorf("type %d is not read in format %d; ask for the format of FormatOf", column.OID, column.Format)
		}
		return &form{kind: k}, nil
	}
	f, err := newForm(types, column.OID, 0)
	if err == nil && f.kind == kindToJSON {
		err = ErrNeedsToJSON
	}
	return f, err
}

// AppendObject appends a row as to_json writes it: {"id":1,"name":"x"}. A nil value is NULL. Columns of
// the same name appear as often as the row has them, as in Postgres. After an error dst is as it was.
func (e *Encoder) AppendObject(dst []byte, row [][]byte) ([]byte, error) {
	if len(row) != len(e.columns) {
		return dst, fmt.Errorf("read row of %d values for %d columns: %w", len(row), len(e.columns), ErrMismatch)
	}
	if len(row) == 0 {
		return append(dst, "{}"...), nil
	}
	out := dst
	for i, value := range row {
		column := &e.columns[i]
		out = column.appendKey(out)
		if value == nil {
			out = append(out, "null"...)
			continue
		}
		var err error
		switch column.form.kind { // the most frequent without going further
		case kindText, kindPlain:
			out = AppendJSONString(out, value)
		case kindNumber:
			out = appendNumber(out, value)
		default:
			if out, err = column.form.append(out, value); err != nil {
				return dst, fmt.Errorf("encode column %q: %w", e.names[i], err)
			}
		}
	}
	return append(out, '}'), nil
}

// AppendValue appends the value of one column (counted from 0) as to_json writes it. A nil value is
// NULL. After an error dst is as it was.
func (e *Encoder) AppendValue(dst []byte, column int, value []byte) ([]byte, error) {
	out, err := e.columns[column].form.appendNullable(dst, value)
	if err != nil {
		return dst, fmt.Errorf("encode column %q: %w", e.names[column], err)
	}
	return out, nil
}

// appendNullable writes a value as JSON, nil as null.
func (f *form) appendNullable(dst, value []byte) ([]byte, error) {
	if value == nil {
		return append(dst, "null"...), nil
	}
	return f.append(dst, value)
}
