package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// readBuffer is the size of a connection's buffer in bytes; bodies go past it.
const readBuffer = 8 << 10

// Connection is one client's connection, opened when it is first needed and again after it broke. It reads
// one response at a time and is not safe for concurrent use.
type Connection struct {
	address  string
	timeout  time.Duration // of one exchange, opening included
	conn     net.Conn
	reader   *bufio.Reader
	response fasthttp.Response
}

// NewConnection makes a connection to host:port and opens nothing yet.
func NewConnection(address string, timeout time.Duration) *Connection {
	return &Connection{address: address, timeout: timeout}
}

// Answer is what one request got.
type Answer struct {
	Status int
	From   From
	Bytes  int // of the body
}

// Expect returns nil if an exchange gave the status, and else what it gave instead.
func (a Answer) Expect(status int, err error) error {
	if err == nil && a.Status != status {
		err = fmt.Errorf("status %d instead of %d", a.Status, status)
	}
	return err
}

// From says where a response came from, as the server tells it.
type From int

// Where a response came from: Unknown where the server does not say.
const (
	Unknown From = iota
	Hit          // stored and fresh
	Stale        // stored, and served although expired or outdated
	Forward      // fetched for this request, or for another one that it joined
)

// Do sends the request and reads the whole response. Body returns its bytes until the next call.
func (c *Connection) Do(r *Request) (Answer, error) {
	deadline := time.Now().Add(c.timeout)
	reused := c.conn != nil
	if err := c.open(deadline); err != nil {
		return Answer{}, err
	}
	err := c.exchange(r, deadline)
	if err != nil && reused && !isTimeout(err) && r.method == "GET" {
		// The server may have closed an idle connection: what every client does then is to open another one.
		c.Close()
		if err = c.open(deadline); err == nil {
			err = c.exchange(r, deadline)
		}
	}
	if err != nil {
		c.Close()
		return Answer{}, err
	}
	a := Answer{Status: c.response.StatusCode(), From: from(c.response.Header.Peek("Cache-Status")), Bytes: len(c.response.Body())}
	if c.response.ConnectionClose() {
		c.Close()
	}
	return a, nil
}

// Body returns the last response's body, valid until the next Do.
func (c *Connection) Body() []byte { return c.response.Body() }

// Field returns the value of one of the last response's header fields, valid until the next Do.
func (c *Connection) Field(name string) []byte { return c.response.Header.Peek(name) }

// Fields returns copies of all the last response's header fields, in their order.
func (c *Connection) Fields() [][2]string {
	var all [][2]string
	for name, value := range c.response.Header.All() {
		all = append(all, [2]string{string(name), string(value)})
	}
	return all
}

// Close closes the connection; the next Do opens it again.
func (c *Connection) Close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *Connection) open(deadline time.Time) error {
	if c.conn != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", c.address, time.Until(deadline))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.conn = conn
	if c.reader == nil {
		c.reader = bufio.NewReaderSize(conn, readBuffer)
	} else {
		c.reader.Reset(conn)
	}
	return nil
}

func (c *Connection) exchange(r *Request, deadline time.Time) error {
	if err := c.conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := c.conn.Write(r.bytes); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	c.response.Reset()
	c.response.SkipBody = r.method == "HEAD"
	if err := c.response.Read(c.reader); err != nil {
		return fmt.Errorf("read response: %w", err)
	}
	return nil
}

// from reads RFC 9211's Cache-Status, whose last member is the cache nearest to us.
func from(status []byte) From {
	switch {
	case len(status) == 0:
		return Unknown
	case bytes.Contains(status, []byte("; hit")):
		if bytes.Contains(status, []byte("detail=stale")) || bytes.Contains(status, []byte("ttl=-")) {
			return Stale
		}
		return Hit
	}
	return Forward
}

// isTimeout reports whether the error is that of a deadline.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
