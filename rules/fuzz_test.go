package rules

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// checkInput holds what must be true of every input that was accepted: it is of its types, and reading it
// again makes the same key.
func checkInput(t *testing.T, r *Rule, req *Request, in *Input) {
	t.Helper()
	for i, a := range in.Arguments {
		p := &r.Params[i]
		switch {
		case !a.Present && !p.Optional && !p.Nullable:
			t.Fatalf("%s is NULL", p.Name)
		case !a.Present:
			continue
		case !utf8.Valid(a.Text) || bytes.IndexByte(a.Text, 0) >= 0:
			t.Fatalf("%s is %q, which is no text for Postgres", p.Name, a.Text)
		}
		if text := p.AppendJSON(nil, a); !json.Valid(text) {
			t.Fatalf("%s is %q, and %s as JSON", p.Name, a.Text, text)
		}
		if p.List || p.Default != nil {
			continue
		}
		if again, err := p.Normalise(nil, a.Text); err != nil || !bytes.Equal(again, a.Text) {
			t.Fatalf("%s is %q, whose normal form is %q, %v", p.Name, a.Text, again, err)
		}
	}
	first := r.AppendKey(nil, req, in)
	if !bytes.HasPrefix(first, r.AppendKeyOf(nil, in)) {
		t.Fatal("the key does not begin with that of its parameters")
	}
	if second := keyOf(t, r, req); string(first) != second {
		t.Fatalf("one request has two keys: %q and %q", first, second)
	}
}

func everyType(in Source) []Param {
	var params []Param
	for typ := Text; typ <= JSON; typ++ {
		p := Param{Name: string('a' + rune(typ)), In: in, Type: typ, Optional: true, Nullable: in == FromBody, Enum: []string{"x", "y"}}
		list := p
		list.Name, list.List, list.Unique, list.MaxItems = "list_"+p.Name, true, true, 5
		params = append(params, p, list)
	}
	return params
}

func FuzzReadInputFromQuery(f *testing.F) {
	for _, seed := range []string{
		"", "a=x&list_a=a,b&list_a=c", "b=123E4567-e89b-12d3-a456-426614174000&c=020&d=T&e=1e5&f=x&g=2024-02-29&h=2024-02-29T10:00:00%2B01:00&i=a@b.c&j={\"b\":[1]}",
		"%61=%F0%9F%98%80+%00", "a=%zz", "&&=&a", "c=9223372036854775808", "e=1e-1000", "list_j=[],{}", "list_a=\"\\,{}", "c=1;c=2",
	} {
		f.Add(seed)
	}
	typed, whole := ruleFor(f, "GET /x", everyType(FromQuery)...), upstreamRule(f, "GET /x")
	f.Fuzz(func(t *testing.T, query string) {
		req := &Request{Method: "GET", Path: []byte("/x"), Query: []byte(query), Header: header(nil).lines}
		if in, err := readRequest(t, typed, req); err == nil {
			checkInput(t, typed, req, in)
		} else if err.Detail == "" || len(err.Fields) == 0 || !utf8.ValidString(err.Detail) {
			t.Fatalf("%q is refused without a good reason: %+v", query, err)
		}
		in, err := readRequest(t, whole, req)
		if err != nil {
			t.Fatal(err)
		}
		checkInput(t, whole, req, in)
		for _, c := range in.Query {
			if c <= ' ' || c >= 0x7f || c == '#' {
				t.Fatalf("%q is forwarded as %q", query, in.Query)
			}
		}
		forwarded := &Request{Method: "GET", Path: []byte("/x"), Query: bytes.Clone(in.Query), Header: header(nil).lines}
		if again, err := readRequest(t, whole, forwarded); err != nil || !bytes.Equal(again.Query, in.Query) {
			t.Fatalf("%q is forwarded as %q, and that as %q, %v", query, in.Query, again.Query, err)
		}
	})
}

func FuzzReadInputFromJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":"x","list_a":["a","b\u0000"]}`, `{"c":2e1,"e":-0.50,"d":true,"j":{"b":1,"a":[null]}}`, `{"a":1,"\u0061":2}`, `[{}]`, `{"a":"\ud83d\ude00"}`,
		`{"list_j":[1,{"x":1},"\\"],"list_c":[1,1.0]}`, `{"a":null,"b":null}`, `{`, ``, `{} {}`, "{\"a\":\"\xff\"}",
	} {
		f.Add(seed)
	}
	one, batch := ruleFor(f, "POST /b", everyType(FromBody)...), ruleFor(f, "POST /b")
	one.Query = &Query{Statements: []Statement{{Params: []int{-1}}}}
	batch.Batch = &Batch{MaxItems: 3, Item: everyType(FromBody)}
	for _, r := range []*Rule{one, batch} {
		if err := r.Compile(); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		req := bodyRequest(body, "")
		in, err := readRequest(t, one, req)
		if err == nil {
			checkInput(t, one, req, in)
			if !json.Valid([]byte(body)) || !json.Valid(in.Body) {
				t.Fatalf("%q is accepted, as %q", body, in.Body)
			}
			again := bodyRequest(string(in.Body), "")
			if keyOf(t, one, req) != keyOf(t, one, again) {
				t.Fatalf("%q has another key than its normal form %q", body, in.Body)
			}
		} else if !utf8.ValidString(err.Detail) || len(err.Detail) > 5000 {
			t.Fatalf("%q is refused with %q", body, err.Detail)
		}
		in, err = readRequest(t, batch, bodyRequest("["+body+","+body+"]", ""))
		if err != nil {
			return
		}
		for _, item := range in.Items {
			if !json.Valid(item.Raw) || item.Err == nil && !json.Valid(item.Body) {
				t.Fatalf("%q has the item %q, %q", body, item.Raw, item.Body)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, seed := range []string{"/", "/clients/5", "/clients/%2e%2e/x", "/files/a//b", "//", "/clients/a%2Fb", "*", "", "/clients/%", "/files\\..\\x", "/clients/\x00"} {
		f.Add("GET", seed)
	}
	set := setOf(f, ruleFor(f, "GET /clients/{id}"), ruleFor(f, "/clients/{id}/{part}"), ruleFor(f, "POST /clients/new"), ruleFor(f, "/files/**"))
	f.Fuzz(func(t *testing.T, method, path string) {
		var m Match
		result := set.Match(method, []byte(path), &m)
		if (result == Matched) != (m.Rule != nil) || (result == MethodNotAllowed) != (len(m.Allow) > 0) {
			t.Fatalf("%s %q: result %d with rule %v and methods %v", method, path, result, m.Rule, m.Allow)
		}
		if result != Matched {
			return
		}
		if hasDotSegment([]byte(path)) {
			t.Fatalf("%q has a dot segment and is answered by %q", path, m.Rule.Name)
		}
		for k := range m.Rule.Pattern.names {
			value, ok := appendPathDecoded(nil, m.path[k])
			if !ok || len(value) == 0 || isDotSegment(value) || bytes.IndexByte(m.path[k], '/') >= 0 {
				t.Fatalf("%q gives the parameter %d of %q the value %q", path, k, m.Rule.Name, m.path[k])
			}
		}
	})
}
