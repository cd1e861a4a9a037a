package postgres

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Oids of the types by whose values rows are told apart, beside enums: those whose equal values have one text.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOid         = 26
	oidVarchar     = 1043
	oidDate        = 1082
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidUUID        = 2950
)

// valueText returns the text that the stream has for a value of the type that was written so, which is that of a
// session whose TimeZone is UTC, DateStyle ISO and bytea_output hex. Not ok: it may have another one. Whatever it
// is that Postgres takes beyond what is read here, as 'today' or a time zone's name, is that.
func valueText(kind uint32, written string) (text string, ok bool) {
	switch kind {
	case oidText, oidVarchar:
		return written, true
	case oidInt2, oidInt4, oidInt8:
		n, err := strconv.ParseInt(written, 10, 64)
		return strconv.FormatInt(n, 10), err == nil && !strings.HasPrefix(written, "+")
	case oidOid:
		n, err := strconv.ParseUint(written, 10, 32)
		return strconv.FormatUint(n, 10), err == nil
	case oidBool:
		switch written {
		case "true", "t":
			return "t", true
		case "false", "f":
			return "f", true
		}
	case oidUUID:
		return written, isPlainUUID(written)
	case oidBytea:
		return byteaText(written)
	case oidDate, oidTimestamp, oidTimestamptz:
		return timeText(kind, written)
	}
	return "", false
}

// isPlainUUID reports whether the text is a UUID as Postgres writes it.
func isPlainUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c < '0' || c > '9' && c < 'a' || c > 'f':
			return false
		}
	}
	return true
}

// byteaText renders bytes that were written in hexadecimal digits or with escapes. Bytes beyond ASCII are in
// the encoding of the database, which is not known here.
func byteaText(written string) (text string, ok bool) {
	if digits, isHex := strings.CutPrefix(written, `\x`); isHex {
		_, err := hex.DecodeString(digits)
		return strings.ToLower(written), err == nil
	}
	value := make([]byte, 0, len(written))
	for i := 0; i < len(written); i++ {
		c := written[i]
		switch {
		case c >= 0x80:
			return "", false
		case c != '\\':
		case strings.HasPrefix(written[i+1:], `\`):
			i++
		default:
			if len(written) < i+4 {
				return "", false
			}
			n, err := strconv.ParseUint(written[i+1:i+4], 8, 8)
			if err != nil {
				return "", false
			}
			c = byte(n)
			i += 3
		}
		value = append(value, c)
	}
	return `\x` + hex.EncodeToString(value), true
}

// timeText renders a date or time that was written as ISO 8601 has it, or as Postgres itself writes it.
func timeText(kind uint32, written string) (text string, ok bool) {
	if written == "infinity" || written == "-infinity" {
		return written, true
	}
	r := timeReader{}
	r.rest, r.past = strings.CutSuffix(written, " BC")
	t := r.date()
	if kind != oidDate && r.rest != "" {
		t = t.Add(r.clock())
		r.zoned = r.rest != ""
		if offset := r.offset(); kind == oidTimestamptz {
			t = t.Add(-offset)
		} // a type without a time zone takes an offset for nothing
	}
	if r.failed || r.rest != "" || kind == oidTimestamptz && !r.zoned {
		return "", false
	}
	return appendTime(kind, t), true
}

// appendTime writes a time as Postgres does: with as many digits of a fraction as are needed, and years of at
// least four digits, of which there is no year 0.
func appendTime(kind uint32, t time.Time) string {
	year, era := t.Year(), ""
	if year < 1 {
		year, era = 1-year, " BC"
	}
	layout := "-01-02 15:04:05.999999"
	switch kind {
	case oidDate:
		layout = "-01-02"
	case oidTimestamptz:
		layout += "+00"
	}
	return fmt.Sprintf("%04d", year) + t.Format(layout) + era
}

// timeReader reads the parts of a date and time one after the other.
type timeReader struct {
	rest   string
	past   bool // before Christ
	zoned  bool // there is an offset
	failed bool
}

// number takes digits: as many as there are, between least and most.
func (r *timeReader) number(least, most int) int {
	n := 0
	for n < len(r.rest) && n < most && r.rest[n] >= '0' && r.rest[n] <= '9' {
		n++
	}
	value, err := strconv.Atoi(r.rest[:n])
	if n < least || err != nil {
		r.failed = true
	}
	r.rest = r.rest[n:]
	return value
}

// sign takes one of the characters, or fails.
func (r *timeReader) sign(of string) byte {
	if r.rest == "" || strings.IndexByte(of, r.rest[0]) < 0 {
		r.failed = true
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

// date takes year, month and day.
func (r *timeReader) date() time.Time {
	year := r.number(4, 6)
	r.sign("-")
	month := r.number(2, 2)
	r.sign("-")
	day := r.number(2, 2)
	r.failed = r.failed || year < 1
	if r.past {
		year = 1 - year
	}
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	r.failed = r.failed || int(t.Month()) != month || t.Day() != day
	return t
}

// clock takes the time of day. A leap second is the next minute's first, and 24:00 the next day's: neither is
// read here.
func (r *timeReader) clock() time.Duration {
	r.sign("T ")
	hours := r.number(2, 2)
	r.sign(":")
	minutes := r.number(2, 2)
	r.sign(":")
	seconds := r.number(2, 2)
	r.failed = r.failed || hours > 23 || minutes > 59 || seconds > 59
	d := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second
	if !strings.HasPrefix(r.rest, ".") {
		return d
	}
	r.sign(".")
	unit := time.Second
	for digits := len(r.rest); ; unit /= 10 {
		if n := len(r.rest); n == 0 || r.rest[0] < '0' || r.rest[0] > '9' {
			r.failed = r.failed || n == digits
			return d
		}
		digit := time.Duration(r.number(1, 1))
		// How Postgres rounds beyond microseconds is its own business.
		r.failed = r.failed || unit <= time.Microsecond && digit != 0
		d += digit * unit / 10
	}
}

// offset takes Z, ±hh, ±hhmm or ±hh:mm, if there is any.
func (r *timeReader) offset() time.Duration {
	if r.rest == "" || r.rest == "Z" {
		r.rest = ""
		return 0
	}
	sign := r.sign("+-")
	d := time.Duration(r.number(2, 2)) * time.Hour
	if strings.HasPrefix(r.rest, ":") {
		r.sign(":")
	}
	if r.rest != "" {
		d += time.Duration(r.number(2, 2)) * time.Minute
	}
	r.failed = r.failed || d > 15*time.Hour+59*time.Minute
	if sign == '-' {
		return -d
	}
	return d
}
