package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SQLMark is a place in a SQL text. Line and column count from 1, columns in bytes.
type SQLMark struct {
	Name         string // what stands there: a parameter's name, or the text at fault
	Line, Column int
}

// offset returns where in the text it is.
func (m SQLMark) offset(text string) int {
	offset := 0
	for range m.Line - 1 {
		offset += strings.IndexByte(text[offset:], '\n') + 1
	}
	return offset + m.Column - 1
}

// SQLError is why a SQL text cannot be a statement of a rule. It is a value of its own; safe for concurrent use.
type SQLError struct {
	SQLMark
	Message string
}

// Error returns the message, which names what is at fault.
func (e *SQLError) Error() string { return e.Message }

// operatorBytes are what Postgres makes operators of, apart from @ itself.
const operatorBytes = "+-*/<>=~!#%^&|`?"

// atOperators are the operators that end in @. Postgres takes the longest run of operator characters for one
// operator, so in `a <@b` nobody asks for a parameter; `id=@id` can only mean one, there being no operator =@.
var atOperators = [...]string{"<@", "@@", "@@@", "|@", "^@", "~@", "@-@", "?<@", "&@"}

// ScanSQL replaces each @name of a statement by $n, the same name always by the same $n, and returns which
// index name gave for each. Names that name does not know are returned as unknown and stay as they are. What
// Postgres does not read as SQL is left alone: strings ('…', E'…', U&'…', $tag$…$tag$), quoted identifiers and
// comments; and so are the operators that begin or end with @. A semicolon at the end is dropped. The error, if
// any, is a *SQLError: a string or comment without an end, a $1 of the author's own, more than one statement,
// none at all.
func ScanSQL(text string, name func(param string) (index int, ok bool)) (sql string, params []int, unknown []SQLMark, err error) {
	s, err := scanSQL(text, name)
	if err != nil {
		return "", nil, nil, err
	}
	return s.out.String(), s.params, s.unknown, nil
}

func scanSQL(text string, name func(param string) (index int, ok bool)) (*sqlScanner, error) {
	s := &sqlScanner{text: text, name: name, numbers: make(map[string]int)}
	return s, s.run()
}

// firstWord returns the statement's first word in lower case: select, with, insert …
func firstWord(sql string) string {
	s := &sqlScanner{text: sql}
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case isSQLSpace(c) || c == '(':
			s.at++
		case strings.HasPrefix(s.text[s.at:], "--"):
			s.lineComment()
		case strings.HasPrefix(s.text[s.at:], "/*"):
			if s.blockComment() != nil {
				return ""
			}
		default:
			from := s.at
			for s.at < len(s.text) && isIdentifierByte(s.text[s.at]) {
				s.at++
			}
			return strings.ToLower(s.text[from:s.at])
		}
	}
	return ""
}

// sqlScanner walks a SQL text once. What it has passed is in out up to copied.
type sqlScanner struct {
	text   string
	name   func(string) (int, bool)
	at     int
	copied int
	out    strings.Builder

	params  []int
	numbers map[string]int // the $n of each name
	unknown []SQLMark
	seams   []seam
	content bool // anything but spaces and comments was seen
	end     int  // after the semicolon; 0: none yet
}

func (s *sqlScanner) run() error {
	for s.at < len(s.text) {
		if err := s.step(); err != nil {
			return err
		}
	}
	if !s.content {
		return s.fail(0, "", "the statement is empty; write the SQL, or leave the query out")
	}
	s.out.WriteString(s.text[s.copied:])
	return nil
}

// step passes one token.
func (s *sqlScanner) step() error {
	c := s.text[s.at]
	rest := s.text[s.at:]
	switch {
	case isSQLSpace(c):
		s.at++
		return nil
	case strings.HasPrefix(rest, "--"):
		s.lineComment()
		return nil
	case strings.HasPrefix(rest, "/*"):
		return s.blockComment()
	case c == ';':
		return s.semicolon()
	case s.end > 0:
		return s.fail(s.at, "", "a second statement begins after the semicolon; a query is one statement: use queries for several, or WITH to join them")
	}
	s.content = true
	switch {
	case c == '\'':
		return s.quoted('\'', false)
	case c == '"':
		return s.quoted('"', false)
	case c == '$':
		return s.dollar()
	case c == '@' || strings.IndexByte(operatorBytes, c) >= 0:
		return s.operator()
	case isIdentifierByte(c):
		return s.word()
	}
	s.at++
	return nil
}

// word passes an identifier, a keyword or a number; or the string that an E prefix begins.
func (s *sqlScanner) word() error {
	from := s.at
	for s.at < len(s.text) && isIdentifierByte(s.text[s.at]) {
		s.at++
	}
	if s.at < len(s.text) && s.text[s.at] == '\'' && strings.EqualFold(s.text[from:s.at], "e") {
		return s.quoted('\'', true)
	}
	return nil
}

// quoted passes a string or a quoted identifier.
func (s *sqlScanner) quoted(quote byte, escapes bool) error {
	from := s.at
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '\\' && escapes:
			s.at++
		case strings.HasPrefix(s.text[s.at:], string([]byte{quote, quote})):
			s.at++
		case c == quote:
			s.at++
			if escapes {
				return s.continued()
			}
			return nil
		}
	}
	return s.fail(from, string(quote), "the %c is never closed; close it where the text ends", quote)
}

// continued passes what goes on with the string E'…' that just ended: a quote right behind it, or behind spaces
// with a line's end among them. The prefix counts for that part, too.
func (s *sqlScanner) continued() error {
	at, newline := s.at, false
	for at < len(s.text) {
		if strings.HasPrefix(s.text[at:], "--") {
			at += strings.IndexByte(s.text[at:]+"\n", '\n')
			continue
		}
		if !isSQLSpace(s.text[at]) {
			break
		}
		newline = newline || s.text[at] == '\n' || s.text[at] == '\r'
		at++
	}
	if at < len(s.text) && s.text[at] == '\'' && (newline || at == s.at) {
		s.at = at
		return s.quoted('\'', true)
	}
	return nil
}

// dollar passes a dollar-quoted string.
func (s *sqlScanner) dollar() error {
	from := s.at
	to := from + 1
	for to < len(s.text) && isIdentifierByte(s.text[to]) && s.text[to] != '$' {
		to++
	}
	if to > from+1 && s.text[from+1] >= '0' && s.text[from+1] <= '9' {
		mark := s.text[from:to]
		return s.fail(from, mark, "%s is numbered by forebay; declare a parameter and write @name for it", mark)
	}
	if to == len(s.text) || s.text[to] != '$' {
		s.at = from + 1
		return nil
	}
	tag := s.text[from : to+1]
	length := strings.Index(s.text[to+1:], tag)
	if length < 0 {
		return s.fail(from, tag, "the %s is never closed; write %s again where the text ends", tag, tag)
	}
	s.at = to + 1 + length + len(tag)
	return nil
}

// operator passes a run of operator characters, and the parameter whose @ ends it.
func (s *sqlScanner) operator() error {
	from := s.at
	for s.at < len(s.text) && (s.text[s.at] == '@' || strings.IndexByte(operatorBytes, s.text[s.at]) >= 0) {
		if s.at > from && (strings.HasPrefix(s.text[s.at:], "--") || strings.HasPrefix(s.text[s.at:], "/*")) {
			return nil
		}
		s.at++
	}
	if s.text[s.at-1] != '@' || s.at == len(s.text) || !isIdentifierByte(s.text[s.at]) || s.text[s.at] == '$' || isDigit(s.text[s.at]) {
		return nil
	}
	to := s.at
	for to < len(s.text) && isParameterByte(s.text[to]) {
		to++
	}
	param, mark := s.text[s.at:to], s.at-1
	if param == "" || to < len(s.text) && isIdentifierByte(s.text[to]) {
		return s.fail(mark, "@", "the name after this @ has other characters than letters, digits and _; rename the parameter")
	}
	index, known := s.name(param)
	if run := s.text[from:s.at]; isAtOperator(run) {
		if known {
			return s.fail(mark, "@"+param, "%s%s could be the operator %s or the parameter @%s; put a space between %s and what it does not belong to", run, param, run, param, run)
		}
		return nil
	}
	s.at = to
	if !known {
		line, column := lineAndColumn(s.text, mark)
		s.unknown = append(s.unknown, SQLMark{Name: param, Line: line, Column: column})
		return nil
	}
	s.bind(mark, param, index)
	return nil
}

// bind writes $n for the parameter whose @ stands at mark.
func (s *sqlScanner) bind(mark int, param string, index int) {
	n, ok := s.numbers[param]
	if !ok {
		s.params = append(s.params, index)
		n = len(s.params)
		s.numbers[param] = n
	}
	s.out.WriteString(s.text[s.copied:mark])
	s.out.WriteByte('$')
	s.out.WriteString(strconv.Itoa(n))
	s.copied = s.at
	s.seams = append(s.seams, seam{s.out.Len(), s.at})
}

// semicolon drops the statement's end. It is an error only if something follows.
func (s *sqlScanner) semicolon() error {
	s.out.WriteString(s.text[s.copied:s.at])
	s.at++
	s.copied, s.end = s.at, s.at
	s.seams = append(s.seams, seam{s.out.Len(), s.at})
	return nil
}

func (s *sqlScanner) lineComment() {
	end := strings.IndexAny(s.text[s.at:], "\n\r")
	if end < 0 {
		s.at = len(s.text)
		return
	}
	s.at += end
}

// blockComment passes /* … */, which nests.
func (s *sqlScanner) blockComment() error {
	from, depth := s.at, 0
	for s.at < len(s.text) {
		switch {
		case strings.HasPrefix(s.text[s.at:], "/*"):
			depth++
			s.at += 2
		case strings.HasPrefix(s.text[s.at:], "*/"):
			depth--
			s.at += 2
			if depth == 0 {
				return nil
			}
		default:
			s.at++
		}
	}
	return s.fail(from, "/*", "the comment /* is never closed; comments nest, so each /* needs a */ of its own")
}

func (s *sqlScanner) fail(at int, mark, format string, args ...any) error {
	line, column := lineAndColumn(s.text, at)
	return &SQLError{SQLMark: SQLMark{Name: mark, Line: line, Column: column}, Message: fmt.Sprintf(format, args...)}
}

func isAtOperator(run string) bool {
	return slices.Contains(atOperators[:], run)
}

// lineAndColumn returns where the byte at offset stands, counted from 1.
func lineAndColumn(text string, offset int) (line, column int) {
	before := text[:offset]
	return 1 + strings.Count(before, "\n"), offset - strings.LastIndexByte(before, '\n')
}

func isSQLSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isIdentifierByte reports what Postgres lets an identifier go on with: any byte beyond ASCII, too.
func isIdentifierByte(c byte) bool { return isParameterByte(c) || c == '$' || c >= 0x80 }

func isParameterByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c)
}
