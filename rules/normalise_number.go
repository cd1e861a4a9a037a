package rules

import (
	"bytes"
	"strings"
)

// maxDigits bounds a number written out: 1e999999 is a short text and a long number.
const maxDigits = 1000

// appendInt takes decimal digits with a sign, and leaves what a Postgres bigint prints as.
func appendInt(dst, text []byte) ([]byte, bool) {
	negative, digits := splitSign(text)
	if len(digits) == 0 {
		return dst, false
	}
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return dst, false
		}
	}
	if digits[0] == '0' {
		return append(dst, '0'), true
	}
	limit := "9223372036854775807"
	if negative {
		limit = "9223372036854775808"
	}
	if len(digits) > len(limit) || len(digits) == len(limit) && string(digits) > limit {
		return dst, false
	}
	if negative {
		dst = append(dst, '-')
	}
	return append(dst, digits...), true
}

func splitSign(text []byte) (negative bool, rest []byte) {
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		return text[0] == '-', text[1:]
	}
	return false, text
}

// appendNumber takes a decimal number, with an exponent if need be, and writes it out: no exponent, no
// needless zeros.
func appendNumber(dst, text []byte) ([]byte, bool) {
	start := len(dst)
	negative, rest := splitSign(text)
	mantissa, exponent, ok := splitExponent(rest)
	if !ok {
		return dst, false
	}
	// The digits go to dst first, without the point; then the number goes behind them, and down over them.
	point, leading := -1, 0
	for _, c := range mantissa {
		switch {
		case c == '.' && point < 0:
			point = len(dst) - start + leading
		case c < '0' || c > '9':
			return dst[:start], false
		case c == '0' && len(dst) == start:
			leading++
		default:
			dst = append(dst, c)
		}
	}
	if point < 0 {
		point = len(dst) - start + leading
	}
	if len(dst)-start+leading == 0 {
		return dst[:start], false // no digit at all
	}
	digits := bytes.TrimRight(dst[start:], "0")
	if len(digits) == 0 {
		return append(dst[:start], '0'), true
	}
	point += exponent - leading
	if max(point, len(digits))-min(point, 0) > maxDigits {
		return dst[:start], false
	}
	end := len(dst)
	dst = appendDecimal(dst, negative, digits, point)
	n := copy(dst[start:], dst[end:])
	return dst[:start+n], true
}

// appendDecimal writes digits with the decimal point after the first point of them.
func appendDecimal(dst []byte, negative bool, digits []byte, point int) []byte {
	if negative {
		dst = append(dst, '-')
	}
	switch {
	case point <= 0:
		dst = appendZeros(append(dst, "0."...), -point)
		return append(dst, digits...)
	case point >= len(digits):
		dst = append(dst, digits...)
		return appendZeros(dst, point-len(digits))
	}
	dst = append(dst, digits[:point]...)
	dst = append(dst, '.')
	return append(dst, digits[point:]...)
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}

// splitExponent cuts a number at its e. An exponent beyond any bound stays beyond it.
func splitExponent(text []byte) (mantissa []byte, exponent int, ok bool) {
	at := bytes.IndexAny(text, "eE")
	if at < 0 {
		return text, 0, true
	}
	negative, digits := splitSign(text[at+1:])
	if len(digits) == 0 {
		return nil, 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return nil, 0, false
		}
		exponent = min(exponent*10+int(c-'0'), 1<<40)
	}
	if negative {
		exponent = -exponent
	}
	return text[:at], exponent, true
}

// compareNumbers compares two numbers in normal form.
func compareNumbers(a []byte, b string) int {
	negative := len(a) > 0 && a[0] == '-'
	if other := strings.HasPrefix(b, "-"); negative != other {
		if negative {
			return -1
		}
		return 1
	}
	if negative {
		return -compareMagnitudes(a[1:], b[1:])
	}
	return compareMagnitudes(a, b)
}

func compareMagnitudes(a []byte, b string) int {
	wholeA, wholeB := bytes.IndexByte(a, '.'), strings.IndexByte(b, '.')
	if wholeA < 0 {
		wholeA = len(a)
	}
	if wholeB < 0 {
		wholeB = len(b)
	}
	if wholeA != wholeB {
		return wholeA - wholeB
	}
	// Of equal length before the point, and without needless zeros, so the bytes decide: a number that
	// goes on is the greater one.
	return compareBytes(a, b)
}

func compareBytes(a []byte, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return len(a) - len(b)
}
