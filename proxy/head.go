package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/rules"
)

// plainHead is what the header of every response of a SQL rule has, joined once instead of per hit. Immutable.
//
// fasthttp copies a field's name as it is (SetCanonical says that it must be canonical already), so the fields
// that never change travel as one name: Cache-Control, Vary, and at last Etag, whose value follows. A test
// reads them back from a connection.
type plainHead struct {
	fields  []cache.Field // what a stored response has of it
	name    []byte        // of clients that are offered no encodings
	offered []byte        // and of those that are
}

// newPlainHead makes a rule's; an upstream's responses have the fields that came with them, and none.
func newPlainHead(r *rules.Rule, vary []byte) plainHead {
	if r.Upstream != "" {
		return plainHead{}
	}
	control := "no-cache"
	if len(r.Identity) > 0 {
		control = "private, no-cache"
	}
	block := []byte("Cache-Control: " + control + "\r\n")
	encodings := []byte("Vary: ")
	if len(vary) > 0 {
		encodings = append(append(encodings, vary...), ", "...)
	}
	encodings = append(encodings, "Accept-Encoding\r\nEtag"...)
	h := plainHead{fields: []cache.Field{{Name: []byte(fasthttp.HeaderCacheControl), Value: []byte(control)}}}
	h.fields = h.fields[:1:1] // shared: whoever appends gets a copy
	h.offered = append(bytes.Clone(block), encodings...)
	if len(vary) > 0 {
		block = append(append(append(block, "Vary: "...), vary...), "\r\n"...)
	}
	h.name = append(block, "Etag"...)
	return h
}

// write writes the header of a plain response. False: it is none, and nothing was written.
func (h *plainHead) write(to *fasthttp.ResponseHeader, r *cache.StoredResponse, etag []byte, offered bool) bool {
	if len(h.fields) == 0 || len(r.Header) != 1 || len(etag) == 0 || !h.same(&r.Header[0]) {
		return false
	}
	if offered {
		to.SetCanonical(h.offered, etag)
	} else {
		to.SetCanonical(h.name, etag)
	}
	return true
}

// adopt has a response that came from elsewhere share the rule's fields, if it has the same.
func (h *plainHead) adopt(r *cache.StoredResponse) {
	if len(h.fields) == 1 && len(r.Header) == 1 && h.same(&r.Header[0]) {
		r.Header = h.fields
	}
}

// same reports whether the field is the rule's own; mostly it is the very one.
func (h *plainHead) same(f *cache.Field) bool {
	own := &h.fields[0]
	return f == own || bytes.Equal(f.Name, own.Name) && bytes.Equal(f.Value, own.Value)
}
