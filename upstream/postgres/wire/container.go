package wire

import "bytes"

// maxDimensions is Postgres's own limit for arrays (MAXDIM).
const maxDimensions = 6

// appendArray writes the text output of an array: {1,NULL,"a \"b\""}, with bounds before it when they
// are not 1 ([0:1]={1,2}), which to_json drops.
func (f *form) appendArray(dst, value []byte) ([]byte, error) {
	if f.element.isText() {
		if out, ok := f.appendTexts(dst, value); ok {
			return out, nil
		}
	}
	text := value
	if len(text) > 0 && text[0] == '[' {
		_, text, _ = bytes.Cut(text, []byte("="))
	}
	dst, rest, err := f.appendDimension(dst, text, 1)
	if err == nil && len(rest) > 0 {
		err = mismatch("array", value)
	}
	return dst, err
}

// appendTexts writes what most arrays of texts are: of one dimension, with bounds from 1, and nothing in their
// elements that has to be escaped here or was there. Not ok: it is not of these, and nothing is written.
func (f *form) appendTexts(dst, value []byte) (out []byte, ok bool) {
	last := len(value) - 1
	if last < 2 || value[0] != '{' || value[last] != '}' {
		return dst, false
	}
	out = append(dst, '[')
	for i := 1; ; i++ {
		start := i
		if value[i] == '"' {
			i += 1 + plainPrefix(value[i+1:])
			if i >= last || value[i] != '"' {
				return dst, false
			}
			i++
			out = append(out, value[start:i]...)
		} else {
			for value[i] != f.delimiter && value[i] != '}' {
				if c := value[i]; c < ' ' || c == '"' || c == '\\' || c == '{' {
					return dst, false
				}
				i++
			}
			switch {
			case i == start:
				return dst, false
			case string(value[start:i]) == "NULL":
				out = append(out, "null"...)
			default:
				out = append(append(append(out, '"'), value[start:i]...), '"')
			}
		}
		switch {
		case i == last:
			return append(out, ']'), true
		case value[i] != f.delimiter:
			return dst, false
		}
		out = append(out, ',')
	}
}

// appendDimension writes one {…} of an array and returns what follows it.
func (f *form) appendDimension(dst, text []byte, depth int) (out, rest []byte, err error) {
	if len(text) < 2 || text[0] != '{' || depth > maxDimensions {
		return dst, nil, mismatch("array", text)
	}
	dst, text = append(dst, '['), text[1:]
	if text[0] == '}' {
		return append(dst, ']'), text[1:], nil
	}
	for {
		if len(text) > 0 && text[0] == '{' {
			dst, text, err = f.appendDimension(dst, text, depth+1)
		} else {
			dst, text, err = f.appendElement(dst, text)
		}
		switch {
		case err != nil:
			return dst, nil, err
		case len(text) > 0 && text[0] == '}':
			return append(dst, ']'), text[1:], nil
		case len(text) > 0 && text[0] == f.delimiter:
			dst, text = append(dst, ','), text[1:]
		default:
			return dst, nil, mismatch("array", text)
		}
	}
}

// appendElement writes one element of an array and returns what follows it.
func (f *form) appendElement(dst, text []byte) (out, rest []byte, err error) {
	if len(text) > 0 && text[0] == '"' {
		token, ok := cutQuoted(text)
		if !ok {
			return dst, nil, mismatch("array", text)
		}
		dst, err = f.element.appendToken(dst, token)
		return dst, token.rest, err
	}
	end := 0
	for end < len(text) && text[end] != f.delimiter && text[end] != '}' {
		end++
	}
	if end == 0 || end == len(text) {
		return dst, nil, mismatch("array", text)
	}
	if string(text[:end]) == "NULL" {
		return append(dst, "null"...), text[end:], nil
	}
	dst, err = f.element.append(dst, text[:end])
	return dst, text[end:], err
}

// appendComposite writes the text output of a composite: (1,,"a ""b"""). Nothing between two commas is
// NULL; an empty string is quoted.
func (f *form) appendComposite(dst, value []byte) ([]byte, error) {
	if len(value) < 2 || value[0] != '(' {
		return dst, mismatch("composite", value)
	}
	if len(f.fields) == 0 {
		if string(value) != "()" {
			return dst, mismatch("composite", value)
		}
		return append(dst, "{}"...), nil
	}
	text := value[1:]
	for i := range f.fields {
		token, ok := cutToken(text, ',', ')')
		end := byte(',')
		if i == len(f.fields)-1 {
			end = ')'
		}
		// More or fewer fields than the catalogue knows: the type was altered.
		if !ok || token.rest[0] != end {
			return dst, mismatch("composite", value)
		}
		dst = f.fields[i].appendKey(dst)
		if len(token.text) == 0 && !token.quoted {
			dst = append(dst, "null"...)
		} else {
			var err error
			if dst, err = f.fields[i].form.appendToken(dst, token); err != nil {
				return dst, err
			}
		}
		text = token.rest[1:]
	}
	if len(text) > 0 {
		return dst, mismatch("composite", value)
	}
	return append(dst, '}'), nil
}

// appendVector writes the text output of an int2vector or oidvector: 1 2 3.
func (f *form) appendVector(dst, value []byte) ([]byte, error) {
	dst = append(dst, '[')
	for rest := value; len(rest) > 0; {
		if len(rest) < len(value) {
			dst = append(dst, ',')
		}
		var one []byte
		one, rest, _ = bytes.Cut(rest, []byte(" "))
		var err error
		if dst, err = f.element.append(dst, one); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// appendHstore writes the text output of an hstore, "a"=>"1", "b"=>NULL, as the extension's cast to json
// does, blanks included.
func appendHstore(dst, value []byte) ([]byte, error) {
	text := form{kind: kindText}
	dst = append(dst, '{')
	for rest := value; len(rest) > 0; {
		key, ok := cutToken(rest, '=', '=')
		if !ok || !key.quoted || !bytes.HasPrefix(key.rest, []byte("=>")) {
			return dst, mismatch("hstore", value)
		}
		dst, _ = text.appendToken(dst, key)
		dst = append(dst, ": "...)
		rest = key.rest[2:]
		if after, isNull := bytes.CutPrefix(rest, []byte("NULL")); isNull {
			dst, rest = append(dst, "null"...), after
		} else {
			one, ok := cutQuoted(rest)
			if !ok {
				return dst, mismatch("hstore", value)
			}
			dst, _ = text.appendToken(dst, one)
			rest = one.rest
		}
		if len(rest) == 0 {
			break
		}
		if rest, ok = bytes.CutPrefix(rest, []byte(", ")); !ok || len(rest) == 0 {
			return dst, mismatch("hstore", value)
		}
		dst = append(dst, ", "...)
	}
	return append(dst, '}'), nil
}

// token is a value within the text output of a container. It points into that text.
type token struct {
	text    []byte // without its quotes
	rest    []byte // what follows it
	quoted  bool
	escaped bool // text holds escapes
}

// cutToken cuts the value at the beginning of text, which ends before the delimiter or the closing
// byte; one of them is the first byte of rest.
func cutToken(text []byte, delimiter, closing byte) (token, bool) {
	if len(text) > 0 && text[0] == '"' {
		t, ok := cutQuoted(text)
		return t, ok && len(t.rest) > 0 && (t.rest[0] == delimiter || t.rest[0] == closing)
	}
	for i, c := range text {
		if c == delimiter || c == closing {
			return token{text: text[:i], rest: text[i:]}, true
		}
	}
	return token{}, false
}

// cutQuoted cuts the quoted value at the beginning of text. Within it a backslash escapes the next
// byte, and in composites a quote is doubled.
func cutQuoted(text []byte) (token, bool) {
	if len(text) == 0 || text[0] != '"' {
		return token{}, false
	}
	t := token{quoted: true}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			t.escaped = true
			i++
		case text[i] == '"' && i+1 < len(text) && text[i+1] == '"':
			t.escaped = true
			i++
		case text[i] == '"':
			t.text, t.rest = text[1:i], text[i+1:]
			return t, true
		}
	}
	return token{}, false
}

// appendToken writes a value found in a container. Escapes are undone at the end of dst, where there is
// room without allocating, and what was written behind is then moved over it.
func (f *form) appendToken(dst []byte, t token) ([]byte, error) {
	if !t.escaped {
		return f.append(dst, t.text)
	}
	start := len(dst)
	dst = appendUnescaped(dst, t.text)
	end := len(dst)
	dst, err := f.append(dst, dst[start:end])
	n := copy(dst[start:], dst[end:])
	return dst[:start+n], err
}

// appendUnescaped undoes the escapes of a quoted value: of a backslash or a quote and the byte after it,
// that byte is left.
func appendUnescaped(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' || text[i] == '"' {
			i++
		}
		dst = append(dst, text[i])
	}
	return dst
}
