package proxy

import (
	"bytes"
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

const (
	// writeBuffer is what a connection gathers before it writes.
	writeBuffer = 20 << 10 // bytes

	// lentFrom is the size from which a body is sent from where it lies. To copy a smaller one beside its header
	// costs less than to tell the kernel of two places.
	lentFrom = 8 << 10 // bytes
)

// loan is a body that goes out with the header before it, in one call and without having been copied. fasthttp
// does that by itself on a bare TCP connection alone, and ours sets its own deadlines: so the body is a stream
// whose header is flushed at once, and the connection adds the body to that flush.
//
//	handler:  lends the body
//	fasthttp: writes the header into its buffer, behind answers to pipelined requests that are still there; what
//	          does not fit goes out meanwhile, in pieces of a whole buffer or more, which are not added to
//	fasthttp: flushes what is left, less than a buffer: the header's end, and the body after it
//	fasthttp: has the stream write itself, which is done already, or is not if what was left filled the buffer
//
// Owned by the goroutine that serves the connection.
type loan struct {
	body []byte // nil: none, or written
	size int
	vec  [2][]byte
	bufs net.Buffers
}

var _ fasthttp.BodyWriterTo = (*loan)(nil)

// lend has the response's body written after its header. The response must be one that is sent with its body.
func (c *pacedConn) lend(r *fasthttp.Response, body []byte) {
	r.SetBodyStream(&c.loan, len(body))
	r.ImmediateHeaderFlush = true
	c.loan.body, c.loan.size = body, len(body)
}

// flush writes what is left of the header, and the body.
func (l *loan) flush(c net.Conn, header []byte) (int, error) {
	l.vec[0], l.vec[1] = header, l.body
	l.body, l.bufs = nil, l.vec[:]
	n, err := l.bufs.WriteTo(c)
	l.vec, l.bufs = [2][]byte{}, nil // an idle connection holds no body
	return int(min(n, int64(len(header)))), err
}

// WriteTo writes the body, unless that is done.
func (l *loan) WriteTo(w io.Writer) (int64, error) {
	body := l.body
	if body == nil {
		return int64(l.size), nil
	}
	l.body = nil
	n, err := w.Write(body)
	return int64(n), err
}

// SupportsBodyWriteTo tells fasthttp to use WriteTo.
func (l *loan) SupportsBodyWriteTo() bool { return true }

// Read is for those who want to see the body instead of sending it.
func (l *loan) Read(p []byte) (int, error) {
	n, err := bytes.NewReader(l.body).Read(p)
	l.body = l.body[n:]
	return n, err
}

// Close ends the loan: nothing of it is left to be written.
func (l *loan) Close() error {
	l.body = nil
	return nil
}
