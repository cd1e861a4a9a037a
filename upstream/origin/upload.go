package origin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// inlineBody is up to how many bytes a body of known size is read before anything is sent: it needs no goroutine
// of its own then, and a client that takes its time holds no connection to the service.
const inlineBody = 8 << 10

// upload is a request body on its way from the client to the service.
type upload struct {
	stream io.Reader
	client net.Conn // the stream reads from
	size   int      // -1: chunked
	limit  int      // bytes accepted; 0: any number

	last atomic.Bool // all is written but for the last flush
	done chan struct{}
	err  error // set before done is closed: a *RequestError, or what the service's connection said
}

// errBodyTooLarge is a body above the rule's limit.
var errBodyTooLarge = errors.New("request body is larger than this route accepts")

// newUpload returns nil for a request without a body.
func newUpload(ctx *fasthttp.RequestCtx, limit int) (*upload, error) {
	stream, size := ctx.RequestBodyStream(), ctx.Request.Header.ContentLength()
	if stream == nil || size == 0 || size < -1 {
		return nil, nil
	}
	if limit > 0 && size > limit {
		return nil, &RequestError{Status: fasthttp.StatusRequestEntityTooLarge, Err: errBodyTooLarge}
	}
	return &upload{stream: stream, client: ctx.Conn(), size: size, limit: limit, done: make(chan struct{})}, nil
}

// inline reads a body that is small; false: it is not.
func (u *upload) inline() (body []byte, ok bool, err error) {
	if u.size < 0 || u.size > inlineBody {
		return nil, false, nil
	}
	body = make([]byte, u.size)
	if _, err := io.ReadFull(u.stream, body); err != nil {
		return nil, true, clientError(err)
	}
	return body, true, nil
}

// send writes head and body, each piece as it comes, and then tells by when the answer is expected.
//
// When the client's part fails, the service's connection is closed: a request that is cut must not look
// complete. When the service does not take it all, there may be an answer that says why.
func (u *upload) send(w *bufio.Writer, h head, conn *connection, patience time.Duration) {
	defer close(u.done)
	u.err = u.copy(w, h)
	var r *RequestError
	if errors.As(u.err, &r) {
		_ = conn.Conn.Close()
		return
	}
	conn.expectHead(time.Now().Add(patience))
}

func (u *upload) copy(w *bufio.Writer, h head) error {
	if _, err := w.Write(h); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	total := 0
	for {
		n, err := u.stream.Read(buf)
		if total += n; u.limit > 0 && total > u.limit {
			return &RequestError{Status: fasthttp.StatusRequestEntityTooLarge, Err: errBodyTooLarge}
		}
		if werr := u.write(w, buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return clientError(err)
		}
		if n > 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
	if u.size >= 0 && total != u.size {
		return clientError(fmt.Errorf("%w: %d bytes of %d", io.ErrUnexpectedEOF, total, u.size))
	}
	if u.size < 0 {
		if _, err := w.WriteString("0\r\n\r\n"); err != nil {
			return err
		}
	}
	u.last.Store(true)
	return w.Flush()
}

func (u *upload) write(w *bufio.Writer, piece []byte) error {
	if len(piece) == 0 {
		return nil // an empty chunk would end the body
	}
	if u.size < 0 {
		var room [20]byte
		size := append(strconv.AppendInt(room[:0], int64(len(piece)), 16), "\r\n"...)
		if _, err := w.Write(size); err != nil {
			return err
		}
	}
	if _, err := w.Write(piece); err != nil {
		return err
	}
	if u.size < 0 {
		_, err := w.WriteString("\r\n")
		return err
	}
	return nil
}

// interrupt makes a send that waits for the client give up. The client's connection is of no use after it.
func (u *upload) interrupt() {
	if u.client != nil {
		_ = u.client.SetReadDeadline(time.Unix(1, 0))
	}
}

// clientError is a body that did not come as announced.
func clientError(err error) error {
	if isTimeout(err) {
		return &RequestError{Status: fasthttp.StatusRequestTimeout, Err: fmt.Errorf("read request body: %w", err)}
	}
	return &RequestError{Status: fasthttp.StatusBadRequest, Err: fmt.Errorf("read request body: %w", err)}
}
