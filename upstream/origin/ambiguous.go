package origin

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// Ambiguous names what in a request's header two readers could take differently, or "". Such a request is
// refused and its connection closed: whatever one reading of it is, another may hold a second request. It
// looks at the header as it was sent, since the parser has by then chosen its reading: fasthttp takes
// bare line feeds, folded lines, spaces in names, a Content-Length beside a Transfer-Encoding and a
// Transfer-Encoding of identity. It allocates nothing.
func Ambiguous(h *fasthttp.RequestHeader) string {
	if what := ambiguousLine(h); what != "" {
		return what
	}
	var f requestFraming
	for raw := h.RawHeaders(); len(raw) > 0; {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return "a line of the header does not end in CR LF"
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		if len(line) == 0 {
			break
		}
		if what := f.read(line); what != "" {
			return what
		}
	}
	return f.judge(h)
}

// ambiguousLine judges the request line.
func ambiguousLine(h *fasthttp.RequestHeader) string {
	if p := h.Protocol(); len(p) > 0 && string(p) != "HTTP/1.1" && string(p) != "HTTP/1.0" {
		return "the version is neither HTTP/1.1 nor HTTP/1.0"
	}
	if string(h.Method()) == fasthttp.MethodConnect {
		return "CONNECT asks for a tunnel, which is not offered here"
	}
	target := h.RequestURI()
	for _, c := range target {
		if c <= ' ' || c == 0x7f || c == '#' {
			return "the request target has a character that no target may have"
		}
	}
	if len(target) > 0 && target[0] != '/' {
		return ambiguousTarget(target, h)
	}
	return ""
}

// ambiguousTarget judges a target that is not a path. An absolute one names a host, which must be the one
// that Host names.
func ambiguousTarget(target []byte, h *fasthttp.RequestHeader) string {
	if string(target) == "*" {
		return ""
	}
	at := bytes.Index(target, []byte("://"))
	if at < 0 {
		return "the request target is no path"
	}
	if scheme := target[:at]; !is(scheme, "http") && !is(scheme, "https") {
		return "the request target's scheme is not http"
	}
	authority := target[at+3:]
	if end := bytes.IndexAny(authority, "/?"); end >= 0 {
		authority = authority[:end]
	}
	if !bytes.EqualFold(authority, h.Host()) {
		return "the request target and Host name different hosts"
	}
	return ""
}

// requestFraming is what the header says of where the request ends and whom it is for.
type requestFraming struct {
	lengths, transfers, hosts int
}

// read takes a line in.
func (f *requestFraming) read(line []byte) string {
	n := tokenLength(line)
	if n == 0 || n == len(line) || line[n] != ':' {
		return "a line of the header is no field"
	}
	name, value := line[:n], bytes.Trim(line[n+1:], " \t")
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return "a field has a control character"
		}
	}
	switch name[0] | 0x20 {
	case 'c':
		if is(name, fasthttp.HeaderContentLength) {
			f.lengths++
			return ambiguousLength(value)
		}
	case 't':
		if is(name, fasthttp.HeaderTransferEncoding) {
			f.transfers++
			if !is(value, "chunked") {
				return "the Transfer-Encoding is not chunked"
			}
		}
	case 'h':
		if is(name, fasthttp.HeaderHost) {
			f.hosts++
			return ambiguousHost(value)
		}
	}
	return ""
}

func ambiguousLength(value []byte) string {
	if len(value) == 0 || len(value) > 18 {
		return "the Content-Length is no length"
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return "the Content-Length is no number"
		}
	}
	return ""
}

// ambiguousHost wants a host and at most a port, in the characters that these are made of.
func ambiguousHost(value []byte) string {
	for _, c := range value {
		if !hostBytes[c] {
			return "Host has a character that no host has"
		}
	}
	if len(value) == 0 {
		return "Host is empty"
	}
	return ""
}

// judge looks at all lines together.
func (f *requestFraming) judge(h *fasthttp.RequestHeader) string {
	switch {
	case f.lengths > 1:
		return "Content-Length is there twice"
	case f.transfers > 1:
		return "Transfer-Encoding is there twice"
	case f.lengths > 0 && f.transfers > 0:
		return "there are both Content-Length and Transfer-Encoding"
	case f.transfers > 0 && !h.IsHTTP11():
		return "HTTP/1.0 has no Transfer-Encoding"
	case f.hosts > 1:
		return "Host is there twice"
	case len(h.Host()) == 0 && h.IsHTTP11():
		return "Host is missing"
	}
	return ""
}
