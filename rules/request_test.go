package rules

import (
	"strings"
	"testing"
)

// ruleFor compiles a rule as Load would, from its route and its parameters.
func ruleFor(t testing.TB, route string, params ...Param) *Rule {
	t.Helper()
	r := &Rule{Name: route, Params: params}
	path := route
	if method, rest, ok := strings.Cut(route, " "); ok {
		r.Method, path = method, rest
	}
	var err error
	if r.Pattern, err = CompilePattern(path); err != nil {
		t.Fatal(err)
	}
	if err := r.Compile(); err != nil {
		t.Fatal(err)
	}
	return r
}

// upstreamRule is ruleFor with an upstream that stores.
func upstreamRule(t testing.TB, route string, params ...Param) *Rule {
	t.Helper()
	r := ruleFor(t, route, params...)
	r.Upstream = "legacy"
	if err := r.Compile(); err != nil {
		t.Fatal(err)
	}
	return r
}

func setOf(t testing.TB, rules ...*Rule) *Set {
	t.Helper()
	set, conflicts := NewSet(rules)
	for _, c := range conflicts {
		t.Fatal(c)
	}
	return set
}

// header is a request's header: lines by lower-case name.
type header map[string][]string

func (h header) lines(name string) [][]byte {
	var lines [][]byte
	for _, line := range h[strings.ToLower(name)] {
		lines = append(lines, []byte(line))
	}
	return lines
}

// requestTo makes a request from a target such as /a?b=c.
func requestTo(method, target string, h header) *Request {
	path, query, _ := strings.Cut(target, "?")
	return &Request{Method: method, Path: []byte(path), Query: []byte(query), Header: h.lines}
}

// read matches the request against the one rule and reads its input.
func readRequest(t testing.TB, r *Rule, req *Request) (*Input, *InputError) {
	t.Helper()
	var m Match
	if got := setOf(t, r).Match(req.Method, req.Path, &m); got != Matched {
		t.Fatalf("%s %s: match is %v, want Matched", req.Method, req.Path, got)
	}
	in := new(Input)
	return in, r.ReadInput(req, &m, in)
}

// keyOf returns the key of a request that must be good.
func keyOf(t testing.TB, r *Rule, req *Request) string {
	t.Helper()
	in, err := readRequest(t, r, req)
	if err != nil {
		t.Fatalf("%s %s?%s %s: %v", req.Method, req.Path, req.Query, req.Body, err)
	}
	return string(r.AppendKey(nil, req, in))
}

// values writes arguments for comparison: NULL, or the text.
func values(arguments []Argument) string {
	var all []string
	for _, a := range arguments {
		if a.Present {
			all = append(all, string(a.Text))
		} else {
			all = append(all, "NULL")
		}
	}
	return strings.Join(all, "|")
}

func pointer(s string) *string { return &s }

// searchParams are those of a search, as the example configuration declares them.
func searchParams() []Param {
	return []Param{
		{Name: "query", In: FromQuery, Type: Text, MaxLength: 100, Optional: true},
		{Name: "status", In: FromQuery, Type: Enum, Enum: []string{"active", "inactive", "trial"}, Optional: true},
		{Name: "limit", In: FromQuery, Type: Int, Min: pointer("1"), Max: pointer("100"), Default: pointer("20")},
		{Name: "offset", In: FromQuery, Type: Int, Min: pointer("0"), Default: pointer("0")},
	}
}

func inBody(params []Param) []Param {
	for i := range params {
		params[i].In = FromBody
	}
	return params
}
