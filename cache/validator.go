package cache

import (
	"bytes"
	"strings"
)

// MatchesETag reports whether an If-None-Match value names the entity tag, by the weak comparison that
// RFC 9110 s.13.1.2 asks for: * does, and W/"x" is "x". A malformed value matches nothing from where it is
// malformed on, which costs a full response and is never wrong. It allocates nothing.
func MatchesETag(tags []byte, etag string) bool {
	if etag == "" {
		return false
	}
	if namesAny(tags) {
		return true
	}
	opaque := strings.TrimPrefix(etag, "W/")
	for tag, rest := nextETag(tags); tag != nil; tag, rest = nextETag(rest) {
		if string(bytes.TrimPrefix(tag, weakness)) == opaque {
			return true
		}
	}
	return false
}

// MatchesETagStrongly is MatchesETag for an If-Match value, by the strong comparison of RFC 9110 s.13.1.1: what is
// weak names nothing.
func MatchesETagStrongly(tags []byte, etag string) bool {
	if !strings.HasPrefix(etag, `"`) {
		return false
	}
	if namesAny(tags) {
		return true
	}
	for tag, rest := nextETag(tags); tag != nil; tag, rest = nextETag(rest) {
		if string(tag) == etag {
			return true
		}
	}
	return false
}

func namesAny(tags []byte) bool { return string(bytes.Trim(tags, " \t")) == "*" }

// nextETag cuts the first entity tag off a list; nil if there is none, or none that is well formed.
func nextETag(tags []byte) (tag, rest []byte) {
	tags = bytes.TrimLeft(tags, " \t,")
	opaque := bytes.TrimPrefix(tags, weakness)
	if len(opaque) == 0 || opaque[0] != '"' {
		return nil, nil
	}
	end := bytes.IndexByte(opaque[1:], '"')
	if end < 0 {
		return nil, nil
	}
	tag, rest = tags[:len(tags)-len(opaque)+end+2], opaque[end+2:]
	if more := bytes.TrimLeft(rest, " \t"); len(more) > 0 && more[0] != ',' {
		return nil, nil
	}
	return tag, rest
}

// weakness is what a weak entity tag begins with.
var weakness = []byte("W/")

// EncodedTag returns the entity tag of a body under a coding: strong ones differ where bytes do (RFC 9110
// s.8.8.1). It is empty for what is no entity tag.
func EncodedTag(tag, coding string) string {
	opaque, ended := strings.CutSuffix(tag, `"`)
	if !ended || opaque == "" {
		return ""
	}
	return opaque + "-" + coding + `"`
}

// AppendPlainTags appends an If-Match or If-None-Match value, and behind it the tags that its own are EncodedTags
// of. Who compressed a response for its client knows the tag that the client has of it; who made the response does
// not, and would find every condition of that client false.
func AppendPlainTags(dst, tags []byte) []byte {
	dst = append(dst, tags...)
	for rest := tags; ; {
		start := bytes.IndexByte(rest, '"')
		if start < 0 {
			return dst
		}
		end := bytes.IndexByte(rest[start+1:], '"')
		if end < 0 {
			return dst
		}
		end += start + 1
		if plain := withoutCoding(rest[start:end]); plain != nil {
			dst = append(dst, ", "...)
			if bytes.HasSuffix(rest[:start], weakness) {
				dst = append(dst, weakness...)
			}
			dst = append(append(dst, plain...), '"')
		}
		rest = rest[end+1:]
	}
}

// withoutCoding returns a tag, without its last quotation mark, as it is without a coding; nil if it names none.
func withoutCoding(tag []byte) []byte {
	for _, coding := range offered {
		plain, ended := bytes.CutSuffix(tag, []byte(coding))
		if ended && bytes.HasSuffix(plain, []byte("-")) {
			return plain[:len(plain)-1]
		}
	}
	return nil
}
