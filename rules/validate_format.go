package rules

import (
	"slices"
	"strings"
)

// formats compiles the further forms of a result.
func (q *queryCompiler) formats() {
	if len(q.entry.Formats) == 0 {
		return
	}
	rows := slices.IndexFunc(q.query.Statements, func(s Statement) bool { return s.Name == rowsStatement && s.Rows == Many })
	switch {
	case q.rule.Writes():
		q.mistake(q.at("formats"), "a write answers in one form; remove them")
	case rows < 0:
		q.mistake(q.at("formats"), "forms are made of many rows; give the route a query with rows: many, or name that one of its queries rows")
	}
	for i, e := range q.entry.Formats {
		path := item(q.at("formats"), i)
		f := Format{Param: -1, Accept: e.Accept, Filename: e.Filename, Template: e.Response.template}
		for _, c := range e.Columns {
			f.Columns = append(f.Columns, Column{Name: c.Key, Title: c.Value})
		}
		before := len(q.list)
		q.choice(path, e, &f)
		chosen := q.clean(before)
		q.form(path, e, &f)
		for _, o := range q.query.Formats {
			if chosen && o.Accept == f.Accept && o.Param == f.Param && o.Value == f.Value {
				q.mistake(path, "a form before it is chosen in the same way, so this one never is; remove one of them")
				break
			}
		}
		q.query.Formats = append(q.query.Formats, f)
	}
	q.formless()
}

// choice reads what chooses the form.
func (q *queryCompiler) choice(path string, e *formatEntry, f *Format) {
	types := []string{"text/csv", "application/x-ndjson", "application/json"}
	switch {
	case e.Accept != "" && len(e.Param) > 0:
		q.mistake(path, "both accept and param choose it; make two forms of it")
	case e.Accept != "":
		if !slices.Contains(types, e.Accept) {
			q.mistake(path+".accept", "%q is no media type that forebay writes%s", e.Accept, meant(e.Accept, types))
		}
	case len(e.Param) != 1:
		q.mistake(path, "nothing chooses it, or more than one thing; give accept: text/csv, or one parameter's value as in param: {format: csv}")
	default:
		name, value := e.Param[0].Key, e.Param[0].Value
		q.used[name] = true
		f.Value, f.Param = value, q.paramIndex(name)
		if f.Param < 0 {
			if !slices.Contains(q.broken, name) {
				q.mistake(path+".param", "@%s is no parameter of this route%s", name, q.advice(name))
			}
			return
		}
		normal, err := q.rule.Params[f.Param].Normalise(nil, []byte(value))
		if err != nil {
			q.mistake(join(path+".param", name), "%s %v", name, err)
			return
		}
		f.Value = string(normal)
	}
}

// form judges what the form is made of.
func (q *queryCompiler) form(path string, e *formatEntry, f *Format) {
	f.Stream = e.Accept == "text/csv" || e.Accept == "application/x-ndjson"
	csv := e.Accept == "text/csv" || e.Response.template.Names(csvHole)
	if len(e.Columns) > 0 && !csv {
		q.mistake(path+".columns", `only CSV has columns; remove them, or put "@csv" into the response`)
	}
	if f.Stream {
		q.streamed(path, e)
		return
	}
	f.MaxRows, f.TooMany = e.MaxRows, e.TooMany
	q.atLeast(path+".max_rows", e.MaxRows, 1)
	if e.Filename != "" {
		q.mistake(path+".filename", "only streamed forms (accept: text/csv or application/x-ndjson) are saved as a file; remove it")
	}
	if e.Response.node == nil {
		q.mistake(path, `it has no response; give one, as in {data: "@rows"}`)
	}
	q.holes(&e.Response, append(q.resultNames(), csvHole), true)
}

func (q *queryCompiler) streamed(path string, e *formatEntry) {
	if len(q.query.Statements) > 1 {
		q.mistake(path, "a streamed form has the rows of one statement; give the route query instead of queries")
	}
	for _, key := range []string{"response", "max_rows", "too_many"} {
		if q.given(path + "." + key) {
			q.mistake(path+"."+key, "%s streams, row by row and any number of them, so it has none; remove it", e.Accept)
		}
	}
	switch {
	case e.Filename == "":
		q.mistake(path, "it has no filename; give the name under which it is saved, as in clients.csv")
	case strings.ContainsAny(e.Filename, "\"\\/\r\n\x00") || !isASCII(e.Filename):
		q.mistake(path+".filename", "%q is no plain file name; use letters, digits and the like", e.Filename)
	}
	e.MaxRows, e.TooMany = 0, "" // the defaults are for the other forms
}

// formless warns of values of an enum that chooses a form but has none.
func (q *queryCompiler) formless() {
	for i, p := range q.rule.Params {
		var chosen []string
		for _, f := range q.query.Formats {
			if f.Param == i {
				chosen = append(chosen, f.Value)
			}
		}
		if len(chosen) == 0 || p.Type != Enum || len(q.query.Template) > 0 {
			continue
		}
		for _, value := range p.Enum {
			if !slices.Contains(chosen, value) {
				q.warn(join(q.at("params"), p.field()), "%s=%s has no form and the route no response, so it is answered with the bare rows; add a form for it", p.Name, value)
			}
		}
	}
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
