package cache

import (
	"bytes"
	"time"
)

// clockSkew is by how much a Date may lag behind this clock and still be taken for the date of a response
// made just now, by a clock that is late.
const clockSkew = 10 * time.Second

// dateForms are the three forms of RFC 9110 s.5.6.7 with their lengths; 0: it varies. Package time takes
// more than these forms allow, one digit for two for instance, so the length is checked too.
var dateForms = [...]struct {
	layout string
	length int
}{
	{"Mon, 02 Jan 2006 15:04:05 GMT", 29},
	{"Monday, 02-Jan-06 15:04:05 GMT", 0},
	{"Mon Jan _2 15:04:05 2006", 24},
}

// ParseDate reads an HTTP date, strictly: what is not one of the three forms of RFC 9110 is no date.
func ParseDate(text []byte) (time.Time, bool) {
	for _, form := range dateForms {
		if form.length > 0 && len(text) != form.length {
			continue
		}
		t, err := time.Parse(form.layout, string(text))
		if err != nil {
			continue
		}
		if form.length == 0 && len(text) != len(t.Weekday().String())+len(", 02-Jan-06 15:04:05 GMT") {
			continue
		}
		return t, true
	}
	return time.Time{}, false
}

// initialAge returns how old the response was when it came: corrected_initial_age of RFC 9111 s.4.2.3.
//
// Its Age counts from the request, for nobody knows when within the exchange it was written. A Date that
// lies back says that an intermediary kept the response without telling its age, or that the origin's
// clock is late; beyond clockSkew the former is assumed, since too old is refetched and too young is wrong.
func (a *Answer) initialAge(date time.Time) time.Duration {
	age := max(a.Received.Sub(a.Sent), 0)
	if line := first(a.Fields, "Age"); line != nil {
		member, _, _ := bytes.Cut(line, []byte{','}) // a list's first member counts (RFC 9111 s.5.1)
		if told, ok := parseDelta(bytes.Trim(member, " \t")); ok {
			age += told
		}
	}
	if apparent := a.Received.Sub(date); apparent > clockSkew {
		age = max(age, apparent)
	}
	return age
}
