package rules

import (
	"fmt"
	"strings"
	"testing"
)

// answers returns a check of which rule answers a request: its name, or 404, or 405 and the methods there are.
func answers(t *testing.T) func(method, path, want string) {
	var rules []*Rule
	for _, route := range []string{
		"GET /clients", "POST /clients", "GET /clients/{id}", "DELETE /clients/{id}", "GET /clients/new", "GET /clients/{id}/notes",
		"GET /clients/new/{x}", "/any", "GET /any", "/files/**", "GET /files/{name}", "GET /slash/", "GET /caf%C3%A9", "HEAD /own", "GET /own",
		"GET /a//b", "GET /", "GET /x%2Fy",
	} {
		rules = append(rules, ruleFor(t, route))
	}
	set := setOf(t, rules...)
	return func(method, path, want string) {
		t.Helper()
		var m Match
		got := ""
		switch set.Match(method, []byte(path), &m) {
		case Matched:
			got = m.Rule.Name
		case MethodNotAllowed:
			got = "405 " + strings.Join(m.Allow, ",")
		case NoRoute:
			got = "404"
		}
		if got != want {
			t.Errorf("%s %s: %s, want %s", method, path, got, want)
		}
	}
}

func TestTheMostSpecificRuleAnswers(t *testing.T) {
	t.Parallel()
	f := answers(t)
	f("GET", "/clients", "GET /clients")
	f("POST", "/clients", "POST /clients")
	f("PUT", "/clients", "405 GET,HEAD,POST")
	f("GET", "/clients/5", "GET /clients/{id}")
	f("HEAD", "/clients/5", "GET /clients/{id}")
	f("DELETE", "/clients/5", "DELETE /clients/{id}")
	f("GET", "/clients/new", "GET /clients/new")
	f("GET", "/clients/n%65w", "GET /clients/new")
	f("DELETE", "/clients/new", "DELETE /clients/{id}") // the literal has no rule for the method, so it is passed over
	f("PATCH", "/clients/new", "405 DELETE,GET,HEAD")
	f("GET", "/clients/5/notes", "GET /clients/{id}/notes")
	f("GET", "/clients/new/notes", "GET /clients/new/{x}")
	f("GET", "/any", "GET /any")
	f("HEAD", "/any", "GET /any")
	f("PUT", "/any", "/any")
	f("HEAD", "/own", "HEAD /own")
	f("GET", "/files/a", "GET /files/{name}")
	f("PUT", "/files/a", "/files/**") // a catch-all keeps it from being a 405
	f("GET", "/files/a/b", "/files/**")
	f("GET", "/files/", "/files/**")
	f("GET", "/files", "/files/**")
	f("GET", "/filesystem", "404")
	f("GET", "/", "GET /")
	f("GET", "/caf%c3%a9", "GET /caf%C3%A9")
	f("GET", "/café", "GET /caf%C3%A9")
}

func TestAPatternMatchesNothingButWhatItSays(t *testing.T) {
	t.Parallel()
	f := answers(t)
	f("GET", "/clients/", "404")
	f("GET", "//clients", "404")
	f("GET", "/clients//notes", "404")
	f("GET", "/slash/", "GET /slash/")
	f("GET", "/slash", "404")
	f("GET", "/a//b", "GET /a//b")
	f("GET", "/a/b", "404")
	f("GET", "/clients;x", "404")
	f("GET", "/Clients", "404")
	f("GET", "/x%2fy", "GET /x%2Fy")
	f("GET", "/x/y", "404")
	f("GET", "", "404")
	f("OPTIONS", "*", "404")
	f("GET", "clients", "404")

	// %2F stays inside its segment.
	f("GET", "/clients%2F5", "404")
	f("GET", "/clients/5%2Fnotes", "GET /clients/{id}")

	// Dot segments, however they are written, are for a catch-all at the root, and there is none.
	for _, dots := range []string{"/clients/..", "/clients/.", "/clients/%2e%2E", "/./clients", "/files/../clients", "/files/..%2fclients", "/files/..\\clients", "/files/%2e./x"} {
		f("GET", dots, "404")
	}
	f("GET", "/clients/...", "GET /clients/{id}")
	f("GET", "/clients/.hidden", "GET /clients/{id}")

	// Broken escapes and NULs are no value of a parameter.
	f("GET", "/clients/%zz", "404")
	f("GET", "/clients/%4", "404")
	f("GET", "/clients/a%00b", "404")
	f("GET", "/files/%zz", "/files/**")
}

func TestACatchAllAtTheRootTakesWhatNoOtherRuleMay(t *testing.T) {
	t.Parallel()
	set := setOf(t, ruleFor(t, "/**"), ruleFor(t, "GET /clients/{id}"), ruleFor(t, "/public/**"))
	for _, path := range []string{"/clients/../x", "/public/../private", "/public/..%2fprivate", "/clients/%zz", "//clients/5", "/clients/", "/"} {
		var m Match
		if set.Match("GET", []byte(path), &m) != Matched || m.Rule.Name != "/**" {
			t.Errorf("%s: rule %v, want /**", path, m.Rule)
		}
	}
}

func TestRulesThatCanNeverMatchAreReported(t *testing.T) {
	t.Parallel()
	first, second := ruleFor(t, "GET /clients/{id}"), ruleFor(t, "GET /clients/{name}")
	first.Position.Line = 7
	set, conflicts := NewSet([]*Rule{first, second, ruleFor(t, "POST /clients/{name}"), ruleFor(t, "GET /clients/**")})
	if len(conflicts) != 1 || conflicts[0].Rule != second || conflicts[0].With != first {
		t.Fatalf("conflicts %v, want the second rule only", conflicts)
	}
	want := `"GET /clients/{name}" never matches: "GET /clients/{id}" (line 7) takes the same requests; remove one of them or change its path or method`
	if got := conflicts[0].String(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if set.Rule("GET /clients/{id}") != first || set.Rule("GET /nothing") != nil || len(set.Rules()) != 4 || set.Rules()[3].Index != 3 {
		t.Error("the set does not know its rules by name and place")
	}
}

func TestPatternsThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		if _, err := CompilePattern(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", text, err, want)
		}
	}
	f("clients", "does not begin with a slash")
	f("", "does not begin with a slash")
	f("/a/**/b", "must be the last")
	f("/a/*", "/** for the rest")
	f("/a-{id}", "for a whole segment")
	f("/{}", "for a whole segment")
	f("/{1d}", "for a whole segment")
	f("/{id", "for a whole segment")
	f("/{id}/{id}", "twice")
	f("/a/../b", "never arrives")
	f("/a/%2e", "never arrives")
	f("/a?b=c", "query string")
	f("/a%2", "percent-escape")
	f("/a%00", "percent-escape")
	f("/a%0a", "control character")
	f("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "more than 8")
}

// matching is what BenchmarkMatch and the allocation budget look at: a set of n rules with the routes of
// an ordinary interface among them.
func matching(t testing.TB, n int) *Set {
	rules := []*Rule{ruleFor(t, "GET /api/v1/clients/{id}"), ruleFor(t, "/**")}
	for i := range max(0, n-2) {
		rules = append(rules, ruleFor(t, fmt.Sprintf("GET /api/v1/things%d/{id}/parts/{part}", i)))
	}
	return setOf(t, rules[:max(1, min(n, len(rules)))]...)
}

func TestMatchingAllocatesNothing(t *testing.T) {
	set, m := matching(t, 5000), new(Match)
	for _, path := range []string{"/api/v1/clients/123e4567-e89b-12d3-a456-426614174000", "/api/v1/things4000/7/parts/8", "/else/where", "/api/v1/cl%69ents/%41", "/a/../b"} {
		raw := []byte(path)
		set.Match("GET", raw, m)
		if n := testing.AllocsPerRun(100, func() { set.Match("GET", raw, m) }); n != 0 {
			t.Errorf("%s: %v allocations, want none", path, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	path := []byte("/api/v1/clients/123e4567-e89b-12d3-a456-426614174000")
	for _, n := range []int{1, 10, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			set, m := matching(b, n), new(Match)
			b.ReportAllocs()
			for b.Loop() {
				if set.Match("GET", path, m) != Matched {
					b.Fatal("no match")
				}
			}
		})
	}
}
