package cache

import "bytes"

// Qualities are thousandths, as RFC 9110 s.12.4.2 has at most three decimals.
const fullQuality = 1000

// offered are the codings that forebay writes, in the order in which equals are preferred.
var offered = [...]string{"br", "zstd", "gzip"}

// ChooseEncoding returns the coding that an Accept-Encoding value prefers among br, zstd, gzip and
// identity (RFC 9110 s.12.5.3), or "" for identity: also where the value refuses everything there is, or is
// malformed. Among codings of the same quality the order above decides, and identity comes last. It
// allocates nothing.
func ChooseEncoding(accept []byte) string {
	var qualities [len(offered)]int
	named := [len(offered)]bool{}
	identity, identityNamed, rest, restNamed := fullQuality, false, 0, false
	list := weightedList{rest: accept}
	for list.next() {
		switch i := codingIndex(list.name); {
		case i >= 0:
			qualities[i], named[i] = list.quality, true
		case is(list.name, "identity"):
			identity, identityNamed = list.quality, true
		case is(list.name, "*"):
			rest, restNamed = list.quality, true
		}
	}
	if list.malformed {
		return ""
	}
	best, chosen := 0, ""
	for i, coding := range offered {
		if !named[i] && restNamed {
			qualities[i] = rest
		}
		if qualities[i] > best {
			best, chosen = qualities[i], coding
		}
	}
	// Identity that nobody named is acceptable, not preferred: a client that lists codings wants them.
	if identityNamed && identity > best {
		return ""
	}
	return chosen
}

func codingIndex(name []byte) int {
	if is(name, "x-gzip") {
		name = name[2:]
	}
	for i, coding := range offered {
		if is(name, coding) {
			return i
		}
	}
	return -1
}

// ChooseMediaType returns which of the media types an Accept value asks for by name, with the highest
// quality; the first of equals; "" where it names none of them, or is malformed. Ranges such as text/* and
// */* name nothing. Parameters other than the weight are not looked at.
func ChooseMediaType(accept []byte, types []string) string {
	best, chosen := 0, ""
	for _, t := range types {
		list := weightedList{rest: accept}
		quality := 0
		for list.next() {
			if is(list.name, t) {
				quality = max(quality, list.quality)
			}
		}
		if list.malformed {
			return ""
		}
		if quality > best {
			best, chosen = quality, t
		}
	}
	return chosen
}

// weightedList splits a list of names with parameters, of which the one called q is a weight
// (RFC 9110 s.12.4.2).
type weightedList struct {
	rest      []byte
	name      []byte
	quality   int
	malformed bool
}

// next moves to the next member, and returns false at the end or where the list is malformed.
func (l *weightedList) next() bool {
	l.rest = bytes.TrimLeft(l.rest, " \t,")
	if len(l.rest) == 0 {
		return false
	}
	n := 0
	for n < len(l.rest) && (isTokenByte(l.rest[n]) || l.rest[n] == '/') {
		n++
	}
	l.name, l.quality = l.rest[:n], fullQuality
	l.rest = bytes.TrimLeft(l.rest[n:], " \t")
	l.malformed = n == 0 || !l.readParameters()
	return !l.malformed
}

// readParameters reads up to the comma that ends the member.
func (l *weightedList) readParameters() bool {
	for len(l.rest) > 0 && l.rest[0] == ';' {
		l.rest = bytes.TrimLeft(l.rest[1:], " \t")
		n := tokenLength(l.rest)
		name := l.rest[:n]
		l.rest = l.rest[n:]
		if n == 0 {
			continue // an empty parameter (RFC 9110 s.5.6.6)
		}
		value, ok := l.readValue()
		if !ok {
			return false
		}
		if is(name, "q") {
			if l.quality, ok = parseQuality(value); !ok {
				return false
			}
		}
		l.rest = bytes.TrimLeft(l.rest, " \t")
	}
	return len(l.rest) == 0 || l.rest[0] == ','
}

// readValue reads a parameter's equals sign and value.
func (l *weightedList) readValue() (value []byte, ok bool) {
	s := directiveScanner{rest: l.rest}
	if len(s.rest) == 0 || s.rest[0] != '=' {
		return nil, false
	}
	s.rest = s.rest[1:]
	if len(s.rest) > 0 && s.rest[0] == '"' {
		s.rest = l.rest
		ok = s.readValue()
		l.rest = s.rest
		return s.value, ok
	}
	n := tokenLength(s.rest)
	value, l.rest = s.rest[:n], s.rest[n:]
	return value, n > 0
}

// parseQuality reads 0, 1, 0.123 or 1.000.
func parseQuality(text []byte) (quality int, ok bool) {
	if len(text) == 0 || len(text) > 5 || text[0] != '0' && text[0] != '1' {
		return 0, false
	}
	quality = int(text[0]-'0') * fullQuality
	if len(text) == 1 {
		return quality, true
	}
	if text[1] != '.' {
		return 0, false
	}
	unit := fullQuality / 10
	for _, c := range text[2:] {
		if c < '0' || c > '9' {
			return 0, false
		}
		quality += int(c-'0') * unit
		unit /= 10
	}
	return quality, quality <= fullQuality
}

// is compares names without regard to the case of ASCII letters. Want is in lower case.
func is(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != want[i] {
			return false
		}
	}
	return true
}
