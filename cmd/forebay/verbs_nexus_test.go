package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// answerVerbs look into answers, beside what verbs has.
func answerVerbs() map[string]verb {
	return map[string]verb{
		"json":    jsonVerb,    // [!] json PATH [REGEXP]: what the body has at data.list.0.name; list.# is its length
		"keys":    keysVerb,    // keys PATH NAME …: the object there has exactly these names
		"problem": problemVerb, // problem STATUS DETAIL-REGEXP: the body is a problem detail that says so
		"keep":    keepVerb,    // keep VAR: the body into a variable
		"same":    sameVerb,    // [!] same VAR: the body is what was kept
		"lines":   linesVerb,   // lines N: the body has so many
		"repeat":  repeatVerb,  // repeat VAR N TEXT: the text for 1 to N, which take the place of %d, joined by commas
	}
}

// withAnswerVerbs returns both.
func withAnswerVerbs(all map[string]verb) map[string]verb {
	maps.Copy(all, answerVerbs())
	return all
}

// errAbsent is what a path leads to when it leads nowhere.
var errAbsent = errors.New("not there")

// at follows a path into the last body. "." is the whole.
func at(ts *testscript.TestScript, path string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(worldOf(ts).last.body))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(path, ".") {
		if name == "" {
			continue
		}
		switch within := v.(type) {
		case map[string]any:
			next, found := within[name]
			if !found {
				return nil, errAbsent
			}
			v = next
		case []any:
			if name == "#" {
				return json.Number(strconv.Itoa(len(within))), nil
			}
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(within) {
				return nil, errAbsent
			}
			v = within[i]
		default:
			return nil, errAbsent
		}
	}
	return v, nil
}

// printed writes a value as a script expects it: text bare, the rest as JSON.
func printed(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v)
	return strings.TrimSuffix(b.String(), "\n")
}

func jsonVerb(ts *testscript.TestScript, neg bool, args []string) {
	v, err := at(ts, args[0])
	if errors.Is(err, errAbsent) && neg && len(args) == 1 {
		return
	}
	if err != nil {
		ts.Fatalf("%s: %v in %s", args[0], err, shorten(worldOf(ts).last.body))
	}
	if len(args) == 1 && !neg {
		return
	}
	if len(args) == 1 || matches(ts, args[1], printed(v)) == neg {
		ts.Fatalf("%s is %s", args[0], printed(v))
	}
}

func keysVerb(ts *testscript.TestScript, _ bool, args []string) {
	v, err := at(ts, args[0])
	if err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		ts.Fatalf("%s is no object: %s", args[0], printed(v))
	}
	want := slices.Sorted(slices.Values(args[1:]))
	if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, want) {
		ts.Fatalf("%s has %v, want %v", args[0], got, want)
	}
}

// problemVerb wants what every error of the contract has: a problem detail that repeats the status.
func problemVerb(ts *testscript.TestScript, _ bool, args []string) {
	status(ts, false, args[:1])
	header(ts, false, []string{"Content-Type", `^application/problem\+json$`})
	header(ts, false, []string{"Cache-Control", "no-store"})
	jsonVerb(ts, false, []string{"status", "^" + args[0] + "$"})
	jsonVerb(ts, false, []string{"type", "^urn:forebay:problem:[a-z-]+$"})
	jsonVerb(ts, false, []string{"title", "^[A-Z]"})
	jsonVerb(ts, false, []string{"detail", args[1]})
	body(ts, true, []string{`127\.0\.0\.1|postgres://|(?i)select |insert into|pgconn`})
}

func keepVerb(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], worldOf(ts).last.body)
}

func sameVerb(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if (w.last.body == ts.Getenv(args[0])) == neg {
		ts.Fatalf("the body is %s\nand was %s", shorten(w.last.body), shorten(ts.Getenv(args[0])))
	}
}

func linesVerb(ts *testscript.TestScript, _ bool, args []string) {
	if n := strings.Count(worldOf(ts).last.body, "\n"); strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d lines", n)
	}
}

func repeatVerb(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	all := make([]string, n)
	for i := range all {
		all[i] = strings.ReplaceAll(args[2], "%d", fmt.Sprintf("%012d", i+1))
	}
	ts.Setenv(args[0], strings.Join(all, ","))
}
