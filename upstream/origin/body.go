package origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// errCut is a body that ended before its end.
var errCut = errors.New("answer's body was cut short")

// body is an answer's body on its way to the client, and what has to end when it does: the upload, if it is
// still running, and the lease of the connection. Used by one goroutine; Close may be called again.
type body struct {
	a      *answer
	upload *upload // nil unless the answer was early
	stream io.Reader
	whole  bool  // read to its end, as far as its framing can tell
	err    error // what cut it short
	closed bool
	ended  func(error) // called once, with what the body came to
	told   func(error) // as Passage.Ended; nil: it was told
	first  []byte      // read by begin, and not yet handed on
	buffer *[piece]byte
}

const (
	// unsent is up to how many bytes of a body of known size the server holds before it sends any: as many as its
	// buffer for writing has.
	unsent = 20 << 10

	piece = 4 << 10 // what it reads at once of another, and sends at once
)

var buffers = sync.Pool{New: func() any { return new([piece]byte) }}

func newBody(a *answer, u *upload, ended func(error)) *body {
	b := &body{a: a, upload: u, ended: ended}
	if a.framing == noBody {
		b.whole = true
		return b
	}
	a.response.StreamBody = true
	_ = a.response.ReadBody(a.br, 0) // makes the stream; reads nothing
	b.stream = a.response.BodyStream()
	b.whole = a.framing == bySize && a.response.Header.ContentLength() == 0
	return b
}

// begin waits for as much of the body as the server would before it sends the header, so that an answer that is cut
// until then can still become another. All tells that there is no more to come. Nothing is waited for where the header
// is sent at once: while an upload runs, and to a client who takes the connection's end for a stream's.
func (b *body) begin(http11 bool) (all bool, err error) {
	switch {
	case b.whole:
		return true, nil
	case b.upload != nil, b.a.framing != bySize && !http11:
		return false, nil
	case b.a.framing == bySize:
		size := b.a.response.Header.ContentLength()
		if _, err := b.a.br.Peek(min(size, unsent)); err != nil {
			b.err = &failure{errors.Join(errCut, err), reading}
		}
		return size <= unsent, b.err
	}
	b.buffer = buffers.Get().(*[piece]byte)
	n := 0
	for n == 0 && err == nil {
		n, err = b.Read(b.buffer[:])
	}
	b.first = b.buffer[:n]
	if n > 0 || err == io.EOF {
		err = nil // of what follows the first piece, the next Read tells
	}
	return b.whole, err
}

// Read reads the next piece. An error other than io.EOF makes the server end its response visibly broken.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case len(b.first) > 0 && !b.closed:
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	case b.err != nil:
		return 0, b.err
	case b.whole, b.closed:
		return 0, io.EOF
	}
	n, err := b.stream.Read(p)
	switch {
	case err == io.EOF:
		b.whole = true
	case err != nil:
		b.err = &failure{errors.Join(errCut, err), reading}
		err = b.err
	}
	return n, err
}

// Close ends the exchange. The connection is used again if both sides have said all they had to.
func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	sent := b.endUpload()
	h := &b.a.response.Header
	reuse := b.whole && sent && b.a.framing != byClose && !h.ConnectionClose()
	if b.stream != nil {
		_ = b.a.response.CloseBodyStream()
	}
	reuse = b.a.stop() && reuse
	b.a.give(reuse)
	fasthttp.ReleaseResponse(b.a.response)
	if b.err == nil && !b.whole {
		b.err = context.Canceled // nobody wanted the rest
	}
	if b.buffer != nil {
		buffers.Put(b.buffer)
		b.buffer, b.first = nil, nil
	}
	b.ended(b.err)
	if b.told != nil {
		cut := b.err
		if isCanceled(cut) {
			cut = nil // the client left
		}
		b.told(cut)
	}
	return nil
}

// endUpload waits for an upload that the service goes on taking, and ends one that it has refused: by its
// answer, or by what it does with the connection.
func (b *body) endUpload() (sent bool) {
	u := b.upload
	if u == nil {
		return true
	}
	h := &b.a.response.Header
	if !b.whole || h.StatusCode() >= fasthttp.StatusMultipleChoices || h.ConnectionClose() {
		_ = b.a.conn.Conn.Close()
		u.interrupt()
	}
	<-u.done
	return u.err == nil
}

// readAll reads the body into memory, up to limit bytes.
func (b *body) readAll(limit int) ([]byte, error) {
	if b.whole {
		return nil, nil
	}
	size := b.a.response.Header.ContentLength()
	if size > limit {
		return nil, ErrTooLarge
	}
	if size < 0 {
		return b.readUnknown(limit)
	}
	buf := make([]byte, size) // not one byte more: it may be kept for long
	n, err := io.ReadFull(b, buf)
	if err != nil && n < size {
		return nil, err
	}
	var end [1]byte
	switch m, err := b.Read(end[:]); {
	case err != nil && err != io.EOF:
		return nil, err
	case m > 0:
		return nil, ErrTooLarge // not what it announced
	}
	return buf, nil
}

// readUnknown is readAll of a body whose length nobody has told.
func (b *body) readUnknown(limit int) ([]byte, error) {
	buf := make([]byte, 512)
	for n := 0; ; {
		m, err := b.Read(buf[n:])
		n += m
		switch {
		case n > limit:
			return nil, ErrTooLarge
		case err == io.EOF:
			return bytes.Clone(buf[:n]), nil
		case err != nil:
			return nil, err
		}
		if n == len(buf) {
			buf = append(buf, make([]byte, min(len(buf), limit+1-len(buf)))...)
		}
	}
}

// elapsed returns the time from the request to the answer's header.
func (a *answer) elapsed() time.Duration { return a.received.Sub(a.sent) }
