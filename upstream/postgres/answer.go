package postgres

import (
	"bytes"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"forebay/cache"
	"forebay/rules"
	"forebay/upstream/postgres/wire"
)

var contentTypeJSON = []byte("application/json")

// answer makes the response of a call out of its statements' results.
type answer struct {
	call    Call
	results []result
	sent    time.Time
	came    time.Time
	stored  cache.Instant // came, on the process's clock
}

// template returns the one that the chosen form has, else the rule's.
func (c Call) template() rules.Template {
	if f := c.format(); f != nil && len(f.Template) > 0 {
		return f.Template
	}
	return c.Rule.Query.Template
}

// response builds it. Body is scratch.
func (a *answer) response(body []byte) (*cache.StoredResponse, []byte) {
	r := &cache.StoredResponse{
		Traits: &cache.Traits{Status: a.call.Rule.Query.Status, Rule: a.call.Rule.Name},
		Date:   cache.MomentOf(a.came), Stored: a.stored,
	}
	r.RequestTime, r.ResponseTime = cache.MomentsOf(a.sent, a.came)
	if r.Status == 0 {
		r.Status = 200
	}
	if slices.ContainsFunc(a.results, func(r result) bool { return r.missing }) {
		r.Status = 404 // the body of a problem is written where it is served
		return r, body
	}
	r.Header = a.header()
	whole := body
	if len(a.results) == 1 && len(a.call.template()) == 0 {
		whole = a.results[0].json // where it lies
	} else {
		body = a.body(body)
		whole = body
	}
	if len(whole) > 0 && r.Status != 204 {
		r.Body, r.ContentType = bytes.Clone(whole), contentTypeJSON
	}
	return r, body
}

// body writes the template, or the statements' results.
func (a *answer) body(dst []byte) []byte {
	if template := a.call.template(); len(template) > 0 {
		return template.Execute(dst, a.value)
	}
	for i := range a.results {
		dst = append(dst, a.results[i].json...)
	}
	return dst
}

// value writes what a template names.
func (a *answer) value(dst []byte, name string) []byte {
	for i := range a.results {
		if a.results[i].label == name && len(a.results[i].json) > 0 {
			return append(dst, a.results[i].json...)
		}
	}
	switch name {
	case "row_count":
		return strconv.AppendInt(dst, int64(a.rows()), 10)
	case "csv":
		return wire.AppendJSONString(dst, a.results[0].csv)
	case "generated_at":
		dst = append(dst, '"')
		dst = a.came.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z07:00")
		return append(dst, '"')
	}
	if parameter, ok := strings.CutPrefix(name, "param."); ok {
		return a.call.parameter(dst, parameter)
	}
	return append(dst, "null"...)
}

// rows returns how many the statement "rows" has, or the only one.
func (a *answer) rows() int {
	for i := range a.results {
		if a.results[i].label == "rows" {
			return a.results[i].rows
		}
	}
	if len(a.results) > 0 {
		return a.results[0].rows
	}
	return 0
}

// parameter writes a parameter's value as JSON.
func (c Call) parameter(dst []byte, name string) []byte {
	at := slices.IndexFunc(c.Rule.Params, func(p rules.Param) bool { return p.Name == name })
	if at < 0 || at >= len(c.Input.Arguments) || !c.Input.Arguments[at].Present {
		return append(dst, "null"...)
	}
	p, text := &c.Rule.Params[at], c.Input.Arguments[at].Text
	if p.List {
		return appendList(dst, p.Type, text)
	}
	return appendParameter(dst, p.Type, text)
}

func appendParameter(dst []byte, t rules.Type, text []byte) []byte {
	switch t {
	case rules.Int, rules.Number, rules.Bool, rules.JSON:
		return append(dst, text...)
	}
	return wire.AppendJSONString(dst, text)
}

// appendList writes a one-dimensional array literal of Postgres as a JSON array.
func appendList(dst []byte, t rules.Type, literal []byte) []byte {
	dst = append(dst, '[')
	inside := bytes.TrimSuffix(bytes.TrimPrefix(literal, []byte("{")), []byte("}"))
	var element []byte
	for i, n := 0, 0; i < len(inside); n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		var quoted bool
		element, quoted, i = arrayElement(element[:0], inside, i)
		if !quoted && string(element) == "NULL" {
			dst = append(dst, "null"...)
		} else {
			dst = appendParameter(dst, t, element)
		}
	}
	return append(dst, ']')
}

// arrayElement reads the element that begins at i, and returns where the next one does.
func arrayElement(dst, text []byte, i int) (element []byte, quoted bool, next int) {
	for inQuotes := false; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted, inQuotes = true, !inQuotes
		case c == '\\' && i+1 < len(text):
			i++
			dst = append(dst, text[i])
		case c == ',' && !inQuotes:
			return dst, quoted, i + 1
		default:
			dst = append(dst, c)
		}
	}
	return dst, quoted, i
}

// header fills the rule's response fields from the one row and the parameters.
func (a *answer) header() []cache.Field {
	templates := a.call.Rule.Query.Header
	if len(templates) == 0 {
		return nil
	}
	fields := make([]cache.Field, 0, len(templates))
	for _, t := range templates {
		var value []byte
		for _, part := range t.Parts {
			if part.Name == "" {
				value = append(value, part.Literal...)
				continue
			}
			value = append(value, fieldText(t.Name, a.cell(part.Name))...)
		}
		fields = append(fields, cache.Field{Name: []byte(t.Name), Value: value})
	}
	return fields
}

// cell returns the value of a column of the one row, or of a parameter.
func (a *answer) cell(name string) string {
	for i := range a.results {
		for _, c := range a.results[i].header {
			if c.name == name {
				return c.value
			}
		}
	}
	return plain(a.call.parameter(nil, name))
}

// fieldText makes a value fit for a response field: as a part of a path where the field is a reference,
// elsewhere without control characters, which could end the field.
func fieldText(field, value string) string {
	switch strings.ToLower(field) {
	case "location", "content-location":
		return url.PathEscape(value)
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, value)
}
