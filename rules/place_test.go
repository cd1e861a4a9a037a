package rules

import (
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// In each of these texts WRONG stands once, and nowhere but in the statement: that is where a mistake of it is
// reported, however YAML lets the statement be written.
func TestPlacesInAStatementAreThoseOfItsFile(t *testing.T) {
	f := func(style, route string) {
		t.Helper()
		text := "postgres: {url: postgres://localhost/x}\nroutes:\n" + route
		config, err := Parse("a.yaml", []byte(text), fstest.MapFS{}, testEnv)
		if err != nil {
			t.Errorf("%s: %v", style, err)
			return
		}
		st := &config.Rules.Rules()[0].Query.Statements[0]
		before, _, found := strings.Cut(st.SQL, "WRONG")
		at := strings.Index(text, "WRONG")
		line := 1 + strings.Count(text[:at], "\n")
		column := at - strings.LastIndexByte(text[:at], '\n')
		if got := st.Place(utf8.RuneCountInString(before) + 1); !found || got != (Position{"a.yaml", line, column}) {
			t.Errorf("%s: %v; want %d:%d", style, got, line, column)
		}
	}
	f("plain", "  - route: GET /a/{id}\n    params: {id: int}\n    ttl: 1s\n    query: select @id, @id,  WRONG, @id")
	f("in a flow", "  - {route: GET /a, ttl: 1s, query: select WRONG from b}")
	f("over several lines", "  - route: GET /a\n    ttl: 1s\n    query: select a,\n       b,\n      'ü',   WRONG\n      from c")
	f("on the line below its key", "  - route: GET /a\n    ttl: 1s\n    query:\n      select WRONG")
	f("single quotes", "  - {route: GET /a, ttl: 1s, query: 'select ''it''''s'', ''@'',\n\n     WRONG'}")
	f("double quotes", `  - {route: "GET /a", ttl: 1s, query: "select \"a\",\t'\\',\n\  \
         WRONG"}`)
	f("literal", "  - route: GET /a/{id}\n    params: {id: int}\n    ttl: 1s\n    query: |\n      select a,\n\n        @id + WRONG, -- @id\n        b")
	f("literal with an indentation of its own", "  - route: GET /a\n    ttl: 1s\n    query: |2- # why\n         -- first\n       select WRONG")
	f("folded", "  - route: GET /a\n    ttl: 1s\n    query: >-\n      select a,\n      b,\n\n        WRONG")
	f("with an anchor", "  - route: GET /a\n    ttl: 1s\n    query: &q |\n      select WRONG")
	f("with a tag and an anchor", "  - {route: GET /a, ttl: 1s, query: !!str &q 'select WRONG'}")
	f("after an alias", "  - {route: GET /b, ttl: 1s, query: &q \"select WRONG\"}\n  - {route: GET /a, ttl: 1s, query: *q}")
	f("with carriage returns", "  - route: GET /a\r\n    ttl: 1s\r\n    query: |\r\n      select a,\r\n        WRONG\r\n")
	f("before a variable", "  - {route: GET /a, ttl: 1s, query: 'select WRONG, ${HOME:-a}'}")
}

// Where the place cannot be told exactly, it is the beginning of the statement.
func TestAPlaceThatCannotBeToldIsTheBeginning(t *testing.T) {
	for _, query := range []string{"'select ${NONE:-a}, b'", `"select \x61, b"`} {
		text := "postgres: {url: postgres://localhost/x}\nroutes:\n  - route: GET /a\n    ttl: 1s\n    query:\n      " + query
		config, err := Parse("a.yaml", []byte(text), fstest.MapFS{}, testEnv)
		if err != nil {
			t.Fatal(err)
		}
		st := &config.Rules.Rules()[0].Query.Statements[0]
		for nth, want := range map[int]Position{0: {"a.yaml", 6, 8}, 1: {"a.yaml", 6, 8}, 3: {"a.yaml", 6, 10}, 11: {"a.yaml", 6, 8}} {
			if got := st.Place(nth); got != want {
				t.Errorf("%s: character %d is at %v; want %v", query, nth, got, want)
			}
		}
	}
}

func TestPlacesInAFileAreItsOwn(t *testing.T) {
	dir := fstest.MapFS{"q/a.sql": {Data: []byte("-- why\nselect @id,\n\t@id + WRONG;\n-- the end\n")}}
	config, err := Parse("etc/a.yaml", []byte("postgres: {url: postgres://localhost/x}\nroutes:\n  - {route: 'GET /a/{id}', params: {id: int}, ttl: 1s, query: q/a.sql}"), dir, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	st := &config.Rules.Rules()[0].Query.Statements[0]
	before, _, _ := strings.Cut(st.SQL, "WRONG")
	if got := st.Place(len(before) + 1); got != (Position{"etc/q/a.sql", 3, 8}) {
		t.Errorf("WRONG is at %v", got)
	}
	if got := st.Place(0); got != (Position{"etc/q/a.sql", 1, 1}) {
		t.Errorf("the beginning is at %v", got)
	}
	if got := st.Place(len(st.SQL) + 1); got.Line != 4 {
		t.Errorf("the end is at %v", got)
	}
}
