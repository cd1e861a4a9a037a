package rules

import (
	"slices"
	"testing"
)

// TestReadings looks for the paths under which a service that normalises would have taken a write.
func TestReadings(t *testing.T) {
	for path, want := range map[string][]string{
		"/c/a":            nil,
		"/c/.a/b..":       nil,
		"/":               nil,
		"":                nil,
		"/c/x/../a":       {"/c/a"},
		"/c/./a":          {"/c/a"},
		"/c/%2e/a":        {"/c/a"},
		"/c/x/%2E%2e/a":   {"/c/a"},
		"/c/x/.%2e/a":     {"/c/a"},
		"/c/x%2F..%2fa":   {"/c/a"},
		"/c/x\\..\\a":     {"/c/a"},
		"/c//a":           {"/c/a"},
		"/c/x//../a":      {"/c/x/a", "/c/a"},
		"/../../c/a":      {"/c/a"},
		"/c/a/.":          {"/c/a/", "/c/a"},
		"/c/a/x/..":       {"/c/a/", "/c/a"},
		"/c/%2561/../%61": {"/c/%61"},
		"/..":             {"/"},
		"//":              {"/"},
	} {
		got := Readings([]byte(path))
		if len(want) == 0 && len(got) > 0 {
			t.Errorf("%q has other readings: %q", path, got)
		}
		for _, w := range want {
			if !slices.ContainsFunc(got, func(g []byte) bool { return string(g) == w }) {
				t.Errorf("%q is not read as %q, only as %q", path, w, got)
			}
		}
	}
}
