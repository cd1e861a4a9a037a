package origin

import (
	"bytes"
	"slices"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/rules"
)

// Request asks for a response to store. It owns its bytes, and may be used by one Fetch at a time.
type Request struct {
	rule   *rules.Rule
	path   []byte
	query  []byte
	fields []cache.Field // what the key is made of, and nothing else of the client's header
}

// NewRequest copies what is forwarded: what in.Path and in.Query hold, and of the header's fields those
// that the key knows, in the form in which it does.
func NewRequest(rule *rules.Rule, in *rules.Input, header func(name string) [][]byte) *Request {
	r := &Request{rule: rule, path: bytes.Clone(in.Path), query: bytes.Clone(in.Query)}
	for i := range rule.Params {
		if p := &rule.Params[i]; p.In == rules.FromHeader {
			r.take(headerName(p), header)
		}
	}
	for _, name := range rule.Vary {
		r.take(name, header)
	}
	var cookies []byte
	for _, part := range rule.Identity {
		if part.Cookie == "" {
			r.take(part.Header, header)
			continue
		}
		for _, line := range header(fasthttp.HeaderCookie) {
			cookies = appendCookies(cookies, line, part.Cookie)
		}
	}
	if len(cookies) > 0 && !r.has(fasthttp.HeaderCookie) {
		r.fields = append(r.fields, cache.Field{Name: []byte(fasthttp.HeaderCookie), Value: cookies})
	}
	return r
}

func headerName(p *rules.Param) string {
	if p.Field != "" {
		return p.Field
	}
	return p.Name
}

// take copies a field, its lines joined as the key has them (RFC 9110 s.5.3). What concerns the connection,
// and conditions, whose answer would be no response to store, are never taken.
func (r *Request) take(name string, header func(name string) [][]byte) {
	lines := header(name)
	if len(lines) == 0 || r.has(name) || isHopByHop([]byte(name), nil) || isCondition(name) {
		return
	}
	var value []byte
	for i, line := range lines {
		if i > 0 {
			value = append(value, ", "...)
		}
		value = append(value, bytes.Trim(line, " \t")...)
	}
	r.fields = append(r.fields, cache.Field{Name: []byte(name), Value: value})
}

func (r *Request) has(name string) bool {
	return slices.ContainsFunc(r.fields, func(f cache.Field) bool { return is(f.Name, name) })
}

// Values returns what the request sends of a field; nil if nothing.
func (r *Request) Values(name string) [][]byte {
	for _, f := range r.fields {
		if is(f.Name, name) {
			return [][]byte{f.Value}
		}
	}
	return nil
}

func isCondition(name string) bool {
	for _, condition := range [...]string{"If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Expect"} {
		if is([]byte(name), condition) {
			return true
		}
	}
	return false
}

// appendCookies appends the named cookie's pairs of one Cookie field, all of them.
func appendCookies(dst, line []byte, name string) []byte {
	for pair := range bytes.SplitSeq(line, []byte{';'}) {
		pair = bytes.Trim(pair, " \t")
		at := bytes.IndexByte(pair, '=')
		if at < 0 || string(bytes.TrimRight(pair[:at], " \t")) != name {
			continue
		}
		if len(dst) > 0 {
			dst = append(dst, "; "...)
		}
		dst = append(dst, name...)
		dst = append(dst, pair[at:]...)
	}
	return dst
}

// head writes the request. What does not come from the key is the same for everybody.
func (r *Request) head(o *Origin, dst []byte) head {
	query := r.query
	if len(query) == 0 {
		query = nil
	}
	h := newHead(dst, fasthttp.MethodGet, o.base, r.path, query)
	host := o.host
	if values := r.Values(fasthttp.HeaderHost); o.config.ForwardHost && values != nil {
		host = string(values[0])
	}
	h.addString(fasthttp.HeaderHost, host)
	for _, constant := range [...]struct{ name, value string }{
		{fasthttp.HeaderUserAgent, pseudonym},
		{fasthttp.HeaderAccept, "*/*"},
		{fasthttp.HeaderAcceptEncoding, "identity"},
	} {
		if !r.has(constant.name) {
			h.addString(constant.name, constant.value)
		}
	}
	for _, f := range r.fields {
		if !is(f.Name, fasthttp.HeaderHost) {
			h.addBytes(f.Name, f.Value)
		}
	}
	h.addString(fasthttp.HeaderVia, "1.1 "+pseudonym)
	h.end()
	return h
}

// Personal reports whether the request carries credentials that are no part of the rule's key: such a
// request is answered by Pass, and neither from the cache nor for it. Cookies count only where the rule
// knows no caller at all; where it names what tells callers apart, other cookies do not, and are not sent.
func Personal(rule *rules.Rule, h *fasthttp.RequestHeader) bool {
	if len(h.Peek(fasthttp.HeaderAuthorization)) > 0 && !names(rule, fasthttp.HeaderAuthorization) {
		return true
	}
	return len(rule.Identity) == 0 && len(h.Peek(fasthttp.HeaderCookie)) > 0 && !names(rule, fasthttp.HeaderCookie)
}

// Answers reports whether a response to the rule's key answers a request that comes from another origin, too. One
// that varies on Origin was selected by its absence, unless the rule keys it: it lacks what lets a page of another
// origin read it. Where the rule says itself who may read, that is not the service's affair.
func Answers(rule *rules.Rule, r *cache.StoredResponse) bool {
	return rule.CORS != nil || !slices.Contains(r.Vary, "origin") || names(rule, fasthttp.HeaderOrigin)
}

// settled reports whether nothing that a response varies on was kept from the service, beside what is settled here:
// the coding, other origins (Answers), and credentials, with which a request passes by.
func settled(rule *rules.Rule, vary []string) bool {
	for _, name := range vary {
		switch name {
		case "accept-encoding", "origin", "cookie", "authorization":
			continue
		}
		if !names(rule, name) {
			return false
		}
	}
	return true
}

// names reports whether the field is part of the rule's key.
func names(rule *rules.Rule, field string) bool {
	for _, part := range rule.Identity {
		if is([]byte(part.Header), field) {
			return true
		}
	}
	for _, name := range rule.Vary {
		if is([]byte(name), field) {
			return true
		}
	}
	for i := range rule.Params {
		if p := &rule.Params[i]; p.In == rules.FromHeader && is([]byte(headerName(p)), field) {
			return true
		}
	}
	return false
}
