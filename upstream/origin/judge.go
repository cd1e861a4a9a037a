package origin

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// maxSound is up to how many bytes of a header a Judge keeps.
const maxSound = 2 << 10

// Judge finds ambiguous requests as Ambiguous does, and knows the last sound header again: most clients send
// the same fields over and over, and to compare them costs a twentieth of reading them. Not safe for
// concurrent use; it belongs to whoever handles one request at a time.
type Judge struct {
	sound  []byte // the fields of the last header that nothing was wrong with
	http11 bool   // its version, which the fields were judged by
	fields Fields // which it has
}

// Fields are request fields that decide how a stored response is sent.
type Fields uint8

// The fields that a Judge notes.
const (
	IfNoneMatch Fields = 1 << iota
	AcceptEncoding
	ForebayCommit
	ForebayTiming
	Credentials // Authorization or Cookie
	OtherOrigin // Origin
	anyField    = IfNoneMatch | AcceptEncoding | ForebayCommit | ForebayTiming | Credentials | OtherOrigin
)

// Knows reports whether the fields are, byte for byte, those that were last found sound. It says nothing of
// the request line.
func (j *Judge) Knows(h *fasthttp.RequestHeader) bool {
	raw := h.RawHeaders()
	return len(raw) > 0 && j.http11 == h.IsHTTP11() && bytes.Equal(raw, j.sound)
}

// Ambiguous names what in a request's header two readers could take differently, or "".
func (j *Judge) Ambiguous(h *fasthttp.RequestHeader) string {
	if j.Knows(h) {
		return ambiguousLine(h)
	}
	what := Ambiguous(h)
	raw := h.RawHeaders()
	j.sound, j.fields = j.sound[:0], anyField
	if what == "" && len(raw) > 0 && len(raw) <= maxSound {
		j.sound, j.http11, j.fields = append(j.sound, raw...), h.IsHTTP11(), noted(raw)
	}
	return what
}

// May reports whether the header judged last may have the field. False is certain.
func (j *Judge) May(f Fields) bool { return j.fields&f != 0 }

func noted(raw []byte) (f Fields) {
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		name, _, _ := bytes.Cut(line, []byte{':'})
		switch {
		case is(name, fasthttp.HeaderIfNoneMatch):
			f |= IfNoneMatch
		case is(name, fasthttp.HeaderAcceptEncoding):
			f |= AcceptEncoding
		case is(name, "Forebay-Commit"):
			f |= ForebayCommit
		case is(name, "Forebay-Timing"):
			f |= ForebayTiming
		case is(name, fasthttp.HeaderAuthorization), is(name, fasthttp.HeaderCookie):
			f |= Credentials
		case is(name, fasthttp.HeaderOrigin):
			f |= OtherOrigin
		}
	}
	return f
}
