package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What is written in few steps is compared here with what is plain to see.

// calendarDate returns the date that the standard library has for a day counted from 2000-01-01.
func calendarDate(days int64) (text string, bc bool) {
	year, month, day := time.Unix(days*86_400+946_684_800, 0).UTC().Date()
	if bc = year <= 0; bc {
		year = 1 - year
	}
	return fmt.Sprintf("%04d-%02d-%02d", year, month, day), bc
}

func wantDate(t *testing.T, days int64) {
	t.Helper()
	want, bc := calendarDate(days)
	if bc {
		want += " BC"
	}
	got, err := appendDate(nil, binary.BigEndian.AppendUint32(nil, uint32(int32(days))))
	if err != nil || string(got) != want {
		t.Fatalf("day %d: %s, %v; want %s", days, got, err, want)
	}
}

func TestEveryDayIsTheCalendars(t *testing.T) {
	t.Parallel()
	for days := int64(-2010 * 366); days < 810*366; days++ { // from before Christ past a whole turn of 400 years
		wantDate(t, days)
	}
	for _, around := range []int64{math.MinInt32 + 101, -2_451_507, 0, 8000 * 365, 2_921_940, 2_145_031_949, math.MaxInt32 - 101} {
		for days := around - 100; days <= around+100; days++ {
			wantDate(t, days)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		wantDate(t, int64(rapid.Int32Range(math.MinInt32+1, math.MaxInt32-1).Draw(r, "days")))
	})
}

func TestEveryMomentIsTheCalendars(t *testing.T) {
	t.Parallel()
	f := func(micros int64) {
		t.Helper()
		days, ofDay := micros/microsPerDay, micros%microsPerDay
		if ofDay < 0 {
			days, ofDay = days-1, ofDay+microsPerDay
		}
		want, bc := calendarDate(days)
		want += "T" + time.UnixMicro(ofDay).UTC().Format("15:04:05.999999") + "+00:00"
		if bc {
			want += " BC"
		}
		got, err := appendTimestamp(nil, binary.BigEndian.AppendUint64(nil, uint64(micros)), "+00:00")
		if err != nil || string(got) != want {
			t.Fatalf("%d µs: %s, %v; want %s", micros, got, err, want)
		}
	}
	// Ends of days, of years, of those of four digits and of the era, and of what fits.
	for _, days := range []int64{-2_451_507, -730_486, -730_485, -730_120, -1, 0, 1, 59, 60, 365, 366, 2_921_939, 2_921_940, 106_751_990, -106_751_990} {
		for _, off := range []int64{-microsPerSecond, -1_000, -1, 0, 1, 10, 999_999, 1_000_000, 59_999_999, 43_200_000_000} {
			f(days*microsPerDay + off)
		}
	}
	f(math.MinInt64 + 1)
	f(math.MaxInt64 - 1)
	rapid.Check(t, func(r *rapid.T) {
		f(rapid.Int64Range(math.MinInt64+1, math.MaxInt64-1).Draw(r, "micros"))
		f(rapid.Int64Range(-1_000*366, 1_000*366).Draw(r, "days")*microsPerDay + rapid.Int64Range(-2, 2).Draw(r, "off"))
		f(rapid.Int64Range(-1e9, 1e9).Draw(r, "seconds") * microsPerSecond)
	})
}

// plainJSONString is AppendJSONString one byte after the other.
func plainJSONString(s []byte) string {
	out := []byte{'"'}
	for _, c := range s {
		if c < ' ' || c == '"' || c == '\\' {
			out = appendEscape(out, c)
		} else {
			out = append(out, c)
		}
	}
	return string(append(out, '"'))
}

func TestEveryByteAtEveryPlaceOfAString(t *testing.T) {
	t.Parallel()
	for size := range 36 {
		for place := range size {
			s := bytes.Repeat([]byte("a"), size)
			for c := range 256 {
				s[place] = byte(c)
				if got, want := string(AppendJSONString(nil, s)), plainJSONString(s); got != want {
					t.Fatalf("%q: %s; want %s", s, got, want)
				}
			}
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		s := rapid.SliceOf(rapid.SampledFrom([]byte("aé\x7f\x80\xff\x1f\x00\n !\"#[\\]"))).Draw(r, "s")
		if got, want := string(AppendJSONString([]byte("x"), s)), "x"+plainJSONString(s); got != want {
			t.Fatalf("%q: %s; want %s", s, got, want)
		}
	})
}

// An array of texts is written the same whether it is taken for a simple one or not.
func TestSimpleArraysAreWrittenAsAllAre(t *testing.T) {
	t.Parallel()
	for _, f := range []*form{
		{kind: kindArray, delimiter: ',', element: &form{kind: kindText}},
		{kind: kindArray, delimiter: ';', element: &form{kind: kindPlain}},
	} {
		simple := 0
		check := func(text []byte) {
			t.Helper()
			got, ok := f.appendTexts([]byte("x"), text)
			if !ok {
				if string(got) != "x" {
					t.Fatalf("%q: wrote %q of what is not simple", text, got)
				}
				return
			}
			simple++
			want, rest, err := f.appendDimension([]byte("x"), text, 1)
			if err != nil || len(rest) > 0 || string(got) != string(want) {
				t.Fatalf("%q: %s; want %s, %q, %v", text, got, want, rest, err)
			}
		}
		for _, text := range []string{
			`{}`, `{"}`, `{""}`, `{a}`, `{"`, `{`, `}`, ``, `{NULL}`, `{"NULL"}`, `{a,}`, `{a;}`, `{,}`, `{a}}`, `{"a"}}`, `{"a"b}`, `{"a""b"}`,
			`{"a\"b"}`, "{a\tb}", "{\"a\tb\"}", `{a"}`, `{a\}`, `{{a}}`, `{a{}`, `{"a","b"}`, `{"a";"b"}`, `[0:0]={a}`,
		} {
			check([]byte(text))
		}
		rapid.Check(t, func(r *rapid.T) {
			pieces := rapid.SampledFrom([]string{"a", "bc", "é", "NULL", `"a b"`, `"12345678,90"`, `"NULL"`, `""`, `"`, `\`, "{", "}", "\x01"})
			text := []byte{'{'}
			for i := range rapid.IntRange(0, 5).Draw(r, "elements") {
				if i > 0 {
					text = append(text, rapid.SampledFrom([]string{",", ";", ""}).Draw(r, "delimiter")...)
				}
				text = append(text, pieces.Draw(r, "piece")...)
			}
			check(append(text, '}'))
		})
		if simple == 0 {
			t.Fatal("no array was simple: nothing was compared")
		}
	}
}

func TestNumbersAreThoseOfJSON(t *testing.T) {
	t.Parallel()
	number := regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	rapid.Check(t, func(r *rapid.T) {
		s := rapid.StringOfN(rapid.SampledFrom([]rune("0019-+.eE")), 0, 8, -1).Draw(r, "s")
		if got, want := isNumber([]byte(s)), number.MatchString(s); got != want {
			t.Fatalf("%q: %v", s, got)
		}
	})
}

func TestHexOfEveryByte(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for size := range 10 {
			value := bytes.Repeat([]byte{byte(c), byte(c * 7), byte(255 - c)}, 4)[:size]
			if got, want := string(appendHex(nil, value)), fmt.Sprintf("%x", value); got != want {
				t.Fatalf("%s; want %s", got, want)
			}
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		u := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(r, "uuid")
		got, err := appendUUID([]byte("x"), u)
		if want := fmt.Sprintf("x%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]); err != nil || string(got) != want {
			t.Fatalf("%s, %v; want %s", got, err, want)
		}
	})
}

// A key is written the same however long it is, and however much room there is.
func TestKeysAreWrittenWholeIntoAnyRoom(t *testing.T) {
	t.Parallel()
	for size := range 2 * keyBlock {
		name := string(bytes.Repeat([]byte("k"), size))
		e, err := NewEncoder(nil, []Column{{Name: name, OID: int4OID}, {Name: name, OID: int4OID}})
		if err != nil {
			t.Fatal(err)
		}
		want := `x{"` + name + `":1,"` + name + `":null}`
		for room := range 3*keyBlock + 2*size {
			dst := append(make([]byte, 0, 1+room), 'x')
			if got, err := e.AppendObject(dst, [][]byte{[]byte("1"), nil}); err != nil || string(got) != want {
				t.Fatalf("room %d: %s, %v; want %s", room, got, err, want)
			}
		}
	}
}
