package origin

import (
	"bytes"
	"strconv"
)

// pseudonym is by what name forebay calls itself in Via.
const pseudonym = "forebay"

// hopByHop are the fields that concern one connection and are never forwarded (RFC 9110 s.7.6.1), in lower
// case, with those that frame a message: each side's framing is written anew.
var hopByHop = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "te": true, "trailer": true,
	"transfer-encoding": true, "upgrade": true, "content-length": true,
	"proxy-authenticate": true, "proxy-authorization": true, "proxy-authentication-info": true,
	"http2-settings": true,
}

// isHopByHop reports whether the field ends here, also because its name is none. Connection is the value of
// that field, all its lines.
func isHopByHop(name []byte, connection []byte) bool {
	var room [32]byte
	if len(name) <= len(room) && hopByHop[string(lower(room[:0], name))] {
		return true
	}
	return tokenLength(name) != len(name) || listed(connection, name)
}

func lower(dst, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// listed reports whether a comma-separated list has the member, in any case.
func listed(list, member []byte) bool {
	for len(list) > 0 {
		m := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			m, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if bytes.EqualFold(bytes.Trim(m, " \t"), member) {
			return true
		}
	}
	return false
}

func listedString(list []byte, member string) bool { return listed(list, []byte(member)) }

// is compares field names.
func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// head is a request's header as it goes out: a request line and fields, written one after the other.
type head []byte

// newHead begins a request. The target travels as it is; one without a path asks for the root, and an
// asterisk is about the service, not about a place in it.
func newHead(dst []byte, method, base string, path, query []byte) head {
	h := append(head(dst), method...)
	h = append(h, ' ')
	if string(path) != "*" {
		h = append(h, base...)
	}
	if len(path) == 0 && base == "" {
		h = append(h, '/')
	}
	h = append(h, path...)
	if query != nil {
		h = append(h, '?')
		h = append(h, query...)
	}
	return append(h, " HTTP/1.1\r\n"...)
}

func (h *head) add(name string, value []byte) { h.addBytes([]byte(name), value) }

func (h *head) addBytes(name, value []byte) {
	*h = append(*h, name...)
	*h = append(*h, ": "...)
	*h = append(*h, value...)
	*h = append(*h, '\r', '\n')
}

func (h *head) addString(name, value string) {
	*h = append(*h, name...)
	*h = append(*h, ": "...)
	*h = append(*h, value...)
	*h = append(*h, '\r', '\n')
}

func (h *head) addLength(n int) {
	*h = append(*h, "Content-Length: "...)
	*h = strconv.AppendInt(*h, int64(n), 10)
	*h = append(*h, '\r', '\n')
}

func (h *head) end() { *h = append(*h, '\r', '\n') }

// via returns what forebay adds to Via for a message that came by the protocol, HTTP/1.1 for one.
func via(protocol []byte) string {
	if bytes.Equal(protocol, []byte("HTTP/1.0")) {
		return "1.0 " + pseudonym
	}
	return "1.1 " + pseudonym
}
