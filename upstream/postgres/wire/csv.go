package wire

import (
	"bytes"
	"fmt"
)

// AppendCSV appends a row as a line of CSV (RFC 4180), ended by \r\n. Columns says which columns of the
// row to write, in which order (counted from 0); nil means all. After an error dst is as it was.
//
// A cell is the value's text output, with four differences, so that a cell reads like the JSON of the
// same value without its quotes: bool is true or false, timestamps have to_json's form, arrays,
// composites and hstore are JSON. NULL is an empty cell and an empty string is "" (in quotes), as COPY
// has it; only a line of one NULL is "", too, since readers skip empty lines.
//
// Cells of text that a spreadsheet would run as a formula get an apostrophe in front: those that begin
// with =, @, a tab or a carriage return, and those that begin with + or - and are neither a number nor a
// phone number. So -5, +491234 and +1 (245) 555-0158 stay what they are, and cells of numbers, dates and
// other types whose vocabulary is fixed are never touched.
func (e *Encoder) AppendCSV(dst []byte, columns []int, row [][]byte) ([]byte, error) {
	if len(row) != len(e.columns) {
		return dst, fmt.Errorf("read row of %d values for %d columns: %w", len(row), len(e.columns), ErrMismatch)
	}
	n := len(columns)
	if columns == nil {
		n = len(row)
	}
	out := dst
	for i := range n {
		at := i
		if columns != nil {
			at = columns[i]
		}
		if i > 0 {
			out = append(out, ',')
		}
		if row[at] == nil {
			if n == 1 {
				out = append(out, `""`...)
			}
			continue
		}
		var err error
		if out, err = e.columns[at].form.appendCell(out, row[at]); err != nil {
			return dst, fmt.Errorf("encode column %q: %w", e.names[at], err)
		}
	}
	return append(out, '\r', '\n'), nil
}

// AppendCSVHeader appends a line of titles. They are the configuration's own words and are not defused.
func AppendCSVHeader(dst []byte, titles []string) []byte {
	for i, title := range titles {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendCSVText(dst, "", []byte(title))
	}
	return append(dst, '\r', '\n')
}

// appendCell writes a value that is not NULL as a cell of CSV.
func (f *form) appendCell(dst, value []byte) ([]byte, error) {
	switch f.kind {
	case kindText:
		if isFormula(value) {
			return appendCSVText(dst, "'", value), nil
		}
		return appendCSVText(dst, "", value), nil
	case kindNumber, kindPlain, kindJSON:
		return appendCSVText(dst, "", value), nil
	case kindBool:
		return appendBool(dst, value)
	case kindBinaryBytea:
		return appendHex(append(dst, `\x`...), value), nil
	case kindArray, kindVector, kindComposite, kindHstore:
		start := len(dst)
		dst, err := f.append(dst, value)
		return quoteTail(dst, start), err
	default:
		return f.appendBare(dst, value)
	}
}

// appendCSVText writes prefix and text as a cell, in quotes if it needs them.
func appendCSVText(dst []byte, prefix string, text []byte) []byte {
	start := len(dst)
	dst = append(dst, prefix...)
	dst = append(dst, text...)
	return quoteTail(dst, start)
}

// quoteTail puts what dst holds from start on into quotes if a cell needs them.
func quoteTail(dst []byte, start int) []byte {
	cell := dst[start:]
	if len(cell) > 0 && !bytes.ContainsAny(cell, "\",\r\n") {
		return dst
	}
	end := len(dst)
	quotes := bytes.Count(cell, []byte{'"'})
	for range quotes + 2 {
		dst = append(dst, '"')
	}
	to := len(dst) - 1
	for from := end - 1; from >= start; from-- {
		to--
		dst[to] = dst[from]
		if dst[from] == '"' {
			to--
			dst[to] = '"'
		}
	}
	dst[start] = '"'
	return dst
}

// isFormula says whether a spreadsheet may run the text.
func isFormula(text []byte) bool {
	if len(text) == 0 {
		return false
	}
	switch text[0] {
	case '=', '@', '\t', '\r':
		return true
	case '+', '-':
		return !isDecimal(text[1:]) && !isPhone(text)
	default:
		return false
	}
}

// isDecimal says whether the text is digits, with a decimal point among them or none.
func isDecimal(text []byte) bool {
	whole, fraction, point := bytes.Cut(text, []byte{'.'})
	if point && digits(fraction, 0) != len(fraction) {
		return false
	}
	return len(whole)+len(fraction) > 0 && digits(whole, 0) == len(whole)
}

// isPhone says whether the text is a phone number in international form: + and 7 to 15 digits (E.164) with
// the marks that people put between them. No spreadsheet finds a function or a cell in it.
func isPhone(text []byte) bool {
	if text[0] != '+' {
		return false
	}
	n := 0
	for _, c := range text[1:] {
		switch {
		case '0' <= c && c <= '9':
			n++
		case bytes.IndexByte([]byte(" ()-./"), c) < 0:
			return false
		}
	}
	return 7 <= n && n <= 15
}
