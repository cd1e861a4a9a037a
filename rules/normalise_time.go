package rules

import (
	"strings"
	"time"
)

// appendDate takes a date of the calendar, YYYY-MM-DD, from year 1 to 9999.
func appendDate(dst, text []byte) ([]byte, bool) {
	if _, _, _, ok := readDate(text); !ok || len(text) != len("2006-01-02") {
		return dst, false
	}
	return append(dst, text...), true
}

// readDate reads the date that text begins with.
func readDate(text []byte) (year, month, day int, ok bool) {
	if len(text) < 10 || text[4] != '-' || text[7] != '-' {
		return 0, 0, 0, false
	}
	year, month, day = readDigits(text[:4]), readDigits(text[5:7]), readDigits(text[8:10])
	if year < 1 || month < 1 || month > 12 || day < 1 {
		return 0, 0, 0, false
	}
	last := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return year, month, day, day <= last
}

// readDigits returns the number, or -1 if text has anything but digits.
func readDigits(text []byte) int {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// appendTimestamp takes an RFC 3339 time and writes it in UTC, to the microsecond, as Postgres keeps it.
// A space counts as T, and as the + of an offset: that is what an unescaped + in a query string becomes.
func appendTimestamp(dst, text []byte) ([]byte, bool) {
	year, month, day, ok := readDate(text)
	if !ok || len(text) < len("2006-01-02T15:04:05Z") || text[13] != ':' || text[16] != ':' {
		return dst, false
	}
	if c := text[10]; c != 'T' && c != 't' && c != ' ' {
		return dst, false
	}
	hour, minute, second := readDigits(text[11:13]), readDigits(text[14:16]), readDigits(text[17:19])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return dst, false
	}
	micros, rest, ok := readFraction(text[19:])
	if !ok {
		return dst, false
	}
	offset, ok := readOffset(rest)
	if !ok {
		return dst, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute-offset, second, micros*1000, time.UTC)
	if t.Year() < 1 || t.Year() > 9999 {
		return dst, false
	}
	return t.AppendFormat(dst, "2006-01-02T15:04:05.999999Z"), true
}

// readFraction reads a fraction of a second, if there is one, down to microseconds.
func readFraction(text []byte) (micros int, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '.' {
		return 0, text, true
	}
	n := 1
	for unit := 100_000; n < len(text) && text[n] >= '0' && text[n] <= '9'; n++ {
		micros += int(text[n]-'0') * unit
		unit /= 10
	}
	return micros, text[n:], n > 1
}

// readOffset reads Z or ±hh:mm, in minutes.
func readOffset(text []byte) (minutes int, ok bool) {
	if len(text) == 1 && text[0]|0x20 == 'z' {
		return 0, true
	}
	if len(text) != len("+00:00") || text[3] != ':' {
		return 0, false
	}
	hour, minute := readDigits(text[1:3]), readDigits(text[4:6])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return 0, false
	}
	minutes = hour*60 + minute
	switch text[0] {
	case '+', ' ':
		return minutes, true
	case '-':
		return -minutes, true
	}
	return 0, false
}

// compareTimes compares two dates, or two times, in normal form: without the Z the bytes decide.
func compareTimes(a []byte, b string) int {
	if n := len(a); n > 0 && a[n-1] == 'Z' {
		a = a[:n-1]
	}
	return compareBytes(a, strings.TrimSuffix(b, "Z"))
}
