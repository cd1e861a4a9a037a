package postgres

import (
	"slices"
	"strconv"
	"strings"
)

// insertion is an INSERT of one row, cut where it would insert many. Immutable.
type insertion struct {
	table  string // as it is written
	into   string // up to VALUES
	values string // inside the parentheses, with the n-th parameter as item.pn
	rest   string // behind them: RETURNING …, or nothing
	called []string
}

// parseInsertion reads INSERT INTO table (columns) VALUES (…) RETURNING …, of which the columns and what
// is returned may be missing. Anything that depends on what was inserted just before is not ok: a query
// inside, ON CONFLICT; and so is what stands in VALUES alone, DEFAULT.
func parseInsertion(sql string) (insertion, bool) {
	p := &insertionParser{sql: sql}
	if !p.scan() || slices.ContainsFunc(p.tokens, token.needsOneRow) {
		return insertion{}, false
	}
	in := insertion{}
	if !p.word("insert") || !p.word("into") {
		return in, false
	}
	from := p.here()
	if !p.name() {
		return in, false
	}
	for p.punctuation(".") {
		if !p.name() {
			return in, false
		}
	}
	in.table = strings.TrimSpace(sql[from:p.here()])
	if p.word("as") && !p.name() {
		return in, false
	}
	if _, _, ok := p.parentheses(); p.failed || !ok && !p.is("values") {
		return in, false
	}
	in.into = sql[:p.here()]
	if !p.word("values") {
		return in, false
	}
	from, to, ok := p.parentheses()
	if !ok || p.at < len(p.tokens) && !p.is("returning") {
		return in, false
	}
	in.values = p.withItems(from, to)
	in.rest = sql[p.here():]
	if slices.ContainsFunc(p.tokens[p.at:], token.isParameter) {
		return in, false
	}
	in.called = p.called()
	return in, true
}

// token is a word, a quoted identifier, a string, a parameter, or a character of punctuation.
type token struct {
	text string
	from int // its place in the text
}

func (t token) end() int { return t.from + len(t.text) }

func (t token) is(word string) bool { return strings.EqualFold(t.text, word) }

// needsOneRow reports whether the word makes an INSERT something else than one row of expressions.
func (t token) needsOneRow() bool { return t.is("select") || t.is("table") || t.is("default") }

func (t token) isName() bool { return isWordStart(t.text[0]) || t.text[0] == '"' }

func (t token) isParameter() bool {
	return len(t.text) > 1 && t.text[0] == '$' && t.text[1] >= '0' && t.text[1] <= '9'
}

// insertionParser goes through the tokens of a statement. Owned by parseInsertion.
type insertionParser struct {
	sql    string
	tokens []token
	at     int
	failed bool // a parenthesis is not closed
}

// scan finds the tokens. Not ok: the text may be read otherwise than Postgres does.
func (p *insertionParser) scan() bool {
	if strings.Contains(p.sql, `\'`) || strings.Contains(strings.ToLower(p.sql), `u&"`) {
		return false
	}
	for i := 0; i < len(p.sql); {
		c, end := p.sql[i], silentEnd(p.sql, i)
		switch {
		case end > len(p.sql):
			return false
		case end > i && c != '\'' && c != '$', strings.IndexByte(" \t\r\n\f\v", c) >= 0:
			i = max(end, i+1) // a comment, or space
			continue
		case end > i:
		case c == '"':
			end = skipQuoted(p.sql, i) + 1
			if end > len(p.sql) {
				return false
			}
		case c == '$' || isWordStart(c) || c >= '0' && c <= '9':
			for end = i + 1; end < len(p.sql) && (isWordStart(p.sql[end]) || p.sql[end] >= '0' && p.sql[end] <= '9'); {
				end++
			}
		default:
			end = i + 1
		}
		p.tokens = append(p.tokens, token{p.sql[i:end], i})
		i = end
	}
	return true
}

// here is the place of the next token.
func (p *insertionParser) here() int {
	if p.at < len(p.tokens) {
		return p.tokens[p.at].from
	}
	return len(p.sql)
}

func (p *insertionParser) is(word string) bool {
	return p.at < len(p.tokens) && p.tokens[p.at].is(word)
}

// word takes the word if it comes next.
func (p *insertionParser) word(word string) bool {
	ok := p.is(word)
	if ok {
		p.at++
	}
	return ok
}

func (p *insertionParser) punctuation(c string) bool { return p.word(c) }

// name takes an identifier.
func (p *insertionParser) name() bool {
	ok := p.at < len(p.tokens) && p.tokens[p.at].isName()
	if ok {
		p.at++
	}
	return ok
}

// parentheses takes what stands in parentheses, if one opens, and returns which tokens are inside.
func (p *insertionParser) parentheses() (from, to int, ok bool) {
	if !p.punctuation("(") {
		return 0, 0, false
	}
	from = p.at
	for depth := 1; p.at < len(p.tokens); p.at++ {
		switch p.tokens[p.at].text {
		case "(":
			depth++
		case ")":
			depth--
		}
		if depth == 0 {
			p.at++
			return from, p.at - 1, true
		}
	}
	p.failed = true
	return 0, 0, false
}

// withItems returns the text of the tokens with the columns of item in the places of parameters.
func (p *insertionParser) withItems(from, to int) string {
	var out strings.Builder
	at := p.tokens[from-1].end()
	for _, t := range p.tokens[from:to] {
		if t.isParameter() {
			out.WriteString(p.sql[at:t.from])
			out.WriteString("item.p")
			out.WriteString(t.text[1:])
			at = t.end()
		}
	}
	out.WriteString(p.sql[at:p.tokens[to].from])
	return out.String()
}

// called lists the names that a parenthesis follows: functions, if nothing else.
func (p *insertionParser) called() []string {
	var names []string
	for i, t := range p.tokens[:len(p.tokens)-1] {
		if t.isName() && p.tokens[i+1].text == "(" {
			name := strings.ToLower(t.text)
			if t.text[0] == '"' {
				name, _, _ = cutIdentifier(t.text)
			}
			names = append(names, name)
		}
	}
	return names
}

// many returns the INSERT of as many rows as the arrays that are its parameters have elements, in their
// order. Arrays are the types of these.
func (in insertion) many(arrays []string) string {
	var b strings.Builder
	b.WriteString(in.into)
	b.WriteString("select ")
	b.WriteString(in.values)
	b.WriteString("\nfrom rows from (")
	for i, array := range arrays {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("pg_catalog.unnest($" + strconv.Itoa(i+1) + "::" + array + ")")
	}
	b.WriteString(") with ordinality as item (")
	for i := range arrays {
		b.WriteString("p" + strconv.Itoa(i+1) + ", ")
	}
	b.WriteString("nth)\norder by item.nth\n")
	b.WriteString(in.rest)
	return b.String()
}
