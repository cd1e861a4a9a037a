package rules

import "bytes"

// charset is where a character may stand without being escaped (RFC 3986 s.2 and s.3).
type charset uint8

const (
	unreserved charset = 1 << iota // anywhere
	inPath                         // in a segment
	inRest                         // in a path of several segments
	inQuery                        // in a piece of a query string
)

var charsets = func() (t [256]charset) {
	for c := range t {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if letter || '0' <= c && c <= '9' || c < 0x80 && bytes.IndexByte([]byte("-._~"), byte(c)) >= 0 {
			t[c] = unreserved | inPath | inRest | inQuery
		}
	}
	for _, c := range []byte("!$&'()*+,;=:@") {
		t[c] = inPath | inRest | inQuery
	}
	t['/'] = inRest | inQuery
	t['?'] = inQuery
	return t
}()

const upperHex = "0123456789ABCDEF"

// appendEscaped appends the text with all that is not in the set escaped.
func appendEscaped(dst, text []byte, in charset) []byte {
	for _, c := range text {
		dst = appendByte(dst, c, in)
	}
	return dst
}

func appendByte(dst []byte, c byte, in charset) []byte {
	if charsets[c]&in != 0 {
		return append(dst, c)
	}
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

// appendNormalised appends what is escaped already in the form of RFC 3986 s.6.2.2: no escapes where none
// are needed, and the others in upper case. Of a text with a broken escape only what may not be sent at
// all is escaped: decoding a part of it could make the broken escape whole.
func appendNormalised(dst, text []byte, in charset) []byte {
	broken := hasBrokenEscape(text)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c != '%':
			dst = appendByte(dst, c, in)
		case broken:
			dst = append(dst, c)
		default:
			c, _ = unescape(text[i:])
			dst = appendByte(dst, c, unreserved)
			i += 2
		}
	}
	return dst
}

func hasBrokenEscape(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		if _, ok := unescape(text[i:]); !ok {
			return true
		}
		i += 2
	}
	return false
}
