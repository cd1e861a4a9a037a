package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/rules"
)

// fieldsOf returns what every response of a SQL rule has; those of an upstream have what came with them.
func fieldsOf(r *rules.Rule) []cache.Field {
	if r.Upstream != "" {
		return nil
	}
	control := "no-cache"
	if len(r.Identity) > 0 {
		control = "private, no-cache"
	}
	fields := []cache.Field{{Name: []byte(fasthttp.HeaderCacheControl), Value: []byte(control)}}
	return fields[:1:1] // shared: whoever appends gets a copy
}

// makeHead joins the fields that all responses with these Traits have, once instead of per hit, and finds out whether
// they may be compressed, whatever an older version of whoever stored them thought of that.
//
// fasthttp copies a field's name as it is (SetCanonical says that it must be canonical already), so what never
// changes travels as one name: the fields as they came, Vary, and at last Etag, whose value follows. A test
// reads them back from a connection. What fasthttp writes in its own way is not for a name: with such a field,
// but for Server, there is no head.
func (t *route) makeHead(c *cache.Traits) {
	c.Compressible = compressible(c)
	var h fasthttp.ResponseHeader
	h.SetNoDefaultContentType(true)
	var server []byte
	for _, f := range c.Header {
		switch {
		case bytes.EqualFold(f.Name, []byte(fasthttp.HeaderServer)) && len(f.Value) > 0:
			server = f.Value
		case isSpecial(f.Name):
			return
		default:
			h.AddBytesKV(f.Name, f.Value)
		}
	}
	var block []byte
	for name, value := range h.All() { // canonical, and without the line ends that somebody may have smuggled in
		if bytes.ContainsAny(name, "\r\n: ") || bytes.ContainsAny(value, "\r\n") {
			return
		}
		block = append(append(append(append(block, name...), ": "...), value...), "\r\n"...)
	}
	line := func(vary ...[]byte) []byte {
		name := bytes.Clone(block)
		for _, v := range vary {
			if len(v) > 0 {
				name = append(append(append(name, "Vary: "...), v...), "\r\n"...)
			}
		}
		name = append(name, fieldETag...)
		return name[:len(name):len(name)]
	}
	c.Head = &cache.Head{Server: server, Name: line(t.vary), Offered: line(t.vary, acceptEncoding)}
}

// isSpecial reports whether fasthttp writes the field from somewhere else than where it keeps the others.
func isSpecial(name []byte) bool {
	if len(name) == 0 {
		return true
	}
	for _, special := range [...]string{
		fasthttp.HeaderContentType, fasthttp.HeaderContentEncoding, fasthttp.HeaderContentLength, fasthttp.HeaderConnection,
		fasthttp.HeaderServer, fasthttp.HeaderSetCookie, fasthttp.HeaderTransferEncoding, fasthttp.HeaderTrailer, fasthttp.HeaderDate,
	} {
		if bytes.EqualFold(name, []byte(special)) {
			return true
		}
	}
	return false
}
