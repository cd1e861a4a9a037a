package rules

import "bytes"

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
