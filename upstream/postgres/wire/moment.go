package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
)

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86_400 * microsPerSecond
	// epochDays is the day 2000-01-01, on which Postgres's binary dates begin, counted from 0000-03-01.
	epochDays       = 730_425
	daysPer400Years = 146_097
	// eras are the 400 years that are added before a day is taken apart, so that none is negative: more than an
	// int32 counts days.
	eras = 16_000
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
	year, month, day := civil(int64(days))
	dst, bc := appendYear(dst, year)
	n := len(dst)
	dst = append(dst, "-00-00"...)
	ofYear := (*[6]byte)(dst[n:])
	ofYear[1], ofYear[2] = twoDigits(month)
	ofYear[4], ofYear[5] = twoDigits(day)
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
	days, ofDay := micros/microsPerDay, micros%microsPerDay
	if ofDay < 0 {
		days, ofDay = days-1, ofDay+microsPerDay
	}
	year, month, day := civil(days)
	dst, bc := appendYear(dst, year)
	dst = append(appendOfYear(dst, month, day, uint64(ofDay)), offset...)
	return appendEra(dst, bc), nil
}

// civil returns year, month and day in the proleptic Gregorian calendar of a day counted from 2000-01-01. Year 0
// is 1 BC. Years are counted from March, so that the leap day is the last one of its year and months have a fixed
// pattern. What would be divisions by the length of a century, a year and a month are multiplications by fractions
// that are as exact over their range (Neri and Schneider, "Euclidean affine functions and their application to
// calendar algorithms", 2022).
func civil(day int64) (year int64, month, ofMonth uint32) {
	const (
		perYear  = 2_939_745 // of a day in a century: 2^32 make a year
		perMonth = 2_141     // of a day in a year: 2^16 make a month
	)
	quarters := 4*uint64(day+epochDays+eras*daysPer400Years) + 3
	century, ofCentury := quarters/daysPer400Years, quarters%daysPer400Years|3
	years := perYear * ofCentury
	ofYear := uint32(years) / perYear / 4
	months := perMonth*ofYear + 197_913
	year, month, ofMonth = int64(100*century+years>>32)-400*eras, months>>16, months&0xffff/perMonth+1
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, ofMonth
}

// appendYear writes a year in at least four digits, and tells whether it is before Christ.
func appendYear(dst []byte, year int64) (out []byte, bc bool) {
	if bc = year <= 0; bc {
		year = 1 - year // there is no year 0
	}
	if year >= 10_000 {
		return strconv.AppendInt(dst, year, 10), bc
	}
	n := len(dst)
	dst = append(dst, "0000"...)
	digits := (*[4]byte)(dst[n:])
	digits[0], digits[1] = twoDigits(uint32(year) / 100)
	digits[2], digits[3] = twoDigits(uint32(year) % 100)
	return dst, bc
}

// appendOfYear writes what follows the year: month, day, and the time of day with as many digits after the point
// as it needs.
func appendOfYear(dst []byte, month, day uint32, micros uint64) []byte {
	n := len(dst)
	dst = slices.Grow(dst, 22)
	out := (*[22]byte)(dst[n : n+22])
	seconds, fraction := uint32(micros/microsPerSecond), uint32(micros%microsPerSecond)
	out[0] = '-'
	out[1], out[2] = twoDigits(month)
	out[3] = '-'
	out[4], out[5] = twoDigits(day)
	out[6] = 'T'
	out[7], out[8] = twoDigits(seconds / 3600)
	out[9] = ':'
	out[10], out[11] = twoDigits(seconds / 60 % 60)
	out[12] = ':'
	out[13], out[14] = twoDigits(seconds % 60)
	end := 15
	if fraction != 0 {
		out[15] = '.'
		out[16], out[17] = twoDigits(fraction / 10_000)
		out[18], out[19] = twoDigits(fraction / 100 % 100)
		out[20], out[21] = twoDigits(fraction % 100)
		for end = 22; out[end-1] == '0'; {
			end--
		}
	}
	return dst[:n+end]
}

// decimalPairs are the two digits of each number below 100.
const decimalPairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"

// twoDigits returns the digits of a number below 100.
func twoDigits(n uint32) (tens, ones byte) { return decimalPairs[2*n], decimalPairs[2*n+1] }

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
	return n >= 4 && digits(s, 0) == n && s[n] == '-' && digits(s, n+1) == n+3 && s[n+3] == '-' && digits(s, n+4) == len(s)
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
