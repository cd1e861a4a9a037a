package rules

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// fault is what is wrong with a value, as the rest of a sentence that begins with its field's name.
type fault struct {
	status  int
	tooMany bool   // a list has more items than it may
	at      string // of a list: [2] is the third item; "" for the whole value
	detail  string
}

// Error returns the detail.
func (f *fault) Error() string {
	if f.at != "" {
		return "item " + f.at + " " + f.detail
	}
	return f.detail
}

func wrong(format string, args ...any) *fault {
	return &fault{status: 422, detail: fmt.Sprintf(format, args...)}
}

// Normalise appends the normal form of a text given for the parameter, as it stands in a path, query or
// header: what is keyed and bound. A List's is a Postgres array literal. The error is for people, begins
// with "must" and leaves the parameter's name to the caller. Bounds that are set are checked, so a bound is
// normalised before it is set, with Type.Normalise.
func (p *Param) Normalise(dst []byte, text []byte) ([]byte, error) {
	var f *fault
	if p.List {
		l := newList(p, dst, new(uniqueTable))
		if f = l.split(text); f == nil {
			dst, f = l.close()
		}
	} else {
		dst, f = p.appendScalar(dst, text)
	}
	if f != nil {
		return dst, f
	}
	return dst, nil
}

// Normalise appends the normal form of one value of the type, without any parameter's bounds. Enum takes any text.
func (t Type) Normalise(dst, text []byte) ([]byte, error) {
	p := Param{Type: t}
	if t == Enum {
		p.Type = Text
	}
	return p.Normalise(dst, text)
}

// appendScalar appends the normal form of one value, as text.
func (p *Param) appendScalar(dst, text []byte) ([]byte, *fault) {
	start, ok := len(dst), false
	switch p.Type {
	case Text:
		return p.appendText(dst, text)
	case Email:
		return p.appendEmail(dst, text)
	case Enum:
		for _, v := range p.Enum {
			if v == string(text) {
				return append(dst, text...), nil
			}
		}
		return dst, p.unlike(text)
	case JSON:
		return p.appendJSONText(dst, text)
	case UUID:
		dst, ok = appendUUID(dst, trimmed(text))
	case Bool:
		dst, ok = appendBool(dst, trimmed(text))
	case Int:
		dst, ok = appendInt(dst, trimmed(text))
	case Number:
		dst, ok = appendNumber(dst, trimmed(text))
	case Date:
		dst, ok = appendDate(dst, trimmed(text))
	case Timestamptz:
		dst, ok = appendTimestamp(dst, trimmed(text))
	}
	if !ok || !p.inBounds(dst[start:]) {
		return dst[:start], p.unlike(text)
	}
	return dst, nil
}

// inBounds compares a normal form with Min and Max.
func (p *Param) inBounds(value []byte) bool {
	if p.Min == nil && p.Max == nil {
		return true
	}
	compare := compareTimes
	if p.Type == Int || p.Type == Number {
		compare = compareNumbers
	}
	return (p.Min == nil || compare(value, *p.Min) >= 0) && (p.Max == nil || compare(value, *p.Max) <= 0)
}

// unlike says what the parameter wants instead of the text.
func (p *Param) unlike(text []byte) *fault {
	return wrong("must be %s, not %s", p.wanted(text), shown(text, p.Type))
}

// wanted describes a good value. For a value that is of the type and only out of bounds, the bounds are enough.
func (p *Param) wanted(text []byte) string {
	kind, comma, bounds := p.Type.wanted(), ", ", ""
	switch {
	case p.Type == Enum:
		return "one of " + strings.Join(p.Enum, ", ")
	case p.Min != nil && p.Max != nil:
		comma, bounds = " ", "between "+*p.Min+" and "+*p.Max
	case p.Min != nil:
		bounds = "at least " + *p.Min
	case p.Max != nil:
		bounds = "at most " + *p.Max
	default:
		return kind
	}
	if _, err := p.Type.Normalise(nil, text); err == nil {
		return bounds
	}
	return kind + comma + bounds
}

func (t Type) wanted() string {
	return [...]string{
		Text:        "text",
		UUID:        "a UUID like 123e4567-e89b-12d3-a456-426614174000",
		Int:         "a whole number",
		Bool:        "true or false",
		Number:      "a number",
		Enum:        "one of a list",
		Date:        "a date like 2026-01-31",
		Timestamptz: "a time with its offset like 2026-01-31T12:00:00Z",
		Email:       "an e-mail address",
		JSON:        "JSON",
	}[t]
}

const maxShown = 40 // characters of a wrong value that are repeated to its sender

// shown quotes a wrong value, or the beginning of it.
func shown(text []byte, t Type) string {
	if utf8.RuneCount(text) > maxShown {
		n := 0
		for range maxShown {
			_, size := utf8.DecodeRune(text[n:])
			n += size
		}
		return strconv.Quote(string(text[:n])) + "…"
	}
	if t == Int || t == Number {
		if _, ok := appendNumber(nil, text); ok {
			return string(text)
		}
	}
	if len(text) == 0 {
		return "empty"
	}
	return strconv.Quote(string(text))
}

func trimmed(text []byte) []byte {
	if n := len(text); n > 0 && text[0] > ' ' && text[n-1] > ' ' {
		return text
	}
	return bytes.Trim(text, " \t")
}

// appendText checks a text's characters, length and pattern, and leaves it as it is.
func (p *Param) appendText(dst, text []byte) ([]byte, *fault) {
	if !utf8.Valid(text) {
		return dst, wrong("must be UTF-8")
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return dst, wrong("must not contain the character U+0000")
	}
	if f := p.checkLength(text); f != nil {
		return dst, f
	}
	if p.Pattern == "" {
		return append(dst, text...), nil
	}
	pattern := p.pattern
	if pattern == nil { // before Rule.Compile: a default
		var err error
		if pattern, err = regexp.Compile(p.Pattern); err != nil {
			return dst, wrong("must match a pattern that is broken: %v", err)
		}
	}
	if !pattern.Match(text) {
		return dst, wrong("must match %s, unlike %s", p.Pattern, shown(text, Text))
	}
	return append(dst, text...), nil
}

func (p *Param) checkLength(text []byte) *fault {
	if p.MinLength == 0 && p.MaxLength == 0 {
		return nil
	}
	n := utf8.RuneCount(text)
	switch {
	case n >= p.MinLength && (p.MaxLength == 0 || n <= p.MaxLength):
		return nil
	case n == 0 && p.MinLength == 1:
		return wrong("must not be empty")
	case p.MaxLength == 0:
		return wrong("must have at least %s, not %d", counted(p.MinLength, "character"), n)
	case p.MinLength == 0:
		return wrong("must have at most %s, not %d", counted(p.MaxLength, "character"), n)
	}
	return wrong("must have %d to %s, not %d", p.MinLength, counted(p.MaxLength, "character"), n)
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

const maxEmail = 254 // RFC 5321 s.4.5.3.1.3, without the angle brackets

// appendEmail checks that the text can be an address, and leaves it as it is.
func (p *Param) appendEmail(dst, text []byte) ([]byte, *fault) {
	at := bytes.IndexByte(text, '@')
	bad := at < 1 || len(text) > maxEmail || !utf8.Valid(text)
	if !bad {
		domain := text[at+1:]
		dot := bytes.LastIndexByte(domain, '.')
		bad = dot < 1 || dot == len(domain)-1 || domain[0] == '.' || bytes.IndexByte(domain, '@') >= 0 ||
			bytes.Contains(domain, []byte(".."))
	}
	for _, c := range text {
		bad = bad || c <= ' ' || c == 0x7f
	}
	if bad {
		return dst, p.unlike(text)
	}
	if f := p.checkLength(text); f != nil {
		return dst, f
	}
	return append(dst, text...), nil
}

// appendUUID takes 8-4-4-4-12 hexadecimal digits, and makes them lower case.
func appendUUID(dst, text []byte) ([]byte, bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' || bytes.Count(text, []byte{'-'}) != 4 {
		return dst, false
	}
	start := len(dst)
	dst = append(dst, text...)
	digits := true
	for i, c := range dst[start:] {
		digits = digits && (unhex[c] < 16 || c == '-')
		if 'A' <= c {
			dst[start+i] = c | 0x20
		}
	}
	return dst, digits
}

func appendBool(dst, text []byte) ([]byte, bool) {
	switch {
	case is(text, "true"), is(text, "1"), is(text, "t"):
		return append(dst, "true"...), true
	case is(text, "false"), is(text, "0"), is(text, "f"):
		return append(dst, "false"...), true
	}
	return dst, false
}

// is compares without regard to case.
func is(text []byte, lower string) bool {
	if len(text) != len(lower) {
		return false
	}
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// AppendJSON appends a parameter's value as JSON: NULL as null, a List as an array, numbers and JSON bare,
// anything else as a string.
func (p *Param) AppendJSON(dst []byte, a Argument) []byte {
	switch {
	case !a.Present:
		return append(dst, "null"...)
	case !p.List:
		return p.Type.appendJSON(dst, a.Text)
	}
	dst = append(dst, '[')
	item, rest := nextItem(insideList(a.Text))
	for first := true; item != nil; item, rest = nextItem(rest) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if item[0] == '"' {
			dst = p.Type.appendJSON(dst, appendUnquotedItem(nil, item))
		} else {
			dst = p.Type.appendJSON(dst, item)
		}
	}
	return append(dst, ']')
}

// appendJSON appends a normal form as JSON. It is valid UTF-8 by then.
func (t Type) appendJSON(dst, value []byte) []byte {
	switch t {
	case Int, Bool, Number, JSON:
		return append(dst, value...)
	case UUID, Date, Timestamptz:
		dst = append(dst, '"')
		dst = append(dst, value...)
		return append(dst, '"')
	}
	dst, _ = jsontext.AppendQuote(dst, value)
	return dst
}
