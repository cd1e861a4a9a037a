package cache

import "bytes"

// MatchesETag reports whether an If-None-Match value names the entity tag, by the weak comparison that
// RFC 9110 s.13.1.2 asks for: * does, and W/"x" is "x". A malformed value matches nothing from where it is
// malformed on, which costs a full response and is never wrong. It allocates nothing.
func MatchesETag(tags, etag []byte) bool {
	if len(etag) == 0 {
		return false
	}
	tags = bytes.Trim(tags, " \t")
	if len(tags) == 1 && tags[0] == '*' {
		return true
	}
	opaque := withoutWeakness(etag)
	for {
		tags = bytes.TrimLeft(tags, " \t,")
		tag := withoutWeakness(tags)
		if len(tag) == 0 || tag[0] != '"' {
			return false
		}
		end := bytes.IndexByte(tag[1:], '"')
		if end < 0 {
			return false
		}
		rest := bytes.TrimLeft(tag[end+2:], " \t")
		if len(rest) > 0 && rest[0] != ',' {
			return false
		}
		if bytes.Equal(tag[:end+2], opaque) {
			return true
		}
		tags = rest
	}
}

func withoutWeakness(tag []byte) []byte {
	if len(tag) >= 2 && tag[0] == 'W' && tag[1] == '/' {
		return tag[2:]
	}
	return tag
}

// EncodedTag returns the entity tag of a body under a coding: strong ones differ where bytes do (RFC 9110
// s.8.8.1). It is nil for what is no entity tag.
func EncodedTag(tag []byte, coding string) []byte {
	if len(tag) < 2 || tag[len(tag)-1] != '"' {
		return nil
	}
	out := make([]byte, 0, len(tag)+1+len(coding))
	out = append(out, tag[:len(tag)-1]...)
	out = append(out, '-')
	out = append(out, coding...)
	return append(out, '"')
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
			if bytes.HasSuffix(rest[:start], []byte("W/")) {
				dst = append(dst, "W/"...)
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
