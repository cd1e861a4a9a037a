package postgres

import (
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/rules"
	"forebay/upstream/postgres/wire"
)

// maxResult bounds what one call may hold in memory, in bytes. What is larger has to be streamed.
const maxResult = 64 << 20

// result is one statement's, encoded. Its bytes belong to the scratch it was read into.
type result struct {
	label   string
	json    []byte
	csv     []byte
	rows    int
	missing bool         // no row where one was wanted
	header  []headerCell // of the one row, for response fields
}

// headerCell is a column's value as a response field may name it.
type headerCell struct{ name, value string }

// scratch is reused between calls. Owned by the call that took it.
type scratch struct {
	filling filling
	results []result
	values  [][]byte
	body    []byte
}

func (d *Database) takeScratch() *scratch {
	if s, ok := d.scratch.Get().(*scratch); ok {
		return s
	}
	return &scratch{}
}

// maxScratch is the largest buffer, in bytes, that is kept for the next call.
const maxScratch = 1 << 20

func (d *Database) giveScratch(s *scratch) {
	s.filling = filling{took: s.filling.took[:0]} // the rest points into a request
	for i := range s.results {
		if cap(s.results[i].json) > maxScratch || cap(s.results[i].csv) > maxScratch {
			return
		}
	}
	if cap(s.body) <= maxScratch {
		clear(s.values[:cap(s.values)]) // they point into a request
		d.scratch.Put(s)
	}
}

// grow makes room for the results of n statements, keeping the buffers of earlier ones.
func (s *scratch) grow(n int) {
	for cap(s.results) < n {
		s.results = append(s.results[:cap(s.results)], result{})
	}
	s.results = s.results[:n]
	for i := range s.results {
		r := &s.results[i]
		*r = result{json: r.json[:0], csv: r.csv[:0], header: r.header[:0]}
	}
}

// reading is how the rows of one answer are to be taken.
type reading struct {
	statement *statement
	shape     *shape
	format    *rules.Format // nil: the rule's own form
	csv, json bool          // which forms are wanted
	header    bool          // the row's values are wanted for response fields
}

// read encodes the answer into r. It stops at a limit with an error and then leaves rows unread.
func (w *reading) read(answer *pgconn.ResultReader, r *result) error {
	r.label = w.statement.label
	if w.statement.rows == rules.None {
		_, err := answer.Close()
		return err
	}
	if !w.shape.fits(answer.FieldDescriptions()) {
		if _, err := answer.Close(); err != nil {
			return err
		}
		return fmt.Errorf("read rows of %q: %w", w.statement.label, errShapeChanged)
	}
	columns := w.open(r)
	for answer.NextRow() {
		r.rows++
		if err := w.row(r, answer.Values(), columns); err != nil {
			return err
		}
	}
	if _, err := answer.Close(); err != nil {
		return err
	}
	w.end(r)
	return nil
}

// open writes what comes before the first row.
func (w *reading) open(r *result) (columns []int) {
	if w.json && w.statement.rows == rules.Many {
		r.json = append(r.json, '[')
	}
	if w.csv {
		var titles []string
		columns, titles = csvColumns(w.shape, w.format)
		r.csv = wire.AppendCSVHeader(r.csv, titles)
	}
	return columns
}

// row writes one row.
func (w *reading) row(r *result, row [][]byte, columns []int) error {
	if w.format != nil && w.format.MaxRows > 0 && r.rows > w.format.MaxRows {
		return tooLarge(w.format.TooMany)
	}
	if len(r.json)+len(r.csv) > maxResult {
		return tooLarge("")
	}
	var err error
	if w.csv {
		if r.csv, err = w.shape.encoder.AppendCSV(r.csv, columns, row); err != nil {
			return err
		}
	}
	if w.header && r.rows == 1 {
		if r.header, err = headerCells(r.header, w.shape, row); err != nil {
			return err
		}
	}
	switch {
	case !w.json:
	case w.statement.rows == rules.Many:
		if r.rows > 1 {
			r.json = append(r.json, ',')
		}
		r.json, err = w.shape.encoder.AppendObject(r.json, row)
	case r.rows > 1: // one row is all that is wanted
	case w.statement.rows == rules.Value:
		r.json, err = w.shape.encoder.AppendValue(r.json, 0, row[0])
	default:
		r.json, err = w.shape.encoder.AppendObject(r.json, row)
	}
	return err
}

// end writes what comes after the last row.
func (w *reading) end(r *result) {
	switch {
	case w.statement.rows == rules.Many:
		if w.json {
			r.json = append(r.json, ']')
		}
	case r.rows == 0:
		r.missing = true
		r.json = append(r.json, "null"...)
	}
}

// csvColumns returns which columns a CSV form has, and their titles.
func csvColumns(s *shape, f *rules.Format) (columns []int, titles []string) {
	if f == nil || len(f.Columns) == 0 {
		for _, c := range s.columns {
			titles = append(titles, c.Name)
		}
		return nil, titles
	}
	for _, c := range f.Columns {
		if at := s.column(c.Name); at >= 0 {
			columns, titles = append(columns, at), append(titles, c.Title)
		}
	}
	return columns, titles
}

// headerCells appends each column's value as plain text.
func headerCells(dst []headerCell, s *shape, row [][]byte) ([]headerCell, error) {
	for i, c := range s.columns {
		text, err := s.encoder.AppendValue(nil, i, row[i])
		if err != nil {
			return dst, err
		}
		dst = append(dst, headerCell{name: c.Name, value: plain(text)})
	}
	return dst, nil
}

// plain takes the quotes off a JSON string; other JSON stays, and null is empty.
func plain(json []byte) string {
	if string(json) == "null" {
		return ""
	}
	if s, err := strconv.Unquote(string(json)); err == nil {
		return s
	}
	return string(json)
}

// tooLarge is the error of a result above a limit; the detail is the form's own if it has one.
func tooLarge(detail string) *Error {
	if detail == "" {
		detail = "The result is too large to be answered at once; ask for less, or for a streamed form if the route has one."
	}
	return &Error{Class: TooLarge, Status: 413, Detail: detail}
}
