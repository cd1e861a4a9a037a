package rules

import (
	"bytes"
	"slices"
)

// What goes to an upstream is written here, from what was understood, and the same bytes go into the key:
// so the upstream never sees anything that the key does not tell apart. A Pass rule, which has no key,
// forwards what was sent.

// restOf returns what of the path the pattern's /** takes; nil if there is none.
func (rd *reading) restOf() []byte {
	if !rd.rule.Pattern.rest {
		return nil
	}
	rest := rd.req.Path
	for range rd.rule.Pattern.segments {
		if at := bytes.IndexByte(rest[1:], '/'); at >= 0 {
			rest = rest[1+at:]
		} else {
			return nil
		}
	}
	return rest
}

// isAmbiguous reports whether services differ in what they read in the path. One that merges slashes answers
// //private/me as /private/me, and that answer must not be stored under a rule that knows nothing of who may see it.
func isAmbiguous(path []byte) bool {
	if bytes.Contains(path, []byte("//")) || len(path) > 0 && hasDotSegment(path) {
		return true
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			var ok bool
			if c, ok = unescape(path[i:]); !ok || c == '/' {
				return true
			}
			i += 2
		}
		if c == '\\' || c < ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

// forward writes the path and the query string for the upstream.
func (rd *reading) forward() {
	in := rd.in
	if rd.rule.Pass {
		in.Path, in.Query = rd.req.Path, rd.req.Query
		return
	}
	in.Unkeyed = isAmbiguous(rd.restOf())
	start := len(in.scratch)
	in.scratch = rd.appendPath(in.scratch)
	in.Path = in.scratch[start:]
	start = len(in.scratch)
	if rd.rule.fields.declared {
		in.scratch = rd.appendTypedQuery(in.scratch)
	} else {
		in.scratch = in.appendSortedQuery(in.scratch, rd.req.Query)
	}
	in.Query = in.scratch[start:]
}

// appendPath writes literals as the pattern has them, typed parameters in their normal form, and the rest
// with its escapes normalised.
func (rd *reading) appendPath(dst []byte) []byte {
	rest, k := rd.req.Path, 0
	for _, seg := range rd.rule.Pattern.segments {
		raw := rest[1:]
		rest = nil
		if at := bytes.IndexByte(raw, '/'); at >= 0 {
			raw, rest = raw[:at], raw[at:]
		}
		dst = append(dst, '/')
		if !seg.param {
			dst = appendEscaped(dst, []byte(seg.literal), inPath)
			continue
		}
		if i := rd.rule.fields.typed[k]; i >= 0 && !rd.rule.Params[i].List {
			dst = appendEscaped(dst, rd.in.Arguments[i].Text, unreserved)
		} else {
			start := len(dst)
			dst, _ = appendPathDecoded(dst, raw)
			decoded := dst[start:]
			dst = appendEscaped(dst, decoded, unreserved)
			dst = append(dst[:start], dst[start+len(decoded):]...)
		}
		k++
	}
	if rd.in.Unkeyed {
		return append(dst, rest...)
	}
	return appendNormalised(dst, rest, inRest)
}

// appendTypedQuery writes the declared parameters in their order; one that is NULL is left out.
func (rd *reading) appendTypedQuery(dst []byte) []byte {
	start := len(dst)
	for _, i := range rd.rule.fields.query {
		p, a := &rd.rule.Params[i], &rd.in.Arguments[i]
		if !a.Present {
			continue
		}
		if len(dst) > start {
			dst = append(dst, '&')
		}
		dst = appendEscaped(dst, []byte(p.field()), unreserved)
		dst = append(dst, '=')
		if !p.List {
			dst = appendEscaped(dst, a.Text, unreserved)
			continue
		}
		item, rest := nextItem(insideList(a.Text))
		for first := true; item != nil; item, rest = nextItem(rest) {
			if !first {
				dst = append(dst, p.separator()...)
			}
			first = false
			dst = appendEscaped(dst, appendUnquotedItem(nil, item), unreserved)
		}
	}
	return dst
}

// piece is one name=value of a query string, as sent.
type piece []byte

// appendSortedQuery writes a whole query string so that those which mean the same are the same: pieces
// sorted by name, escapes normalised, empty pieces left out. What could mean different things to different
// upstreams stays apart: a and a=, + and %20, and the order of pieces whose names some upstream may take
// for one. A query string with a semicolon keeps its order, since some take that for a separator.
func (in *Input) appendSortedQuery(dst, query []byte) []byte {
	in.pieces = in.pieces[:0]
	for rest := query; len(rest) > 0; {
		part := rest
		rest = nil
		if at := bytes.IndexByte(part, '&'); at >= 0 {
			part, rest = part[:at], part[at+1:]
		}
		if len(part) > 0 {
			in.pieces = append(in.pieces, part)
		}
	}
	if bytes.IndexByte(query, ';') < 0 && !slices.IsSortedFunc(in.pieces, compareNames) {
		slices.SortStableFunc(in.pieces, compareNames)
	}
	for i, part := range in.pieces {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = appendNormalised(dst, part, inQuery)
	}
	return dst
}

// compareNames orders pieces by their folded names.
func compareNames(a, b piece) int {
	for {
		var x, y byte
		x, a = nextFolded(a)
		y, b = nextFolded(b)
		if x != y || x == 0 {
			return int(x) - int(y)
		}
	}
}

// nextFolded returns the next byte of a name, decoded and folded as far as any upstream is known to fold
// names: letters to lower case (ASP.NET), space and dot to underscore, and nothing from a bracket on
// (PHP). 0 ends the name.
func nextFolded(s piece) (byte, piece) {
	if len(s) == 0 {
		return 0, nil
	}
	c, rest := s[0], s[1:]
	if c == '=' {
		return 0, nil
	}
	if c == '%' {
		if decoded, ok := unescape(s); ok {
			c, rest = decoded, s[3:]
		}
	}
	switch {
	case c == '[' || c == 0:
		return 0, nil
	case c == '+' || c == ' ' || c == '.':
		c = '_'
	case 'A' <= c && c <= 'Z':
		c |= 0x20
	}
	return c, rest
}
