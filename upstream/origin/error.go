package origin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// ErrTooLarge is the cause of an Error when a response is larger than what Fetch holds in memory. The same
// request may be answered by Pass.
var ErrTooLarge = errors.New("response is too large to be held in memory")

// Error is a request that the service did not answer. Status and ProxyStatus are for the sender of the
// request; Error() is for the operator and may show an address. Safe for concurrent use.
type Error struct {
	Status      int           // 502, 503 or 504
	RetryAfter  time.Duration // when it is worth another try; 0: not known
	ProxyStatus string        // the error's name in RFC 9209
	Reached     bool          // the service may have had the request: what it did about it is not known
	Err         error
}

// Error returns the whole story, for the operator.
func (e *Error) Error() string { return e.ProxyStatus + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// RequestError is a request that could not be forwarded because of its sender. Safe for concurrent use.
type RequestError struct {
	Status int // 400, 408 or 413
	Err    error
}

// Error returns what was wrong.
func (e *RequestError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// The causes that are this package's own.
var (
	errCircuitOpen  = errors.New("circuit breaker is open")
	errNoConnection = errors.New("no connection became free in time; raise max_connections or find out why the service is slow")
	errHeadTooLarge = errors.New("header is larger than 32 KiB")
	errNotHTTP      = errors.New("answer is not HTTP/1")
	errFraming      = errors.New("answer's framing is ambiguous")
	errSwitched     = errors.New("service switched protocols without being asked")
	errUnasked304   = errors.New("answered 304 to a request without conditions")
	errLoop         = errors.New("request has come through forebay too often; the service's URL leads back here")
)

// stage is how far an exchange had come.
type stage uint8

const (
	connecting stage = iota
	sending
	awaiting // the answer's header
	reading  // its body
)

// dialError is a connection that could not be made.
type dialError struct {
	err       error
	handshake bool
}

func (e *dialError) Error() string {
	if e.handshake {
		return fmt.Sprintf("handshake: %s", e.err)
	}
	return e.err.Error()
}

func (e *dialError) Unwrap() error { return e.err }

// classify names what went wrong, in the words of RFC 9209 s.2.3.
func classify(err error, at stage) *Error {
	e := &Error{Status: fasthttp.StatusBadGateway, Reached: at > connecting, Err: err}
	var dial *dialError
	switch {
	case errors.As(err, &dial):
		e.ProxyStatus = dialStatus(dial)
		e.Status = fasthttp.StatusServiceUnavailable
		if e.ProxyStatus == "connection_timeout" || e.ProxyStatus == "dns_timeout" {
			e.Status = fasthttp.StatusGatewayTimeout
		}
	case errors.Is(err, errNoConnection):
		e.Status, e.ProxyStatus, e.RetryAfter = fasthttp.StatusServiceUnavailable, "connection_limit_reached", time.Second
	case isTimeout(err):
		e.Status, e.ProxyStatus = fasthttp.StatusGatewayTimeout, timeoutStatus(at)
	case errors.Is(err, errHeadTooLarge):
		e.ProxyStatus = "http_response_header_section_size"
	case errors.Is(err, ErrTooLarge):
		e.ProxyStatus = "http_response_body_size"
	case errors.Is(err, errLoop):
		e.ProxyStatus = "proxy_loop_detected"
	case isClosed(err):
		e.ProxyStatus = "connection_terminated"
		if at == reading {
			e.ProxyStatus = "http_response_incomplete"
		}
	default:
		e.ProxyStatus = "http_protocol_error"
	}
	return e
}

func dialStatus(e *dialError) string {
	var dns *net.DNSError
	switch err := e.err; {
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return "dns_timeout"
		}
		return "dns_error"
	case isTimeout(err):
		return "connection_timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection_refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "destination_ip_unroutable"
	case e.handshake:
		return handshakeStatus(err)
	}
	return "destination_unavailable"
}

func handshakeStatus(err error) string {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var alert tls.AlertError
	switch {
	case errors.As(err, &verification), errors.As(err, &unknown), errors.As(err, &hostname):
		return "tls_certificate_error"
	case errors.As(err, &alert):
		return "tls_alert_received"
	}
	return "tls_protocol_error"
}

func timeoutStatus(at stage) string {
	switch at {
	case connecting:
		return "connection_timeout"
	case sending:
		return "connection_write_timeout"
	case awaiting, reading:
	}
	return "http_response_timeout"
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// isClosed reports whether the other side, or this one, ended the connection.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

func isRequestError(err error) bool {
	var r *RequestError
	return errors.As(err, &r)
}

func isCanceled(err error) bool { return errors.Is(err, context.Canceled) }

func failureOf(err error) *failure {
	var f *failure
	errors.As(err, &f)
	return f
}
