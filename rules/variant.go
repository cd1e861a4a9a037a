package rules

import "bytes"

// AppendVariant appends the secondary key of a response that varies on the named request fields
// (RFC 9111 s.4.1): what they say in the request, with the names, so that another list is another key.
func AppendVariant(dst []byte, names []string, header func(string) [][]byte) []byte {
	for _, name := range names {
		dst = appendCounted(dst, []byte(name))
		lines := header(name)
		if !is([]byte(name), "accept-encoding") {
			dst = appendLines(dst, lines)
			continue
		}
		start := len(dst)
		dst = AppendAcceptEncoding(dst, lines)
		dst = seal(dst, start)
	}
	return dst
}

// codings are the content codings that forebay understands, in the order in which it writes them.
var codings = [...]string{"br", "gzip", "zstd"}

// AppendAcceptEncoding appends an Accept-Encoding value for the lines that says no more than which of
// br, gzip and zstd the client takes, and whether it refuses identity; nothing if it takes identity alone.
// This is what AppendVariant keys, so it is also what an upstream must be sent: asked with the client's
// own field, it might choose by a weight or a coding that the key does not know.
func AppendAcceptEncoding(dst []byte, lines [][]byte) []byte {
	start := len(dst)
	for _, coding := range codings {
		if acceptsCoding(lines, coding) {
			dst = appendCoding(dst, start, coding)
		}
	}
	if refusesIdentity(lines) {
		dst = appendCoding(dst, start, "identity;q=0")
	}
	return dst
}

func appendCoding(dst []byte, start int, coding string) []byte {
	if len(dst) > start {
		dst = append(dst, ", "...)
	}
	return append(dst, coding...)
}

// acceptsCoding reports whether the lines give the coding a weight above zero: by its name, else by *.
func acceptsCoding(lines [][]byte, coding string) bool {
	named, zero := findCoding(lines, coding)
	if !named {
		named, zero = findCoding(lines, "*")
	}
	return named && !zero
}

// refusesIdentity : identity is acceptable unless it is excluded by name, or by * and not named
// (RFC 9110 s.12.5.3).
func refusesIdentity(lines [][]byte) bool {
	named, zero := findCoding(lines, "identity")
	if !named {
		_, zero = findCoding(lines, "*")
	}
	return zero
}

// findCoding reports whether the coding is named, and whether with the weight zero.
func findCoding(lines [][]byte, coding string) (named, zero bool) {
	for _, line := range lines {
		for rest := line; len(rest) > 0; {
			element := rest
			rest = nil
			if at := bytes.IndexByte(element, ','); at >= 0 {
				element, rest = element[:at], element[at+1:]
			}
			name, weight, _ := cut(element, ";")
			if name = bytes.Trim(name, " \t"); is(name, coding) || coding == "gzip" && is(name, "x-gzip") {
				return true, isZeroWeight(weight)
			}
		}
	}
	return false, false
}

// isZeroWeight reports whether parameters say q=0, q=0.0 and so on.
func isZeroWeight(parameters []byte) bool {
	parameters = bytes.Trim(parameters, " \t")
	if len(parameters) < 3 || parameters[0]|0x20 != 'q' {
		return false
	}
	value := bytes.TrimLeft(parameters[1:], " \t")
	if len(value) < 2 || value[0] != '=' {
		return false
	}
	value = bytes.TrimLeft(value[1:], " \t")
	return len(value) > 0 && len(bytes.Trim(value, "0.")) == 0
}
