package rules

import (
	"bytes"
	"strconv"
	"strings"
)

// given is where a request has a parameter's value.
type given struct {
	text  []byte // as sent: still encoded if it stands in a path, query string or body
	times int    // how often it is there
}

// reading is one run of ReadInput. It writes all normal forms one behind the other into the input's scratch.
type reading struct {
	rule *Rule
	req  *Request
	m    *Match
	in   *Input
	err  *InputError // what is wrong so far
}

// ReadInput reads the request's parameters into in, every one checked and in its normal form, or returns
// all that is wrong with them. What the rule does not name is not read. A request whose Header is nil, as
// of a purge by URL, has its header parameters left out.
func (r *Rule) ReadInput(req *Request, m *Match, in *Input) *InputError {
	in.reset(len(r.Params))
	rd := reading{rule: r, req: req, m: m, in: in}
	rd.locateInQuery()
	if r.Batch != nil || len(r.fields.body) > 0 {
		if err := rd.locateInBody(); err != nil {
			return err
		}
	}
	for i := range r.Params {
		rd.read(i)
	}
	if r.Batch != nil {
		rd.readItems()
	}
	if rd.err != nil {
		rd.err.summarise()
		return rd.err
	}
	if len(r.fields.body) > 0 {
		in.Body = rd.appendBody(r.Params, in.Arguments, in.given)
	}
	if r.Upstream != "" {
		rd.forward()
	}
	return nil
}

// locateInQuery notes where the declared parameters stand in the query string. Semicolons are data.
func (rd *reading) locateInQuery() {
	if len(rd.rule.fields.query) == 0 {
		return
	}
	for rest := rd.req.Query; len(rest) > 0; {
		var name, value []byte
		name, value, rest = nextPiece(rest)
		if i := rd.queryParam(name); i >= 0 {
			g := &rd.in.given[i]
			if g.times++; g.times == 1 {
				g.text = value
			}
		}
	}
}

// nextPiece splits the first name=value from a query string. A name without = has the empty value.
func nextPiece(query []byte) (name, value, rest []byte) {
	if at := bytes.IndexByte(query, '&'); at >= 0 {
		query, rest = query[:at], query[at+1:]
	}
	if at := bytes.IndexByte(query, '='); at >= 0 {
		return query[:at], query[at+1:], rest
	}
	return query, nil, rest
}

// queryParam returns the index of the parameter that the name, as sent, stands for; -1 if there is none.
func (rd *reading) queryParam(name []byte) int {
	var room [64]byte
	if bytes.IndexByte(name, '%') >= 0 || bytes.IndexByte(name, '+') >= 0 {
		decoded, ok := appendFormDecoded(room[:0], name)
		if !ok {
			return -1
		}
		name = decoded
	}
	for _, i := range rd.rule.fields.query {
		if rd.rule.Params[i].field() == string(name) {
			return i
		}
	}
	return -1
}

// read brings parameter i into its normal form.
func (rd *reading) read(i int) {
	p, g := &rd.rule.Params[i], &rd.in.given[i]
	var f *fault
	switch p.In {
	case FromPath:
		f = rd.readPath(p, i)
	case FromQuery:
		f = rd.readQuery(p, i)
	case FromHeader:
		f = rd.readHeader(p, i)
	case FromBody:
		f = rd.readField(p, g, &rd.in.Arguments[i])
	}
	if f != nil {
		rd.fail(p, f)
	}
}

func (rd *reading) readPath(p *Param, i int) *fault {
	text, ok := rd.m.path[rd.rule.fields.segment[i]], true
	start := len(rd.in.scratch)
	if bytes.IndexByte(text, '%') >= 0 {
		rd.in.scratch, ok = appendPathDecoded(rd.in.scratch, text)
		text = rd.in.scratch[start:]
	}
	if !ok {
		return &brokenEscape
	}
	return rd.readText(p, text, &rd.in.Arguments[i])
}

// brokenEscape is never written.
var brokenEscape = fault{status: 400, detail: "has a broken percent-escape; want %25 for a percent sign"}

func (rd *reading) readQuery(p *Param, i int) *fault {
	g, a := &rd.in.given[i], &rd.in.Arguments[i]
	switch {
	case g.times > 1 && p.List:
		return rd.readRepeated(p, i, a)
	case g.times > 1:
		return repeated(g.times)
	case len(g.text) == 0 && (g.times == 0 || p.omissible()):
		return rd.absent(p, a)
	}
	text, ok := rd.formDecode(g.text)
	if !ok {
		return &brokenEscape
	}
	return rd.readText(p, text, a)
}

func repeated(times int) *fault {
	return &fault{status: 400, detail: "must be there once, not " + strconv.Itoa(times) + " times"}
}

// omissible reports whether the parameter may be left out.
func (p *Param) omissible() bool { return p.Optional || p.Default != nil }

// formDecode decodes a value of a query string, in scratch if it must be.
func (rd *reading) formDecode(raw []byte) ([]byte, bool) {
	if bytes.IndexByte(raw, '%') < 0 && bytes.IndexByte(raw, '+') < 0 {
		return raw, true
	}
	start := len(rd.in.scratch)
	var ok bool
	rd.in.scratch, ok = appendFormDecoded(rd.in.scratch, raw)
	return rd.in.scratch[start:], ok
}

// readRepeated reads a list that is there several times: ids=a,b&ids=c is ids=a,b,c.
func (rd *reading) readRepeated(p *Param, i int, a *Argument) *fault {
	all := make([]byte, 0, len(rd.req.Query))
	for rest := rd.req.Query; len(rest) > 0; {
		var name, value []byte
		name, value, rest = nextPiece(rest)
		if rd.queryParam(name) != i {
			continue
		}
		var ok bool
		if all, ok = appendFormDecoded(all, value); !ok {
			return &brokenEscape
		}
		all = append(all, p.separator()...)
	}
	all = all[:len(all)-len(p.separator())]
	return rd.readText(p, all, a)
}

func (rd *reading) readHeader(p *Param, i int) *fault {
	a := &rd.in.Arguments[i]
	if rd.req.Header == nil {
		return nil
	}
	lines := rd.req.Header(p.field())
	var text []byte
	switch {
	case len(lines) == 1:
		text = bytes.Trim(lines[0], " \t")
	case len(lines) > 1 && p.List:
		text = bytes.Join(lines, []byte(p.separator()))
	case len(lines) > 1:
		return repeated(len(lines))
	}
	if len(text) == 0 && (len(lines) == 0 || p.omissible()) {
		return rd.absent(p, a)
	}
	return rd.readText(p, text, a)
}

// readText writes the normal form of a decoded text behind what is in scratch.
func (rd *reading) readText(p *Param, text []byte, a *Argument) *fault {
	in, start := rd.in, len(rd.in.scratch)
	var f *fault
	if !p.List {
		in.scratch, f = p.appendScalar(in.scratch, text)
	} else {
		l := newList(p, in.scratch, &in.unique)
		if f = l.split(text); f == nil {
			in.scratch, f = l.close()
		}
	}
	if f != nil {
		return f
	}
	if p.List && p.omissible() && len(in.scratch)-start == len("{}") {
		return rd.absent(p, a) // nothing but separators
	}
	a.Present, a.Text = true, in.scratch[start:]
	return nil
}

// absent stands for a value that is not there.
func (rd *reading) absent(p *Param, a *Argument) *fault {
	switch {
	case p.Default != nil:
		start := len(rd.in.scratch)
		rd.in.scratch = append(rd.in.scratch, *p.Default...)
		a.Present, a.Text = true, rd.in.scratch[start:]
	case !p.Optional:
		return wrong("is required")
	}
	return nil
}

// fail notes what is wrong with the parameter.
func (rd *reading) fail(p *Param, f *fault) {
	if rd.err == nil {
		rd.err = &InputError{Status: 422}
	}
	rd.err.add(p, f)
}

func (e *InputError) add(p *Param, f *fault) {
	if f.status == 400 {
		e.TooMany = f.tooMany && (e.Status != 400 || e.TooMany)
		e.Status = 400
	}
	in := [...]string{FromPath: "path", FromQuery: "query", FromBody: "body", FromHeader: "header"}[p.In]
	e.Fields = append(e.Fields, FieldError{Field: p.field(), In: in, Detail: p.field() + f.at + " " + f.detail})
}

// Refuse says what is wrong with a value of the parameter that others have looked at; item is its place in a list,
// from 0, or -1.
func (p *Param) Refuse(item int, detail string) *InputError {
	e, f := &InputError{Status: 422}, fault{detail: detail}
	if item >= 0 {
		f.at = "[" + strconv.Itoa(item) + "]"
	}
	e.add(p, &f)
	e.summarise()
	return e
}

// summarise makes one sentence of the fields' ones.
func (e *InputError) summarise() {
	details := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		details[i] = f.Detail
	}
	e.Detail = strings.Join(details, "; ")
}
