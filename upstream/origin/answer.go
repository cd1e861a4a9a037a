package origin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/valyala/fasthttp"

	"forebay/cache"
)

// maxInterim bounds the interim responses before an answer.
const maxInterim = 16

// readHead reads the header of the final answer into h. Interim responses are passed over, but for 101,
// which is final for its request.
func readHead(br *bufio.Reader, h *fasthttp.ResponseHeader) error {
	for i := range maxInterim {
		raw, err := peekHead(br)
		if err != nil && i > 0 {
			err = fmt.Errorf("%w: after an interim response: %w", io.ErrUnexpectedEOF, err)
		}
		if err != nil {
			return err
		}
		facts, err := scanHead(raw)
		if err != nil {
			return err
		}
		h.SetNoDefaultContentType(true)
		if err := h.Read(br); err != nil {
			return fmt.Errorf("%w: %w", errNotHTTP, err)
		}
		status := h.StatusCode()
		switch {
		case status < 100 || status > 599:
			return fmt.Errorf("%w: status %d", errNotHTTP, status)
		case status < 200 && status != fasthttp.StatusSwitchingProtocols:
			continue
		}
		if len(facts.codings) > 0 {
			h.SetContentEncodingBytes(facts.codings)
		}
		return nil
	}
	return errors.New("more than 16 interim responses")
}

// peekHead returns the next header's bytes without taking them out of the reader. An error before the first
// byte is returned as it is.
func peekHead(br *bufio.Reader) ([]byte, error) {
	for n := 1; ; n = br.Buffered() + 1 {
		if n > br.Size() {
			return nil, errHeadTooLarge
		}
		_, err := br.Peek(n)
		b, _ := br.Peek(br.Buffered())
		if end := bytes.Index(b, []byte("\r\n\r\n")); end >= 0 {
			return b[:end+4], nil
		}
		if len(b) > 0 && !bytes.HasPrefix([]byte("HTTP/1."), b[:min(len(b), 7)]) || bytes.Contains(b, []byte("\n\n")) {
			return nil, errNotHTTP
		}
		if err == io.EOF && len(b) > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
}

// headFacts is what fasthttp's parser would not tell of a header.
type headFacts struct {
	codings []byte // Content-Encoding, where it has several lines
}

// scanHead refuses a header that two readers could take differently: in its framing, or in where a line of
// it ends. The parser behind it would take one reading: with both framings the chunked one, in HTTP/1.0 the
// other, and a bare line feed for a line's end.
func scanHead(raw []byte) (facts headFacts, err error) {
	line, rest, _ := bytes.Cut(raw, []byte("\r\n"))
	if !isStatusLine(line) {
		return facts, errNotHTTP
	}
	http11 := line[len("HTTP/1.")] != '0'
	lengths, transfers, encodings := 0, 0, 0
	for len(rest) > len("\r\n") {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if bytes.ContainsAny(line, "\r\n\x00") || line[0] == ' ' || line[0] == '\t' {
			return facts, errFraming
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.Trim(value, " \t")
		switch plain := bytes.TrimRight(name, " \t"); {
		case is(plain, "Content-Length"):
			if lengths++; len(plain) != len(name) || ambiguousLength(value) != "" {
				return facts, errFraming
			}
		case is(plain, "Transfer-Encoding"):
			if transfers++; len(plain) != len(name) || !is(value, "chunked") {
				return facts, errFraming
			}
		case is(plain, "Content-Encoding"):
			if encodings++; encodings > 1 {
				facts.codings = append(append(facts.codings, ", "...), value...)
			} else {
				facts.codings = append(facts.codings, value...)
			}
		}
	}
	if lengths > 1 || transfers > 1 || transfers > 0 && (lengths > 0 || !http11) {
		return facts, errFraming
	}
	if encodings < 2 {
		facts.codings = nil
	}
	return facts, nil
}

// isStatusLine reports whether the line is a status line of HTTP/1 (RFC 9112 s.4).
func isStatusLine(line []byte) bool {
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) ||
		line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return false
	}
	for _, at := range [...]int{7, 9, 10, 11} {
		if line[at] < '0' || line[at] > '9' {
			return false
		}
	}
	return !bytes.ContainsAny(line, "\r\n\x00")
}

// framing tells where an answer's body ends.
type framing uint8

const (
	noBody   framing = iota
	bySize           // of so many bytes
	byChunks         // with the last chunk
	byClose          // with the connection, so nobody can tell whether it is whole
)

// framingOf follows RFC 9112 s.6.3.
func framingOf(method string, h *fasthttp.ResponseHeader) framing {
	switch status := h.StatusCode(); {
	case method == fasthttp.MethodHead, status < 200, status == fasthttp.StatusNoContent, status == fasthttp.StatusNotModified:
		return noBody
	}
	switch n := h.ContentLength(); {
	case n >= 0:
		return bySize
	case n == -1:
		return byChunks
	}
	return byClose
}

// connectionOf returns the Connection field, all its lines.
func connectionOf(h *fasthttp.ResponseHeader) []byte {
	lines := h.PeekAll(fasthttp.HeaderConnection)
	if len(lines) == 1 {
		return lines[0]
	}
	return bytes.Join(lines, []byte{','})
}

// copyFields copies all the fields as they came.
func copyFields(h *fasthttp.ResponseHeader) []cache.Field {
	n, size := 0, 0
	for name, value := range h.All() {
		n++
		size += len(name) + len(value)
	}
	fields, bytes := make([]cache.Field, 0, n), make([]byte, 0, size)
	keep := func(b []byte) []byte {
		start := len(bytes)
		bytes = append(bytes, b...)
		return bytes[start:len(bytes):len(bytes)]
	}
	for name, value := range h.All() {
		fields = append(fields, cache.Field{Name: keep(name), Value: keep(value)})
	}
	return fields
}
