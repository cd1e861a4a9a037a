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
}

// Ambiguous names what in a request's header two readers could take differently, or "".
func (j *Judge) Ambiguous(h *fasthttp.RequestHeader) string {
	raw := h.RawHeaders()
	if len(raw) > 0 && j.http11 == h.IsHTTP11() && bytes.Equal(raw, j.sound) {
		return ambiguousLine(h)
	}
	what := Ambiguous(h)
	if what == "" && len(raw) <= maxSound {
		j.sound, j.http11 = append(j.sound[:0], raw...), h.IsHTTP11()
	}
	return what
}
