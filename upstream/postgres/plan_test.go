package postgres

import (
	"slices"
	"strings"
	"testing"
)

func TestConjunctsAreWhatHoldsForEveryRow(t *testing.T) {
	t.Parallel()
	f := func(expression string, want ...string) {
		t.Helper()
		if got := conjuncts(nil, expression); !slices.Equal(got, want) {
			t.Errorf("%s: %q; want %q", expression, got, want)
		}
	}
	f("")
	f("(t.id = $1)", "t.id = $1")
	f("((t.id = $1) AND (t.n > 2))", "t.id = $1", "t.n > 2")
	f("((t.a = $1) AND ((t.b = $2) OR (t.c = $3)) AND ((t.d = $4) AND (t.e = $5)))", "t.a = $1", "(t.b = $2) OR (t.c = $3)", "t.d = $4", "t.e = $5")
	f("(((t.a = $1) AND (t.b = $2)) OR (t.c = $3))", "((t.a = $1) AND (t.b = $2)) OR (t.c = $3)")
	f("(NOT ((t.a = $1) AND (t.b = $2)))", "NOT ((t.a = $1) AND (t.b = $2))")
	f("((t.a = 'x) AND (t.b = $1'::text) AND (t.b = $2))", "t.a = 'x) AND (t.b = $1'::text", "t.b = $2")
	f(`((t.a = E'\') AND (t.b = $1'::text) AND (t.b = $2))`, `t.a = E'\') AND (t.b = $1'::text`, "t.b = $2")
	f("((t.a = 'it''s') AND (t.b = $2))", "t.a = 'it''s'", "t.b = $2")
	f(`((t.") AND (" = $1) AND (t.b = $2))`, `t.") AND (" = $1`, "t.b = $2")
}

func TestEqualitiesAreOfAColumnAndAParameter(t *testing.T) {
	t.Parallel()
	f := func(condition string, want equality, ok bool) {
		t.Helper()
		if got, found := parseEquality("t", condition); got != want || found != ok {
			t.Errorf("%s: %+v, %t; want %+v, %t", condition, got, found, want, ok)
		}
	}
	none := equality{}
	f("t.id = $1", equality{column: "id", parameter: 1}, true)
	f("$12 = t.id", equality{column: "id", parameter: 12}, true)
	f("(t.v)::text = $1", equality{column: "v", parameter: 1, asText: true}, true)
	f("(t.v)::text = ($1)::text", equality{column: "v", parameter: 1, asText: true}, true)
	f(`t."A ""b""" = $1`, equality{column: `A "b"`, parameter: 1}, true)
	f("t.id = ANY ($1)", equality{column: "id", parameter: 1, any: true}, true)
	f("$1 = ANY (t.id)", none, false)
	f("ANY ($1) = t.id", none, false)
	f("o.id = $1", none, false)
	f("t.id = o.id", none, false)
	f("t.id = 1", none, false)
	f("t.id = $1 + 1", none, false)
	f("t.id = ($1)::integer", none, false)
	f("t.id = $x", none, false)
	f("lower(t.id) = $1", none, false)
	f("(t.id)::bpchar = $1", none, false)
	f("t.id >= $1", none, false)
	f("t.id = $1 = t.id", none, false)
	f("(t.c).f = $1", none, false)
	f("t.arr[1] = $1", none, false)
	f("NOT t.id = $1", none, false)
}

// Whatever the text is, the parts are of it and nothing breaks.
func FuzzConditions(f *testing.F) {
	f.Add("((t.id = $1) AND (t.n > 2))")
	f.Add(`((t."x""y" = E'\'') AND ('a' = ANY ($2)))`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, part := range conjuncts(nil, text) {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not of %q", part, text)
			}
			if e, ok := parseEquality("t", part); ok && e.column == "" && !strings.Contains(part, `""`) {
				t.Errorf("%q: %+v", part, e)
			}
		}
	})
}
