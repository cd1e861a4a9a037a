package rules

import (
	"errors"
	"fmt"
	"strings"
)

// Pattern is a compiled path pattern: literal segments, {parameters} that take one segment each, and
// optionally /** for the rest, which may be nothing at all. Immutable; safe for concurrent use.
//
// A path is read in one way only: it is split at the slashes as it was sent, and then each segment is
// percent-decoded. So %2F is a character of its segment and never a separator, %41 and A are the same,
// and ; is a character like any other. A parameter takes neither an empty segment nor a dot segment.
type Pattern struct {
	Text string // as written

	segments []segment
	names    []string // of the parameters, from left to right
	rest     bool     // ends in /**
}

// segment is one literal, decoded, or a parameter.
type segment struct {
	literal string
	param   bool
}

const maxPathParams = 8

// CompilePattern reads a pattern such as /api/v1/clients/{id} or /files/**.
func CompilePattern(text string) (Pattern, error) {
	p := Pattern{Text: text}
	if !strings.HasPrefix(text, "/") {
		return Pattern{}, fmt.Errorf("path %q does not begin with a slash; want /%s", text, text)
	}
	rest := text[1:]
	for more := true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if part == "**" {
			if more {
				return Pattern{}, fmt.Errorf("path %q goes on after /**; it takes all that follows, so it must be the last", text)
			}
			p.rest = true
			return p, nil
		}
		if err := p.add(part); err != nil {
			return Pattern{}, fmt.Errorf("path %q: %w", text, err)
		}
	}
	return p, nil
}

// add appends one segment as written.
func (p *Pattern) add(part string) error {
	if name, ok := strings.CutPrefix(part, "{"); ok {
		if name, ok = strings.CutSuffix(name, "}"); ok && isName(name) {
			return p.addParam(name)
		}
	}
	if strings.ContainsAny(part, "{}") {
		return fmt.Errorf("segment %q is no parameter; want {name} for a whole segment, the name of letters, digits and _", part)
	}
	if strings.Contains(part, "*") {
		return fmt.Errorf("segment %q has a *; want {name} for one segment or /** for the rest", part)
	}
	if strings.ContainsAny(part, "?#") {
		return fmt.Errorf("segment %q has a ? or #; parameters of the query string go under params", part)
	}
	literal, ok := appendPathDecoded(nil, []byte(part))
	if !ok {
		return fmt.Errorf("segment %q has a broken percent-escape; want %%25 for a percent sign", part)
	}
	if isDotSegment(literal) {
		return fmt.Errorf("segment %q is resolved by clients before they ask, so it never arrives; write the path without it", part)
	}
	for _, c := range literal {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("segment %q has a control character", part)
		}
	}
	p.segments = append(p.segments, segment{literal: string(literal)})
	return nil
}

func (p *Pattern) addParam(name string) error {
	for _, other := range p.names {
		if other == name {
			return fmt.Errorf("parameter {%s} is there twice; give each its own name", name)
		}
	}
	if len(p.names) == maxPathParams {
		return errors.New("more than 8 parameters; put the others in the query string")
	}
	p.names = append(p.names, name)
	p.segments = append(p.segments, segment{param: true})
	return nil
}

// Names returns the names of the pattern's parameters, from left to right. Not to be written.
func (p *Pattern) Names() []string { return p.names }

// CatchesAll reports whether the pattern ends in /**.
func (p *Pattern) CatchesAll() bool { return p.rest }

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
