package cache

import (
	"bytes"
	"strings"
	"time"
)

// maxDelta is what RFC 9111 s.1.2.2 has a cache make of delta-seconds that it cannot hold.
const maxDelta = (1 << 31) * time.Second

// ParseDirectives reads a response's Cache-Control, given as its field lines. It allocates nothing.
//
// It errs on the side of not storing: what is malformed counts as no-store, of two values for one
// directive the shorter holds, and the forms of private and no-cache that name fields (RFC 9111
// s.5.2.2.4, s.5.2.2.7) count as those that name none.
func ParseDirectives(lines [][]byte) Directives {
	d := Directives{MaxAge: -1, SMaxAge: -1, StaleWhileRevalidate: -1, StaleIfError: -1}
	for _, line := range lines {
		d.Present = true
		s := directiveScanner{rest: line}
		for s.next() {
			if !d.add(s.name, s.value, s.hasValue) {
				d.NoStore = true
			}
		}
		if s.malformed {
			d.NoStore = true
		}
	}
	return d
}

// add takes one directive in, and reports whether it is one that may be relied on.
func (d *Directives) add(name, value []byte, hasValue bool) bool {
	var room [24]byte
	switch string(lower(room[:0], name)) {
	case "no-store":
		d.NoStore = true
	case "no-cache":
		d.NoCache = true
	case "private":
		d.Private = true
	case "must-revalidate":
		d.MustRevalidate = true
	case "proxy-revalidate":
		d.ProxyRevalidate = true
	case "must-understand":
		d.MustUnderstand = true
	case "public":
		d.Public = !hasValue
		return d.Public
	case "immutable":
		d.Immutable = !hasValue
		return d.Immutable
	case "max-age":
		return shorten(&d.MaxAge, value)
	case "s-maxage":
		return shorten(&d.SMaxAge, value)
	case "stale-while-revalidate":
		return shorten(&d.StaleWhileRevalidate, value)
	case "stale-if-error":
		return shorten(&d.StaleIfError, value)
	}
	return true
}

// lower appends the name in lower case, or nothing of a name that no known directive is as long as.
func lower(dst, name []byte) []byte {
	if len(name) > cap(dst) {
		return dst
	}
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// shorten sets the duration to the delta-seconds given, unless it is shorter already.
func shorten(d *time.Duration, digits []byte) bool {
	delta, ok := parseDelta(digits)
	if !ok {
		return false
	}
	if *d < 0 || delta < *d {
		*d = delta
	}
	return true
}

// parseDelta reads delta-seconds: digits and nothing else.
func parseDelta(digits []byte) (time.Duration, bool) {
	if len(digits) == 0 {
		return 0, false
	}
	var n time.Duration
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + time.Duration(c-'0'); n > maxDelta/time.Second {
			n = maxDelta / time.Second
		}
	}
	return n * time.Second, true
}

// directiveScanner splits a list of name, name=token and name="quoted string" (RFC 9111 s.5.2).
type directiveScanner struct {
	rest        []byte
	name, value []byte // a quoted value without its quotes, its escapes as they are
	hasValue    bool
	malformed   bool // nothing after it can be trusted
}

// next moves to the next directive, and returns false at the end or where the list is malformed.
func (s *directiveScanner) next() bool {
	s.rest = bytes.TrimLeft(s.rest, " \t,")
	if len(s.rest) == 0 {
		return false
	}
	n := tokenLength(s.rest)
	if n == 0 {
		s.malformed = true
		return false
	}
	s.name, s.value, s.hasValue = s.rest[:n], nil, false
	s.rest = s.rest[n:]
	if len(s.rest) > 0 && s.rest[0] == '=' {
		s.hasValue = true
		if !s.readValue() {
			s.malformed = true
			return false
		}
	}
	s.rest = bytes.TrimLeft(s.rest, " \t")
	if len(s.rest) > 0 && s.rest[0] != ',' {
		s.malformed = true
		return false
	}
	return true
}

// readValue reads what follows the equals sign. An unquoted value may hold more than a token may: values
// of directives that nobody here knows are not worth refusing a response for.
func (s *directiveScanner) readValue() bool {
	s.rest = s.rest[1:]
	if len(s.rest) == 0 || s.rest[0] != '"' {
		n := bytes.IndexAny(s.rest, " \t,\"")
		if n < 0 {
			n = len(s.rest)
		}
		s.value, s.rest = s.rest[:n], s.rest[n:]
		return n > 0
	}
	for i := 1; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '"':
			s.value, s.rest = s.rest[1:i], s.rest[i+1:]
			return true
		}
	}
	return false
}

// tokenLength returns how many bytes of s, from its beginning, are a token (RFC 9110 s.5.6.2).
func tokenLength(s []byte) int {
	for i, c := range s {
		if !isTokenByte(c) {
			return i
		}
	}
	return len(s)
}

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
