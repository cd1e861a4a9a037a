package rules

import (
	"strings"
	"testing"
)

// templateOf compiles the response of a route with one row.
func templateOf(t *testing.T, response string) Template {
	t.Helper()
	config := parse(t, "postgres: {url: postgres://localhost/shop}\nroutes:\n- route: GET /a/{id}\n  kind: find\n  rows: one\n  query: select @id\n  response: "+response+"\n")
	return config.Rules.Rule("GET /a/{id}").Query.Template
}

func TestTemplatesBecomeJSON(t *testing.T) {
	f := func(response, want string) {
		t.Helper()
		got := string(templateOf(t, response).Execute(nil, func(dst []byte, name string) []byte {
			return append(append(append(dst, '<'), name...), '>')
		}))
		if got != want {
			t.Errorf("%s\n  became %s\n  want   %s", response, got, want)
		}
	}
	f(`{status: success, data: "@rows"}`, `{"status":"success","data":<rows>}`)
	f(`"@rows"`, `<rows>`)
	f(`["@rows", "@rows"]`, `[<rows>,<rows>]`)
	f(`text`, `"text"`)
	f(`{z: 1, a: 2, m: {}, e: []}`, `{"z":1,"a":2,"m":{},"e":[]}`) // in the order written
	f(`{a: 1.50, b: -0, c: 0x10, d: 1e3, e: 12345678901234567890, f: true, g: ~, h: null, i: }`,
		`{"a":1.50,"b":-0,"c":16,"d":1e3,"e":12345678901234567890,"f":true,"g":null,"h":null,"i":null}`)
	f(`{a: "1", b: 'true', c: 2026-01-01, d: yes}`, `{"a":"1","b":"true","c":"2026-01-01","d":"yes"}`)
	f(`{a: "@@rows", b: "x@rows", c: "@@@"}`, `{"a":"@rows","b":"x@rows","c":"@@"}`)
	f(`{"@rows": 1, "a\"\n": "é<&>\u2028\\"}`, `{"@rows":1,"a\"\n":"é<&>`+"\u2028"+`\\"}`)
	f(`{id: "@param.id", at: "@generated_at"}`, `{"id":<param.id>,"at":<generated_at>}`)
	f(`{a: "${SET}", b: "${UNSET:-5}", c: "$${SET}"}`, `{"a":"value","b":"5","c":"${SET}"}`)
}

func TestTemplatesKeepNothingOfTheirDestination(t *testing.T) {
	template := templateOf(t, `["@rows"]`)
	rows := func(dst []byte, _ string) []byte { return append(dst, '1') }
	first := string(template.Execute(make([]byte, 0, 100), rows))
	second := string(template.Execute([]byte("prefix "), rows))
	if first != "[1]" || second != "prefix [1]" {
		t.Errorf("got %q and %q", first, second)
	}
	if !template.Names("rows") || template.Names("page") {
		t.Error("Names does not tell the holes")
	}
}

func TestExecutingATemplateDoesNotAllocate(t *testing.T) {
	template := templateOf(t, `{a: {b: "@rows"}, c: "@generated_at"}`)
	dst := make([]byte, 0, 1024)
	body := []byte(strings.Repeat("x", 100))
	value := func(dst []byte, _ string) []byte { return append(dst, body...) }
	if n := testing.AllocsPerRun(100, func() { dst = template.Execute(dst[:0], value) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
