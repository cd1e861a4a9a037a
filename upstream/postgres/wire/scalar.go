package wire

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

const hexDigits = "0123456789abcdef"

// AppendJSONString appends s as a JSON string, escaped as Postgres does it: \b \f \n \r \t \" \\, other
// control characters as \u00XX, everything else as it is (no escaping of <, >, & or U+2028). That s is
// UTF-8 is the session's promise (client_encoding).
func AppendJSONString(dst, s []byte) []byte {
	if plainPrefix(s) < len(s) {
		return appendEscaped(dst, s)
	}
	n := len(s)
	dst = slices.Grow(dst, n+2)
	out := dst[len(dst) : len(dst)+n+2]
	out[0] = '"'
	copy(out[1:], s)
	out[n+1] = '"'
	return dst[:len(dst)+n+2]
}

func appendEscaped(dst, s []byte) []byte {
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

// plainPrefix returns how many bytes at the beginning of s need no escape. It looks at eight bytes at a time; the
// last eight overlap those before, which have been found plain.
func plainPrefix(s []byte) int {
	if len(s) < 8 {
		for i, c := range s {
			if c < ' ' || c == '"' || c == '\\' {
				return i
			}
		}
		return len(s)
	}
	last := len(s) - 8
	for i := 0; i < last; i += 8 {
		if hits := escapes(binary.LittleEndian.Uint64(s[i:])); hits != 0 {
			return i + bits.TrailingZeros64(hits)/8
		}
	}
	if hits := escapes(binary.LittleEndian.Uint64(s[last:])); hits != 0 {
		return last + bits.TrailingZeros64(hits)/8
	}
	return len(s)
}

// escapes returns the top bits of those of eight bytes that need an escape. A byte is below n exactly where
// subtracting n from it borrows and its own top bit is unset. A borrow may mark bytes above the first hit, never
// below it.
func escapes(w uint64) uint64 {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	return (((w - ones*' ') &^ w) | ((quote - ones) &^ quote) | ((slash - ones) &^ slash)) & tops
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
	i := 0
	if len(s) > 0 && s[0] == '-' {
		i = 1
	}
	whole := i
	i = digits(s, i)
	if i == whole || i > whole+1 && s[whole] == '0' {
		return false
	}
	if i < len(s) && s[i] == '.' {
		fraction := i + 1
		if i = digits(s, fraction); i == fraction {
			return false
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		exponent := i
		if i = digits(s, exponent); i == exponent {
			return false
		}
	}
	return i == len(s)
}

// digits returns where the decimal digits that begin at i end.
func digits(s []byte, i int) int {
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	return i
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
	for len(value) >= 4 {
		dst = binary.BigEndian.AppendUint64(dst, hexOf(binary.BigEndian.Uint32(value)))
		value = value[4:]
	}
	for _, c := range value {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// hexOf returns the eight digits of x, the first in the highest byte.
func hexOf(x uint32) uint64 {
	const ones = 0x0101010101010101
	w := uint64(x) // its halves are moved apart until there is one digit in each byte
	w = (w | w<<16) & 0x0000ffff0000ffff
	w = (w | w<<8) & 0x00ff00ff00ff00ff
	w = (w | w<<4) & (ones * 0x0f)
	letters := (w + ones*6) >> 4 & ones // 1 where the digit is above 9
	return w + ones*'0' + letters*('a'-'0'-10)
}

// appendUUID writes the 16 bytes of a uuid in groups of 4, 2, 2, 2, 6.
func appendUUID(dst, value []byte) ([]byte, error) {
	if len(value) != 16 {
		return dst, mismatch("uuid", value)
	}
	n := len(dst)
	dst = append(dst, "00000000-0000-0000-0000-000000000000"...)
	out, order := (*[36]byte)(dst[n:]), binary.BigEndian
	order.PutUint64(out[:], hexOf(order.Uint32(value)))
	middle := hexOf(order.Uint32(value[4:]))
	order.PutUint32(out[9:], uint32(middle>>32))
	order.PutUint32(out[14:], uint32(middle))
	middle = hexOf(order.Uint32(value[8:]))
	order.PutUint32(out[19:], uint32(middle>>32))
	order.PutUint32(out[24:], uint32(middle))
	order.PutUint64(out[28:], hexOf(order.Uint32(value[12:])))
	return dst, nil
}
