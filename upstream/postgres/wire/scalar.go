package wire

import (
	"encoding/binary"
	"math/bits"
)

const hexDigits = "0123456789abcdef"

// AppendJSONString appends s as a JSON string, escaped as Postgres does it: \b \f \n \r \t \" \\, other
// control characters as \u00XX, everything else as it is (no escaping of <, >, & or U+2028). That s is
// UTF-8 is the session's promise (client_encoding).
func AppendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for {
		n := plainPrefix(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return append(dst, '"')
		}
		dst = appendEscape(dst, s[n])
		s = s[n+1:]
	}
}

// plainPrefix returns how many bytes at the beginning of s need no escape. It looks at eight bytes at a
// time: a byte is below n exactly where subtracting n from it borrows and its own top bit is unset. A
// borrow may mark bytes above the first hit, never below it.
func plainPrefix(s []byte) int {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		quote := w ^ ones*'"'
		slash := w ^ ones*'\\'
		hits := ((w - ones*' ') &^ w) | ((quote - ones) &^ quote) | ((slash - ones) &^ slash)
		if hits &= tops; hits != 0 {
			return i + bits.TrailingZeros64(hits)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

// appendNumber copies a number, and quotes what JSON has no number for: NaN, Infinity, -Infinity.
func appendNumber(dst, value []byte) []byte {
	if isNumber(value) {
		return append(dst, value...)
	}
	return AppendJSONString(dst, value)
}

// isNumber says whether s is a number by RFC 8259 s.6.
func isNumber(s []byte) bool {
	if len(s) > 0 && s[0] == '-' {
		s = s[1:]
	}
	n := digits(s)
	if n == 0 || n > 1 && s[0] == '0' {
		return false
	}
	s = s[n:]
	if len(s) > 0 && s[0] == '.' {
		if n = digits(s[1:]); n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if len(s) > 0 && s[0]|0x20 == 'e' {
		s = s[1:]
		if len(s) > 0 && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		n = digits(s)
		return n > 0 && n == len(s)
	}
	return len(s) == 0
}

// digits returns how many decimal digits s begins with.
func digits(s []byte) int {
	for i, c := range s {
		if c-'0' > 9 {
			return i
		}
	}
	return len(s)
}

func appendBool(dst, value []byte) ([]byte, error) {
	if len(value) == 1 {
		switch value[0] {
		case 't':
			return append(dst, "true"...), nil
		case 'f':
			return append(dst, "false"...), nil
		}
	}
	return dst, mismatch("bool", value)
}

func appendHex(dst, value []byte) []byte {
	for _, c := range value {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// appendUUID writes the 16 bytes of a uuid in groups of 4, 2, 2, 2, 6.
func appendUUID(dst, value []byte) ([]byte, error) {
	if len(value) != 16 {
		return dst, mismatch("uuid", value)
	}
	dst = append(appendHex(dst, value[:4]), '-')
	dst = append(appendHex(dst, value[4:6]), '-')
	dst = append(appendHex(dst, value[6:8]), '-')
	dst = append(appendHex(dst, value[8:10]), '-')
	return appendHex(dst, value[10:]), nil
}
