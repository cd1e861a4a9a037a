package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// plan is a node of what EXPLAIN (VERBOSE, FORMAT JSON) answers, as far as it is read here.
type plan struct {
	NodeType     string `json:"Node Type"`
	SubplanName  string `json:"Subplan Name"`
	Schema       string `json:"Schema"`
	RelationName string `json:"Relation Name"`
	Alias        string `json:"Alias"`
	Filter       string `json:"Filter"`
	IndexCond    string `json:"Index Cond"`
	RecheckCond  string `json:"Recheck Cond"`
	Evaluated    []any  `json:"Params Evaluated"`
	Removed      int    `json:"Subplans Removed"`
	Plans        []plan `json:"Plans"`
}

// scan is one mention of a table in a statement: the equalities that hold for every row it reads.
type scan struct {
	schema, name string
	equalities   []equality
	ambiguous    bool // there are equalities, and what they compare with is not known: none is listed
}

// equality says that a column equals a parameter, or one of the elements of it.
type equality struct {
	column    string
	parameter int  // from 1
	asText    bool // a side was cast to text
	any       bool // column = ANY ($n)
}

// parsePlan reads a generic plan and returns every mention of a table in it.
//
// What a statement answers is a function of what its scans return, whatever plan it is run by: plans of a
// statement answer alike. So if each scan of a table in one of its plans keeps rows with column = $n only,
// no other row of the table can matter. That holds for conditions of the scan itself; what a join or a node
// above it filters does not count. Incomplete: partitions are missing from the plan that other values of the
// parameters would bring in.
func parsePlan(text []byte) (scans []scan, incomplete bool, err error) {
	var explained []struct {
		Plan plan `json:"Plan"`
	}
	if err := json.Unmarshal(text, &explained); err != nil || len(explained) != 1 {
		return nil, false, fmt.Errorf("read plan: unexpected form (%w)", err)
	}
	root := &explained[0].Plan
	root.scans(&scans, !root.isAmbiguous())
	return scans, root.removes(), nil
}

// removes reports whether partitions are left out for the values that the parameters happen to have, and so are
// mentioned nowhere.
func (p *plan) removes() bool {
	return p.Removed > 0 || slices.ContainsFunc(p.Plans, func(below plan) bool { return below.removes() })
}

// isAmbiguous reports whether $n may be something else than the statement's nth parameter: before 17,
// results of subqueries that are computed once are written the same way.
func (p *plan) isAmbiguous() bool {
	if strings.Contains(p.SubplanName, "returns $") || len(p.Evaluated) > 0 {
		return true
	}
	for i := range p.Plans {
		if p.Plans[i].isAmbiguous() {
			return true
		}
	}
	return false
}

// scans appends the mentions of tables in the node and below it.
func (p *plan) scans(dst *[]scan, told bool) {
	if p.RelationName != "" {
		s := scan{schema: p.Schema, name: p.RelationName}
		switch p.NodeType {
		case "Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan":
			if s.equalities = equalities(p.Alias, p.Filter, p.IndexCond, p.RecheckCond); !told {
				s.equalities, s.ambiguous = nil, len(s.equalities) > 0
			}
		}
		*dst = append(*dst, s)
	}
	for i := range p.Plans {
		p.Plans[i].scans(dst, told)
	}
}

// equalities returns the conditions of the form column = $n or column = ANY ($n) among those that all hold.
func equalities(alias string, conditions ...string) []equality {
	var list []equality
	for _, condition := range conditions {
		for _, part := range conjuncts(nil, condition) {
			if e, ok := parseEquality(alias, part); ok {
				list = append(list, e)
			}
		}
	}
	return list
}

// conjuncts appends the conditions that an expression, as Postgres deparses it, joins by AND. Every AND and
// every operand has parentheses of its own there.
func conjuncts(dst []string, expression string) []string {
	inside := unwrap(expression)
	parts := splitTop(inside, " AND ")
	if len(parts) < 2 {
		if inside == "" {
			return dst
		}
		return append(dst, inside)
	}
	for _, part := range parts {
		dst = conjuncts(dst, part)
	}
	return dst
}

// unwrap takes off the parentheses that stand around the whole expression.
func unwrap(expression string) string {
	for strings.HasPrefix(expression, "(") && matching(expression) == len(expression)-1 {
		expression = expression[1 : len(expression)-1]
	}
	return expression
}

// matching returns the place of the parenthesis that closes the one at the beginning, or -1.
func matching(expression string) int {
	depth := 0
	for i := 0; i < len(expression); i++ {
		switch c := expression[i]; c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		case '\'', '"':
			i = skipQuoted(expression, i)
		}
	}
	return -1
}

// splitTop splits at separators that stand outside of parentheses and quotes.
func splitTop(expression, separator string) []string {
	var parts []string
	depth, from := 0, 0
	for i := 0; i < len(expression); i++ {
		switch c := expression[i]; c {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case '\'', '"':
			i = skipQuoted(expression, i)
		default:
			if depth == 0 && strings.HasPrefix(expression[i:], separator) {
				parts = append(parts, expression[from:i])
				i += len(separator) - 1
				from = i + 1
			}
		}
	}
	return append(parts, expression[from:])
}

// skipQuoted returns the place of the quote that closes the one at i. Doubled quotes need no care: they
// close and open again. A backslash escapes in E'…' alone.
func skipQuoted(text string, i int) int {
	quote, escapes := text[i], text[i] == '\'' && i > 0 && text[i-1] == 'E'
	for i++; i < len(text); i++ {
		switch {
		case text[i] == '\\' && escapes:
			i++
		case text[i] == quote:
			return i
		}
	}
	return len(text)
}

// parseEquality reads alias.column = $n, in either order, where text is compared with casts to text.
func parseEquality(alias, condition string) (equality, bool) {
	sides := splitTop(condition, " = ")
	if len(sides) != 2 {
		return equality{}, false
	}
	for i, side := range sides {
		column, columnCast := uncast(side)
		elements, isAny := strings.CutPrefix(sides[1-i], "ANY ")
		parameter, parameterCast := uncast(unwrap(elements))
		table, name, ok := parseColumn(column)
		n, err := strconv.Atoi(strings.TrimPrefix(parameter, "$"))
		if ok && table == alias && strings.HasPrefix(parameter, "$") && err == nil && !(isAny && i == 1) {
			return equality{column: name, parameter: n, asText: columnCast || parameterCast, any: isAny}, true
		}
	}
	return equality{}, false
}

// uncast takes the cast off (x)::text.
func uncast(side string) (inside string, cast bool) {
	inside, cast = strings.CutSuffix(side, "::text")
	if !cast {
		return side, false
	}
	return unwrap(inside), true
}

// parseColumn reads table.column, either of them quoted or not.
func parseColumn(text string) (table, column string, ok bool) {
	table, rest, ok := cutIdentifier(text)
	if !ok || !strings.HasPrefix(rest, ".") {
		return "", "", false
	}
	column, rest, ok = cutIdentifier(rest[1:])
	return table, column, ok && rest == ""
}

// cutIdentifier reads the identifier at the beginning.
func cutIdentifier(text string) (name, rest string, ok bool) {
	if strings.HasPrefix(text, `"`) {
		for i := 1; i < len(text); i++ {
			if text[i] != '"' {
				continue
			}
			if i+1 < len(text) && text[i+1] == '"' {
				i++
				continue
			}
			return strings.ReplaceAll(text[1:i], `""`, `"`), text[i+1:], true
		}
		return "", "", false
	}
	i := 0
	for i < len(text) && (isWordStart(text[i]) || i > 0 && (text[i] >= '0' && text[i] <= '9' || text[i] == '$')) {
		i++
	}
	return text[:i], text[i:], i > 0
}
