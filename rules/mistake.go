package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Mistake is one thing that is wrong, or suspicious, in a configuration: where it stands, what it is, and
// what to do about it. A value; safe for concurrent use.
type Mistake struct {
	Position
	Path    string // in the YAML: routes[3].ttl; empty for the file as a whole
	Rule    string // the name of the rule it is in, if any
	Message string // what is wrong; what is wanted, or what to do
	Warning bool   // allowed, but probably not meant
}

// String returns the mistake as one line: file:line:column: path (rule): message.
func (m Mistake) String() string {
	var b strings.Builder
	b.WriteString(m.Position.String())
	b.WriteString(": ")
	if m.Warning {
		b.WriteString("warning: ")
	}
	switch {
	case m.Path != "" && m.Rule != "":
		fmt.Fprintf(&b, "%s (%s): ", m.Path, m.Rule)
	case m.Path != "" || m.Rule != "":
		b.WriteString(m.Path + m.Rule + ": ")
	}
	b.WriteString(m.Message)
	return b.String()
}

// String returns file:line:column, without what is not known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Mistakes are all the mistakes of a configuration, sorted by position: those of the configuration file
// first, then those of its SQL files. Not to be written; safe for concurrent use.
type Mistakes []Mistake

// Error returns one line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// Sort sorts them by position, those of the configuration file itself first.
func (m Mistakes) Sort(file string) {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		if (a.File == file) != (b.File == file) {
			if a.File == file {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Fatal reports whether any of them is more than a warning.
func (m Mistakes) Fatal() bool {
	return slices.ContainsFunc(m, func(one Mistake) bool { return !one.Warning })
}

const unknownKey = "unknown key "

// report gathers what is wrong with one file. It knows where each value stands by its path in the YAML,
// so that whoever finds a mistake need only name the path. Not safe for concurrent use.
type report struct {
	file  string
	lines []string              // the file's text, to find places inside a value
	nodes map[string]*yaml.Node // each value that was given, by its path
	rule  string                // the rule being compiled, for the mistakes found meanwhile
	list  Mistakes

	unread   map[string]bool // values that could not be read: nothing more is to be said of them, or of what is in them
	doubtful map[string]bool // mappings with an unknown key, which may be what seems to be missing
}

func newReport(file string, text []byte) *report {
	return &report{file: file, lines: strings.Split(string(text), "\n"), nodes: make(map[string]*yaml.Node)}
}

// mistake notes what is wrong with the value at path.
func (r *report) mistake(path, format string, args ...any) {
	if r.settled(path) {
		return
	}
	r.mistakeAt(r.position(path), path, format, args...)
}

// mistakeAt notes what is wrong at a position of its own.
func (r *report) mistakeAt(at Position, path, format string, args ...any) {
	r.list = append(r.list, Mistake{Position: at, Path: path, Rule: r.rule, Message: fmt.Sprintf(format, args...)})
}

// warn notes what is suspicious about the value at path.
func (r *report) warn(path, format string, args ...any) {
	if r.settled(path) {
		return
	}
	r.list = append(r.list, Mistake{Position: r.position(path), Path: path, Rule: r.rule, Message: fmt.Sprintf(format, args...), Warning: true})
}

// settle ends the reading of the file: the mistakes so far are of values that could not be read, and what
// follows from them is not to be called a mistake as well.
func (r *report) settle() {
	r.unread, r.doubtful = make(map[string]bool), make(map[string]bool)
	for _, m := range r.list {
		if strings.HasPrefix(m.Message, unknownKey) {
			r.doubtful[outer(m.Path)] = true
			continue
		}
		r.unread[m.Path] = true
	}
}

func (r *report) settled(path string) bool {
	if r.doubtful[path] {
		return true
	}
	for ; path != ""; path = outer(path) {
		if r.unread[path] {
			return true
		}
	}
	return false
}

// outer returns the path of the mapping or list that the value at path is in.
func outer(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// given reports whether the file itself has a value at path.
func (r *report) given(path string) bool { return r.nodes[path] != nil }

// position returns where the value at path stands, or the nearest value around it that was given.
func (r *report) position(path string) Position {
	for path != "" {
		if n := r.nodes[path]; n != nil {
			return r.positionOf(n)
		}
		path = outer(path)
	}
	return Position{File: r.file, Line: 1, Column: 1}
}

func (r *report) positionOf(n *yaml.Node) Position {
	return Position{File: r.file, Line: n.Line, Column: n.Column}
}

// positionIn returns where the nth (from 0) occurrence of token stands inside the value n. YAML may have folded
// the lines of the value or written it in quotes, but what has no spaces keeps its order, so counting
// occurrences finds the place whatever the style.
func (r *report) positionIn(n *yaml.Node, token string, nth int) Position {
	if n == nil || token == "" || n.Line < 1 {
		return Position{File: r.file, Line: 1, Column: 1}
	}
	for i := n.Line - 1; i < len(r.lines); i++ {
		line, from := r.lines[i], 0
		if i == n.Line-1 {
			from = min(n.Column-1, len(line))
		}
		for {
			at := strings.Index(line[from:], token)
			if at < 0 {
				break
			}
			if nth == 0 {
				return Position{File: r.file, Line: i + 1, Column: from + at + 1}
			}
			nth--
			from += at + len(token)
		}
	}
	return r.positionOf(n)
}

// meant returns "; did you mean …?" for the known word nearest to the given one, and otherwise what is known.
func meant(given string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := edits(strings.ToLower(given), k); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(known) == 0:
		return ""
	case len(known) == 1:
		return fmt.Sprintf("; want %q", known[0])
	}
	return "; want one of " + strings.Join(known, ", ")
}

// edits counts the letters to add, drop, change or swap with their neighbour to make b of a.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
