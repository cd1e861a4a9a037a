package rules

import (
	"net/textproto"
	"slices"
	"strings"
)

// csvHole is the name of a form's rows as CSV text.
const csvHole = "csv"

// response compiles the body's template.
func (q *queryCompiler) response() {
	e := &q.entry.Response
	q.query.Template = e.template
	switch {
	case e.node != nil && (q.query.Status == 204 || q.query.Status == 205):
		q.warn(q.at("response"), "a %d has no body, so this is never sent; remove it, or change status", q.query.Status)
	case e.node == nil && q.rule.Batch != nil:
		q.mistake(q.path, `a batch needs a response that says what became of its items, as in {created: "@succeeded", errors: "@failed"}`)
	case e.node == nil && len(q.entry.Queries) > 0:
		q.mistake(q.path, `queries need a response that puts their results together, as in {data: {%s}}`, q.exampleHoles())
	}
	if q.rule.Batch != nil {
		q.holes(e, batchHoles(), false)
		return
	}
	q.holes(e, q.resultNames(), true)
}

func batchHoles() []string {
	return []string{"succeeded", "failed", "total", "succeeded_count", "failed_count", "success_rate"}
}

func (q *queryCompiler) exampleHoles() string {
	var parts []string
	for _, s := range q.query.Statements {
		parts = append(parts, s.Name+`: "@`+s.Name+`"`)
	}
	return strings.Join(parts, ", ")
}

// resultNames returns what a response's template may name.
func (q *queryCompiler) resultNames() []string {
	names := []string{"generated_at"}
	for _, s := range q.query.Statements {
		if s.Rows != None {
			names = append(names, s.Name)
		}
		if s.Name == rowsStatement && s.Rows == Many {
			names = append(names, "row_count")
		}
	}
	return names
}

// holes judges the names of a template, and notes the parameters among them as used.
func (q *queryCompiler) holes(e *templateEntry, known []string, params bool) {
	for _, h := range e.holes {
		name, isParam := strings.CutPrefix(h.name, "param.")
		switch {
		case isParam && params:
			q.used[name] = true
			if q.paramIndex(name) < 0 && !slices.Contains(q.broken, name) {
				q.mistake(h.path, `"@%s" names no parameter of this route%s`, h.name, q.advice(name))
			}
		case !slices.Contains(known, h.name):
			q.mistake(h.path, `"@%s" names no result here%s; write "@@%s" for the text @%s`, h.name, strings.TrimSuffix(meant(h.name, known), "?"), h.name, h.name)
		}
	}
}

func (q *queryCompiler) paramIndex(name string) int {
	return slices.IndexFunc(q.rule.Params, func(p Param) bool { return p.Name == name })
}

// responseHeaders compiles the fields that are made of the one row or of parameters.
func (q *queryCompiler) responseHeaders() {
	for _, e := range q.entry.ResponseHeaders {
		path := join(q.at("response_headers"), e.Key)
		name := textproto.CanonicalMIMEHeaderKey(e.Key)
		switch {
		case !isToken(e.Key):
			q.mistake(path, "%q cannot be the name of a header", e.Key)
		case slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Connection", "Date", "Age", "Etag", "Cache-Status", "Content-Encoding", "Set-Cookie", "Vary"}, name):
			q.mistake(path, "forebay writes %s itself, or must not store it; remove it", name)
		case strings.ContainsAny(e.Value, "\r\n\x00"):
			q.mistake(path, "a header is one line; remove the line break")
		}
		q.query.Header = append(q.query.Header, HeaderTemplate{Name: name, Parts: q.headerParts(path, e.Value)})
	}
}

// headerParts splits a value at its {names}.
func (q *queryCompiler) headerParts(path, value string) []TemplatePart {
	var parts []TemplatePart
	for value != "" {
		literal, rest, found := strings.Cut(value, "{")
		if literal != "" {
			parts = append(parts, TemplatePart{Literal: []byte(literal)})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !isName(name) {
			q.mistake(path, "{%s is not closed around a name; write {column}, the name of letters, digits and _", rest)
			break
		}
		one := len(q.query.Statements) == 1 && q.query.Statements[0].Rows == One && q.rule.Batch == nil
		if q.paramIndex(name) < 0 && !one {
			q.mistake(path, "{%s} is no parameter, and a column it can be only of a query with rows: one; use a parameter or change rows", name)
		}
		q.used[name] = true
		parts = append(parts, TemplatePart{Name: name})
		value = after
	}
	return parts
}

// batch compiles what makes the route a batch.
func (q *queryCompiler) batch() {
	e, path := q.entry.Batch, q.at("batch")
	b := &Batch{MaxItems: e.MaxItems, Atomic: e.Atomic, Failed: e.Failed.template}
	q.rule.Batch = b
	if !q.rule.Writes() {
		q.mistake(path, "a batch writes its items, and %s reads; make it a POST without reads", q.rule.Method)
	}
	if len(q.entry.Queries) > 0 {
		q.mistake(path, "a batch runs one statement for each item; give it query instead of queries")
	} else if q.entry.Rows == "many" {
		q.mistake(path, "an item becomes one thing or none; say rows: one (or value, or none)")
	}
	q.atLeast(path+".max_items", e.MaxItems, 1)
	for _, p := range q.rule.Params {
		q.mistake(path, "its statement is bound to the item's fields alone, so @%s of the %s is out of reach; remove it, or send it in each item", p.Name, p.In.place())
	}
	if len(e.Item) == 0 && !q.given(path+".item") {
		q.mistake(path, "it has no item; declare the fields of one, as in item: {name: text}")
	}
	for i := range e.Item {
		field := join(path+".item", e.Item[i].Key)
		p, ok := q.param(field, e.Item[i].Key, e.Item[i].Value, FromBody)
		e.Item[i].Value.Separator = ""
		switch {
		case !ok:
			q.broken = append(q.broken, p.Name)
		case slices.ContainsFunc(b.Item, func(o Param) bool { return o.Name == p.Name }):
			q.mistake(field, "@%s is the name of another field already; give this one another with as", p.Name)
		default:
			b.Item = append(b.Item, p)
		}
	}
	q.holes(&e.Failed, []string{"item", "error", "index"}, false)
	if q.entry.Response.template.Names("failed") && e.Failed.node == nil {
		q.mistake(path, `the response names "@failed", and nothing says what stands there; add failed: {item: "@item", error: "@error"}`)
	}
}
