package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// A key is a sequence of parts whose number the rule's generation fixes, so no two sequences are one text:
//
//	prefix                        uvarint length, rule name, 8 bytes of generation
//	path, query                   of an upstream rule, as they are forwarded
//	parameters                    of path, query string and body, in their order
//	@body                         if a statement binds it
//	────────────────────────────  AppendKeyOf ends here
//	method, content type, body    of an upstream rule, as they are forwarded
//	header parameters
//	Accept                        if it chooses between forms that may be stored
//	vary                          the fields' values
//	identity                      digests of the values
//
// Each part is a marker and what it announces: absent (NULL), a length and that many bytes, or the SHA-256
// digest of what would be long. A key is thus bounded however long its request is, and nobody can find two
// requests with one digest.
const (
	partAbsent byte = iota
	partText
	partDigest
)

// maxPart is up to how many bytes a part stands in the key itself.
const maxPart = 512

// Compile fills what the rule derives from its other fields: its key prefix with its generation, and the
// tables by which parameters are read. Load calls it when all fields are set; none is set after it.
func (r *Rule) Compile() error {
	err := errors.Join(r.compileFields(), compilePatterns(r.Params))
	if r.Batch != nil {
		for i := range r.Batch.Item {
			r.Batch.Item[i].In = FromBody
		}
		err = errors.Join(err, compilePatterns(r.Batch.Item))
	}
	if err != nil {
		return fmt.Errorf("compile rule %q: %w", r.Name, err)
	}
	r.generation = r.newGeneration()
	r.prefix = binary.AppendUvarint(nil, uint64(len(r.Name)))
	r.prefix = append(r.prefix, r.Name...)
	r.prefix = append(r.prefix, r.generation[:]...)
	return nil
}

// KeyPrefix returns what every key of the rule begins with. Not to be written.
func (r *Rule) KeyPrefix() []byte { return r.prefix }

// AppendKeyOf appends the key without what the request's header adds to it: every key for these
// parameters begins with it.
func (r *Rule) AppendKeyOf(dst []byte, in *Input) []byte {
	dst = append(dst, r.prefix...)
	if r.Upstream != "" {
		dst = appendPart(dst, in.Path)
		dst = appendPart(dst, in.Query)
	}
	for _, i := range r.fields.keyed {
		dst = appendArgument(dst, &in.Arguments[i])
	}
	if r.fields.bindBody {
		dst = appendPart(dst, in.Body)
	}
	return dst
}

// AppendKey appends the key of the request: rule, parameters, vary fields, identity.
func (r *Rule) AppendKey(dst []byte, req *Request, in *Input) []byte {
	dst = r.AppendKeyOf(dst, in)
	if r.Upstream != "" {
		dst = appendForwarded(dst, req)
	}
	for _, i := range r.fields.header {
		if r.Upstream != "" {
			dst = appendLines(dst, req.Header(r.Params[i].field()))
		} else {
			dst = appendArgument(dst, &in.Arguments[i])
		}
	}
	if r.fields.accept {
		dst = appendLines(dst, req.Header("Accept"))
	}
	for _, name := range r.Vary {
		dst = appendLines(dst, req.Header(name))
	}
	for _, part := range r.Identity {
		dst = part.appendKey(dst, req)
	}
	return dst
}

// appendForwarded appends what decides an upstream's answer beside path, query string and header. HEAD is
// answered from GET's response.
func appendForwarded(dst []byte, req *Request) []byte {
	method := req.Method
	if method == "HEAD" {
		method = "GET"
	}
	start := len(dst)
	dst = seal(append(dst, method...), start)
	if len(req.Body) == 0 {
		return append(dst, partAbsent)
	}
	return appendPart(appendPart(dst, req.ContentType), req.Body)
}

func appendArgument(dst []byte, a *Argument) []byte {
	if !a.Present {
		return append(dst, partAbsent)
	}
	return appendPart(dst, a.Text)
}

// appendPart appends a part that is there, be it empty.
func appendPart(dst, text []byte) []byte {
	if len(text) > maxPart {
		sum := sha256.Sum256(text)
		return append(append(dst, partDigest), sum[:]...)
	}
	dst = append(dst, partText)
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

// seal makes dst[start:] a part.
func seal(dst []byte, start int) []byte {
	n := len(dst) - start
	if n > maxPart {
		return digest(dst, start)
	}
	var head [1 + binary.MaxVarintLen64]byte
	head[0] = partText
	size := 1 + binary.PutUvarint(head[1:], uint64(n))
	dst = append(dst, head[:size]...)
	copy(dst[start+size:], dst[start:start+n])
	copy(dst[start:], head[:size])
	return dst
}

// digest makes dst[start:] a part that does not show its text.
func digest(dst []byte, start int) []byte {
	sum := sha256.Sum256(dst[start:])
	dst = append(dst[:start], partDigest)
	return append(dst, sum[:]...)
}

// appendLines appends the value of a field: its lines, trimmed, joined as RFC 9110 s.5.3 joins them.
func appendLines(dst []byte, lines [][]byte) []byte {
	if len(lines) == 0 {
		return append(dst, partAbsent)
	}
	start := len(dst)
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, bytes.Trim(line, " \t")...)
	}
	return seal(dst, start)
}

// appendKey appends the part's values as sent, every one of them, as a digest: they are credentials, and
// keys are written to Redis.
func (p IdentityPart) appendKey(dst []byte, req *Request) []byte {
	start := len(dst)
	if p.Cookie == "" {
		for _, line := range req.Header(p.Header) {
			dst = appendCounted(dst, line)
		}
	} else {
		for _, line := range req.Header("Cookie") {
			dst = p.appendCookies(dst, line)
		}
	}
	if len(dst) == start {
		return append(dst, partAbsent)
	}
	return digest(dst, start)
}

// appendCookies appends the values of the cookie's name in one Cookie field. A browser may send several,
// and it is the upstream's affair which one it takes.
func (p IdentityPart) appendCookies(dst, line []byte) []byte {
	for len(line) > 0 {
		pair := line
		if at := bytes.IndexByte(line, ';'); at >= 0 {
			pair, line = line[:at], line[at+1:]
		} else {
			line = nil
		}
		pair = bytes.Trim(pair, " \t")
		at := bytes.IndexByte(pair, '=')
		if at >= 0 && string(bytes.TrimRight(pair[:at], " \t")) == p.Cookie {
			dst = appendCounted(dst, pair[at+1:])
		}
	}
	return dst
}

func appendCounted(dst, text []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}
