package postgres

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"forebay/rules"
)

// writers are functions of the server that write, whatever they are called with.
var writers = []string{
	"nextval", "setval", "lo_creat", "lo_create", "lo_from_bytea", "lo_import", "lo_put", "lo_truncate", "lo_truncate64",
	"lo_unlink", "lowrite",
}

// calls reports calls that write, by name, in a rule that reads. What functions that somebody added do, only
// running them tells.
func (c *checking) calls(ctx context.Context, st *rules.Statement) error {
	p := &insertionParser{sql: st.SQL}
	if c.rule.Writes() || !p.scan() {
		return nil
	}
	all, err := c.s.functions(ctx)
	if err != nil {
		return err
	}
	for i, t := range p.tokens {
		name := strings.ToLower(t.text)
		called := i+1 < len(p.tokens) && p.tokens[i+1].text == "("
		foreign := i > 1 && p.tokens[i-1].text == "." && !p.tokens[i-2].is("pg_catalog")
		if called && !foreign && slices.Contains(writers, name) && len(all.byName[name]) == 0 {
			c.mistake(st.Place(1+utf8.RuneCountInString(st.SQL[:t.from])), "statement %q calls %s(), which writes, in a rule that reads; leave it out, or use POST, PUT, PATCH or DELETE without reads: true", st.Name, name)
		}
	}
	return nil
}
