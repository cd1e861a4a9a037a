package rules

import (
	"bytes"
	"slices"
)

// appendPathDecoded appends the segment with its percent-escapes decoded; false if one is broken or
// stands for NUL.
func appendPathDecoded(dst, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			var ok bool
			if c, ok = unescape(raw[i:]); !ok {
				return dst, false
			}
			i += 2
		}
		if c == 0 {
			return dst, false
		}
		dst = append(dst, c)
	}
	return dst, true
}

// unescape returns the byte that s, which begins with %, stands for.
func unescape(s []byte) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	high, low := unhex[s[1]], unhex[s[2]]
	return high<<4 | low, high < 16 && low < 16
}

// unhex is a hexadecimal digit's value; 255 for what is none.
var unhex = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()

func isDotSegment(segment []byte) bool {
	return string(segment) == "." || string(segment) == ".."
}

// hasDotSegment reports whether a reader of the path could resolve a part of it as . or ..: also one
// that decodes %2F, or takes a backslash for a slash, before it splits.
func hasDotSegment(path []byte) bool {
	if bytes.IndexByte(path, '%') < 0 && bytes.IndexByte(path, '\\') < 0 && !bytes.Contains(path, []byte("/.")) {
		return false
	}
	return hasDots(path)
}

func hasDots(path []byte) bool {
	dots, length := 0, 0 // of the segment so far
	for i := 0; i <= len(path); i++ {
		c := byte('/')
		if i < len(path) {
			c = path[i]
			if c == '%' {
				if decoded, ok := unescape(path[i:]); ok {
					c = decoded
					i += 2
				}
			}
		}
		switch c {
		case '/', '\\':
			if length == dots && (dots == 1 || dots == 2) {
				return true
			}
			dots, length = 0, 0
			continue
		case '.':
			dots++
		}
		length++
	}
	return false
}

// Readings returns the other paths that a service may take the path for, if it resolves dot segments (RFC 3986
// s.5.2.4, escaped ones too), merges slashes, or takes an escaped slash or a backslash for one. Nil for most paths.
func Readings(path []byte) [][]byte {
	loose := loosened(path)
	if !hasDotSegment(path) && !bytes.Contains(loose, []byte("//")) && bytes.Equal(loose, path) {
		return nil
	}
	var found [][]byte
	add := func(reading []byte) {
		same := func(other []byte) bool { return bytes.Equal(other, reading) }
		if !same(path) && !slices.ContainsFunc(found, same) {
			found = append(found, reading)
		}
	}
	for _, p := range [][]byte{path, loose} {
		merged, resolved := merge(p), resolve(p)
		for _, reading := range [][]byte{p, merged, resolved, merge(resolved), resolve(merged)} {
			add(reading)
			if n := len(reading); n > 1 && reading[n-1] == '/' && p[len(p)-1] != '/' {
				add(reading[:n-1]) // some leave no slash where the last segment was a dot segment
			}
		}
	}
	return found
}

// loosened returns the path with all that a service may take for a slash as slashes.
func loosened(path []byte) []byte {
	loose := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if decoded, ok := unescape(path[i:]); ok && (decoded == '/' || decoded == '\\') {
				c = '/'
				i += 2
			}
		}
		if c == '\\' {
			c = '/'
		}
		loose = append(loose, c)
	}
	return loose
}

// merge returns the path without empty segments, but for one at its end.
func merge(path []byte) []byte {
	merged := make([]byte, 0, len(path))
	for i, c := range path {
		if c != '/' || i == 0 || path[i-1] != '/' {
			merged = append(merged, c)
		}
	}
	return merged
}

// resolve returns the path without dot segments (RFC 3986 s.5.2.4).
func resolve(path []byte) []byte {
	resolved := make([]byte, 0, len(path))
	for rest := path; len(rest) > 0; {
		raw := rest[1:]
		rest = nil
		if at := bytes.IndexByte(raw, '/'); at >= 0 {
			raw, rest = raw[:at], raw[at:]
		}
		segment, _ := appendPathDecoded(nil, raw)
		switch {
		case !isDotSegment(segment):
			resolved = append(append(resolved, '/'), raw...)
			continue
		case len(segment) == len(".."):
			resolved = resolved[:max(bytes.LastIndexByte(resolved, '/'), 0)]
		}
		if rest == nil {
			resolved = append(resolved, '/')
		}
	}
	return resolved
}

// appendFormDecoded appends a name or value of a query string decoded, + being a space; false if an
// escape is broken.
func appendFormDecoded(dst, raw []byte) ([]byte, bool) {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			var ok bool
			if c, ok = unescape(raw[i:]); !ok {
				return dst, false
			}
			i += 2
		}
		dst = append(dst, c)
	}
	return dst, true
}
