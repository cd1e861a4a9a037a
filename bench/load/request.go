package load

import (
	"strconv"
)

// Request is one request, ready to be written. Immutable, safe for concurrent use.
type Request struct {
	// Class groups requests in the results: "by-id", "write".
	Class string
	// Want is the status that the right answer has; 0: any of 200 to 299.
	Want int

	method string
	bytes  []byte // the whole request, but for the Host field's value
}

// NewRequest makes a request. A body goes out as JSON.
func NewRequest(class, method, target, body string) *Request {
	return NewRequestWith(class, method, target, body, "")
}

// NewRequestWith is NewRequest with further header fields, each ended by CR LF.
func NewRequestWith(class, method, target, body, fields string) *Request {
	text := method + " " + target + " HTTP/1.1\r\nHost: bench\r\nUser-Agent: forebay-bench\r\nAccept: */*\r\n" + fields
	if body != "" || method != "GET" && method != "HEAD" && method != "PURGE" {
		text += "Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return &Request{Class: class, method: method, bytes: []byte(text + "\r\n" + body)}
}

// right reports whether the status is the one that was wanted.
func (r *Request) right(status int) bool {
	if r.Want != 0 {
		return status == r.Want
	}
	return status >= 200 && status < 300
}
