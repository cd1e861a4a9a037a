package rules

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand returns the scalar's text with ${NAME} and ${NAME:-fallback} replaced, and whether there were any.
// The fallback stands for a variable that is unset or empty; $${ is a plain ${. It works on single values
// of the parsed file, so what a variable holds can never become a key or another line of the file.
func (d *decoder) expand(path string, n *yaml.Node) (text string, replaced bool) {
	rest := n.Value
	var b strings.Builder
	for seen := 0; ; seen++ {
		at := strings.Index(rest, "${")
		if at < 0 {
			b.WriteString(rest)
			return b.String(), replaced
		}
		if at > 0 && rest[at-1] == '$' {
			b.WriteString(rest[:at-1])
			b.WriteString("${")
			rest = rest[at+2:]
			continue
		}
		b.WriteString(rest[:at])
		inside, after, closed := strings.Cut(rest[at+2:], "}")
		if !closed {
			d.mistakeAt(d.positionIn(n, "${", seen), path, "${ is never closed; write ${NAME} for a variable, or $${ for the two characters themselves")
			return b.String(), replaced
		}
		replaced = true
		b.WriteString(d.variable(path, inside, d.positionIn(n, "${", seen)))
		rest = after
	}
}

// variable returns what stands between ${ and } is worth.
func (d *decoder) variable(path, inside string, at Position) string {
	name, fallback, hasFallback := strings.Cut(inside, ":-")
	if !variableName.MatchString(name) {
		d.mistakeAt(at, path, "${%s} does not name a variable; write ${NAME}, ${NAME:-fallback}, or $${ for the two characters themselves", inside)
		return ""
	}
	value, ok := d.lookupEnv(name)
	switch {
	case hasFallback && value == "":
		return fallback
	case !ok:
		d.mistakeAt(at, path, "environment variable %s is not set; set it, or give a fallback as in ${%s:-value}", name, name)
	}
	return value
}
