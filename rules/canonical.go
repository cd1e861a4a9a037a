package rules

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// CanonicalJSON appends the JSON text in its canonical form: RFC 8785, except that numbers stay as they
// are written. As doubles, 9007199254740993 and 9007199254740992 would become one, and two meanings one key.
// Duplicate names, invalid UTF-8 and anything behind the value are errors.
func CanonicalJSON(dst, text []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, text...)
	value := jsontext.Value(dst[start:])
	err := value.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	if err != nil {
		return dst[:start], err
	}
	return append(dst[:start], value...), nil
}

// appendJSONText appends the canonical form of a JSON value that Postgres can store.
func (p *Param) appendJSONText(dst, text []byte) ([]byte, *fault) {
	start := len(dst)
	dst, err := CanonicalJSON(dst, text)
	if err != nil {
		return dst, wrong("must be valid JSON without duplicate names, not %s", shown(text, JSON))
	}
	if hasEscapedNUL(dst[start:]) {
		return dst[:start], wrong("must not contain the character U+0000")
	}
	return dst, nil
}

// hasEscapedNUL reports whether valid JSON has a string with U+0000, which no Postgres text can hold.
func hasEscapedNUL(text []byte) bool {
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 {
			return false
		}
		if bytes.HasPrefix(text[at:], []byte(`\u0000`)) {
			return true
		}
		text = text[at+2:]
	}
}
