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
