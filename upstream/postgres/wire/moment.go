package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
)

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86_400 * microsPerSecond
	// epochDays is the day 2000-01-01, on which Postgres's binary dates begin, counted from 0000-03-01.
	epochDays       = 730_425
	daysPer400Years = 146_097
)

// appendDate writes a binary date: days since 2000-01-01, with the ends of the range for the infinities.
func appendDate(dst, value []byte) ([]byte, error) {
	if len(value) != 4 {
		return dst, mismatch("date", value)
	}
	days := int32(binary.BigEndian.Uint32(value))
	switch days {
	case math.MaxInt32:
		return append(dst, "infinity"...), nil
	case math.MinInt32:
		return append(dst, "-infinity"...), nil
	}
	dst, bc := appendDay(dst, int64(days))
	return appendEra(dst, bc), nil
}

// appendTimestamp writes a binary timestamp: microseconds since 2000-01-01, with the ends of the range
// for the infinities.
func appendTimestamp(dst, value []byte, offset string) ([]byte, error) {
	if len(value) != 8 {
		return dst, mismatch("timestamp", value)
	}
	micros := int64(binary.BigEndian.Uint64(value))
	switch micros {
	case math.MaxInt64:
		return append(dst, "infinity"...), nil
	case math.MinInt64:
		return append(dst, "-infinity"...), nil
	}
	day, rest := micros/microsPerDay, micros%microsPerDay
	if rest < 0 {
		day, rest = day-1, rest+microsPerDay
	}
	dst, bc := appendDay(dst, day)
	dst = appendClock(append(dst, 'T'), rest)
	dst = append(dst, offset...)
	return appendEra(dst, bc), nil
}

// appendDay writes year, month and day of the proleptic Gregorian calendar, and tells whether the year
// is before Christ. Years are counted from March, so that the leap day is the last one of its year and
// months have a fixed pattern of 153 days in five.
func appendDay(dst []byte, day int64) (out []byte, bc bool) {
	day += epochDays
	era := day / daysPer400Years
	if day < 0 {
		era = (day - daysPer400Years + 1) / daysPer400Years
	}
	ofEra := day - era*daysPer400Years
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36_524 - ofEra/146_096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	fromMarch := (5*ofYear + 2) / 153
	ofMonth := ofYear - (153*fromMarch+2)/5 + 1

	year, month := yearOfEra+era*400, fromMarch+3
	if month > 12 {
		year, month = year+1, month-12
	}
	if bc = year <= 0; bc {
		year = 1 - year // there is no year 0
	}
	dst = appendYear(dst, year)
	dst = appendTwo(append(dst, '-'), month)
	return appendTwo(append(dst, '-'), ofMonth), bc
}

// appendYear writes a year in at least four digits.
func appendYear(dst []byte, year int64) []byte {
	if year >= 10_000 {
		return strconv.AppendInt(dst, year, 10)
	}
	return appendTwo(appendTwo(dst, year/100), year%100)
}

// appendClock writes a time of day, with as many digits after the point as it needs.
func appendClock(dst []byte, micros int64) []byte {
	seconds, fraction := micros/microsPerSecond, micros%microsPerSecond
	dst = appendTwo(dst, seconds/3600)
	dst = appendTwo(append(dst, ':'), seconds/60%60)
	dst = appendTwo(append(dst, ':'), seconds%60)
	if fraction == 0 {
		return dst
	}
	dst = append(dst, '.')
	dst = appendTwo(dst, fraction/10_000)
	dst = appendTwo(dst, fraction/100%100)
	dst = appendTwo(dst, fraction%100)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

func appendTwo(dst []byte, n int64) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

func appendEra(dst []byte, bc bool) []byte {
	if bc {
		return append(dst, " BC"...)
	}
	return dst
}

// appendDateText checks and copies a date in ISO style. Anything else is another DateStyle, in which day
// and month might have changed places.
func appendDateText(dst, value []byte) ([]byte, error) {
	if !isDateText(bytes.TrimSuffix(value, []byte(" BC"))) && !isInfinity(value) {
		return dst, mismatch("date in ISO style", value)
	}
	return append(dst, value...), nil
}

// appendTimestampText turns a timestamp in Postgres's ISO style into to_json's: a T for the space, and
// an offset with minutes.
func appendTimestampText(dst, value []byte) ([]byte, error) {
	day, clock, ok := bytes.Cut(value, []byte(" "))
	if !ok && isInfinity(value) {
		return append(dst, value...), nil
	}
	clock, era := bytes.CutSuffix(clock, []byte(" BC"))
	if !isDateText(day) || !isClockText(clock) {
		return dst, mismatch("timestamp in ISO style", value)
	}
	dst = append(append(dst, day...), 'T')
	dst = append(dst, clock...)
	if n := len(clock); n > 3 && (clock[n-3] == '+' || clock[n-3] == '-') {
		dst = append(dst, ":00"...)
	}
	return appendEra(dst, era), nil
}

func isInfinity(value []byte) bool {
	return string(value) == "infinity" || string(value) == "-infinity"
}

// isDateText says whether s is digits-dd-dd.
func isDateText(s []byte) bool {
	n := len(s) - 6
	return n >= 4 && digits(s) == n && s[n] == '-' && digits(s[n+1:]) == 2 && s[n+3] == '-' && digits(s[n+4:]) == 2
}

// isClockText says whether s is dd:dd:dd and then only what a fraction and an offset are made of.
func isClockText(s []byte) bool {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' {
		return false
	}
	for _, c := range s {
		if c-'0' > 9 && c != ':' && c != '.' && c != '+' && c != '-' {
			return false
		}
	}
	return true
}
