package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// locateInBody notes where the declared fields stand in a JSON body, and where the items of a batch do.
func (rd *reading) locateInBody() *InputError {
	if !isJSONType(rd.req.ContentType) {
		return &InputError{Status: 415, Detail: "the request body must be application/json, not " + shown(rd.req.ContentType, Text)}
	}
	wanted := "an object"
	if rd.rule.Batch != nil {
		wanted = "an array of objects"
	}
	if len(bytes.TrimSpace(rd.req.Body)) == 0 {
		return badBody("the request has no body; want JSON, " + wanted)
	}
	kind, err := byte('{'), error(nil)
	if rd.rule.Batch != nil {
		kind = '['
		err = rd.locateItems(rd.req.Body)
	} else {
		err = rd.in.locateFields(rd.req.Body, rd.rule.Params, rd.in.given)
	}
	switch {
	case errors.Is(err, errKind):
		return badBody("the request body must be " + wanted)
	case err != nil:
		return badBody(jsonFault(err))
	case kind == '[' && rd.rule.Batch.MaxItems > 0 && rd.in.items > rd.rule.Batch.MaxItems:
		many := badBody(fmt.Sprintf("the request must have at most %s, not %d", counted(rd.rule.Batch.MaxItems, "item"), rd.in.items))
		many.TooMany = true
		return many
	}
	return nil
}

func badBody(detail string) *InputError { return &InputError{Status: 400, Detail: detail} }

// errKind : the JSON is no object, or no array.
var errKind = errors.New("JSON of another kind")

// jsonFault says where a body stops being JSON.
func jsonFault(err error) string {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		if errors.As(err, &syntax) {
			return "the request body has a name twice in one object: " + shown([]byte(syntax.JSONPointer), Text)
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the request body must be valid JSON; it ends too early"
	case errors.As(err, &syntax):
		return fmt.Sprintf("the request body must be valid JSON; it is broken at byte %d", syntax.ByteOffset)
	}
	return "the request body must be valid JSON and nothing behind it"
}

// isJSONType reports whether a Content-Type is absent or a JSON one: application/json, application/x+json.
func isJSONType(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	media = bytes.Trim(media, " \t")
	if len(media) == 0 {
		return len(bytes.Trim(contentType, " \t")) == 0
	}
	suffix := media[max(0, len(media)-len("+json")):]
	return is(media, "application/json") || is(suffix, "+json") && is(media[:min(len(media), len("application/"))], "application/")
}

// decode starts the decoder on a JSON text.
func (in *Input) decode(text []byte) *jsontext.Decoder {
	in.body.Reset(text)
	if in.decoder == nil {
		in.decoder = jsontext.NewDecoder(&in.body)
	} else {
		in.decoder.Reset(&in.body)
	}
	return in.decoder
}

// nextValue reads one value and returns it as it stands in text, which the decoder was started on.
func nextValue(dec *jsontext.Decoder, text []byte) ([]byte, error) {
	value, err := dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(dec.InputOffset())
	return text[end-len(value) : end], nil
}

// open reads the value's opening bracket.
func open(dec *jsontext.Decoder, kind jsontext.Kind) error {
	if dec.PeekKind() != kind {
		if _, err := dec.ReadValue(); err != nil {
			return err
		}
		return errKind
	}
	_, err := dec.ReadToken()
	return err
}

// end reads the closing bracket, and makes sure that nothing follows.
func end(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("another value behind the first")
		}
		return err
	}
	return nil
}

// locateFields notes where an object has the parameters' values. All of it is read: it must be valid, and
// have no name twice.
func (in *Input) locateFields(text []byte, params []Param, found []given) error {
	dec := in.decode(text)
	if err := open(dec, '{'); err != nil {
		return err
	}
	for dec.PeekKind() == '"' {
		name, err := nextValue(dec, text)
		if err != nil {
			return err
		}
		i := in.bodyParam(params, name)
		value, err := nextValue(dec, text)
		if err != nil {
			return err
		}
		if i >= 0 {
			found[i] = given{text: value, times: 1}
		}
	}
	return end(dec)
}

// bodyParam returns the index of the parameter that a JSON string names; -1 if there is none.
func (in *Input) bodyParam(params []Param, name []byte) int {
	name, inside := name[1:len(name)-1], name
	if bytes.IndexByte(name, '\\') >= 0 {
		name, _ = jsontext.AppendUnquote(nil, inside)
	}
	for i := range params {
		if params[i].In == FromBody && params[i].field() == string(name) {
			return i
		}
	}
	return -1
}

// readField brings a value of a JSON body into its normal form.
func (rd *reading) readField(p *Param, g *given, a *Argument) *fault {
	in, start := rd.in, len(rd.in.scratch)
	if g.times > 0 && g.text[0] == 'n' {
		if p.Nullable {
			return nil
		}
		if !p.omissible() {
			return wrong("must not be null")
		}
		g.times = 0
	}
	// What only reads is asked as in a query string, where an empty optional parameter is one that is not there.
	if rd.rule.Reads && p.omissible() && string(g.text) == `""` {
		g.times = 0
	}
	if g.times == 0 {
		return rd.absent(p, a)
	}
	var f *fault
	if p.List {
		in.scratch, f = in.appendArray(p, g.text)
	} else {
		in.scratch, f = p.appendFromJSON(in.scratch, g.text)
	}
	if f != nil {
		return f
	}
	a.Present, a.Text = true, in.scratch[start:]
	return nil
}

// appendArray appends the normal form of a JSON array to scratch.
func (in *Input) appendArray(p *Param, text []byte) ([]byte, *fault) {
	if text[0] != '[' {
		return in.scratch, wrong("must be an array, not %s", shownJSON(text))
	}
	dec := in.decode(text)
	if _, err := dec.ReadToken(); err != nil {
		return in.scratch, wrong("must be an array")
	}
	l := newList(p, in.scratch, &in.unique)
	for dec.PeekKind() != ']' {
		item, err := nextValue(dec, text)
		if err != nil {
			return in.scratch, wrong("must be an array")
		}
		if f := l.add(item, (*Param).appendFromJSON); f != nil {
			return in.scratch, f
		}
	}
	return l.close()
}

// appendFromJSON appends the normal form of one JSON value. A value of another JSON type than the
// parameter's is wrong, except that a whole number may be written with a point or an exponent.
func (p *Param) appendFromJSON(dst, value []byte) ([]byte, *fault) {
	kind := value[0]
	switch p.Type {
	case JSON:
		return p.appendJSONText(dst, value)
	case Bool:
		if kind == 't' || kind == 'f' {
			return append(dst, value...), nil
		}
	case Int, Number:
		if kind == '-' || '0' <= kind && kind <= '9' {
			return p.appendFromNumber(dst, value)
		}
	case Text, UUID, Enum, Date, Timestamptz, Email:
		if kind != '"' {
			break
		}
		if bytes.IndexByte(value, '\\') < 0 {
			return p.appendScalar(dst, value[1:len(value)-1])
		}
		text, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return dst, wrong("must be UTF-8")
		}
		return p.appendScalar(dst, text)
	}
	return dst, wrong("must be %s, not %s", p.wanted(nil), shownJSON(value))
}

func (p *Param) appendFromNumber(dst, value []byte) ([]byte, *fault) {
	if p.Type == Number || !bytes.ContainsAny(value, ".eE") {
		return p.appendScalar(dst, value)
	}
	whole, ok := appendNumber(nil, value)
	if !ok || bytes.IndexByte(whole, '.') >= 0 {
		return dst, p.unlike(value)
	}
	return p.appendScalar(dst, whole)
}

// shownJSON names a value of the wrong JSON type.
func shownJSON(value []byte) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "the text " + shown(value[1:len(value)-1], Text)
	case 'n', 't', 'f':
		return string(value)
	}
	return shown(value, Number)
}

// appendBody writes the object of the declared fields that were given, in the order of their declaration.
func (rd *reading) appendBody(params []Param, arguments []Argument, found []given) []byte {
	start := len(rd.in.scratch)
	dst := append(rd.in.scratch, '{')
	for i := range params {
		if params[i].In != FromBody || found[i].times == 0 {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst, _ = jsontext.AppendQuote(dst, params[i].field())
		dst = append(dst, ':')
		dst = params[i].AppendJSON(dst, arguments[i])
	}
	dst = append(dst, '}')
	rd.in.scratch = dst
	return dst[start:]
}
