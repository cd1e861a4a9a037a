package rules

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// place is where a byte of a text stands in a file. What follows it in the text stands behind it on the same
// line, up to the next place.
type place struct {
	offset       int // in the text
	line, column int
	blurred      bool // what follows cannot be found: it stands somewhere behind this place
}

// seam is where a statement goes on behind what was put into it or left out of it.
type seam struct{ sql, text int }

// Place returns where the nth character of SQL, counted from 1 as Postgres counts it, stands in File. Where it
// cannot be told exactly, and for 0, that is the beginning of the text.
func (s *Statement) Place(nth int) Position {
	at := Position{File: s.File, Line: max(s.Line, 1), Column: 1}
	if len(s.places) == 0 {
		return at
	}
	first := s.places[0]
	at.Line, at.Column = first.line, first.column
	if nth < 1 {
		return at
	}
	offset := 0
	for end := len(strings.TrimRight(s.SQL, " \t\r\n")); nth > 1 && offset < end; nth-- {
		_, size := utf8.DecodeRuneInString(s.SQL[offset:])
		offset += size
	}
	return s.placeOf(s.written(offset))
}

// written returns which byte of the text as it was written an offset in SQL stands for.
func (s *Statement) written(offset int) int {
	for i := len(s.seams) - 1; i >= 0; i-- {
		if c := s.seams[i]; c.sql <= offset {
			return c.text + offset - c.sql
		}
	}
	return offset
}

// placeOf returns where a byte of the text as it was written stands in File.
func (s *Statement) placeOf(offset int) Position {
	found := s.places[0]
	for _, p := range s.places {
		if p.offset <= offset {
			found = p
		}
	}
	if found.blurred {
		return Position{File: s.File, Line: s.places[0].line, Column: s.places[0].column}
	}
	return Position{File: s.File, Line: found.line, Column: found.column + max(offset-found.offset, 0)}
}

// placesOfFile are the places of a text that is a whole file.
func placesOfFile(text string) []place {
	places := []place{{line: 1, column: 1}}
	for offset, line := 0, 1; ; line++ {
		next := strings.IndexByte(text[offset:], '\n')
		if next < 0 {
			return places
		}
		offset += next + 1
		places = append(places, place{offset: offset, line: line + 1, column: 1})
	}
}

// placesIn are the places of a text that is the value of n. YAML has indented it, folded its lines, or put it in
// quotes; but all that is not space stands in the file in the same order, so both are walked side by side. From
// where they differ, as they do behind a ${VARIABLE}, nothing more can be told.
func (r *report) placesIn(n *yaml.Node, text string) []place {
	w := newScalarWalk(r.lines, n)
	var places []place
	for i := 0; i < len(text); i++ {
		if isSQLSpace(text[i]) {
			continue
		}
		if !w.reach(text[i]) {
			at := place{offset: i, line: n.Line, column: n.Column, blurred: true}
			if len(places) == 0 {
				places = append(places, at)
			}
			return append(places, at)
		}
		if last := len(places) - 1; last < 0 || places[last].line != w.line+1 || places[last].column+i-places[last].offset != w.column+1 {
			places = append(places, place{offset: i, line: w.line + 1, column: w.column + 1})
		}
		w.pass()
	}
	return places
}

// scalarWalk goes through a scalar as it stands in the file. Line and column count from 0, columns in bytes.
type scalarWalk struct {
	lines        []string
	style        yaml.Style
	line, column int
	width        int // of what stands for the character that was reached
}

func newScalarWalk(lines []string, n *yaml.Node) *scalarWalk {
	w := &scalarWalk{lines: lines, style: n.Style, line: max(n.Line-1, 0)}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		w.line++ // the text begins below the | or >
		return w
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRuneInString(w.rest())
		w.column += size
	}
	for strings.HasPrefix(w.rest(), "&") || strings.HasPrefix(w.rest(), "!") { // an anchor, a tag
		w.column += strings.IndexAny(w.rest()+" ", " \t")
		w.space()
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		w.column++
	}
	return w
}

// rest returns what is left of the line.
func (w *scalarWalk) rest() string {
	if w.line >= len(w.lines) {
		return ""
	}
	return w.lines[w.line][min(w.column, len(w.lines[w.line])):]
}

// reach goes to the next character that is not space, and reports whether it is the one given.
func (w *scalarWalk) reach(c byte) bool {
	w.space()
	rest := w.rest()
	if rest == "" {
		return false
	}
	w.width = 1
	switch {
	case w.style&yaml.SingleQuotedStyle != 0 && strings.HasPrefix(rest, "''"),
		w.style&yaml.DoubleQuotedStyle != 0 && len(rest) > 1 && rest[0] == '\\' && strings.IndexByte(`"\/`, rest[1]) >= 0:
		w.width = 2
		return rest[1] == c
	}
	return rest[0] == c
}

// pass goes behind the character that was reached.
func (w *scalarWalk) pass() { w.column += w.width }

// space passes what is space in the text or stands for it.
func (w *scalarWalk) space() {
	for w.line < len(w.lines) {
		rest := w.rest()
		switch {
		case rest == "" || rest == `\` && w.style&yaml.DoubleQuotedStyle != 0:
			w.line++
			w.column = 0
		case isSQLSpace(rest[0]):
			w.column++
		case w.style&yaml.DoubleQuotedStyle != 0 && len(rest) > 1 && rest[0] == '\\' && strings.IndexByte("ntrvf ", rest[1]) >= 0:
			w.column += 2
		default:
			return
		}
	}
}
