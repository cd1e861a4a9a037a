package rules_test

import (
	"bytes"
	"fmt"

	"forebay/rules"
)

// Two spellings of one request have one key, and a request that is wrong says everything that is.
func Example() {
	pattern, err := rules.CompilePattern("/clients/{program}")
	if err != nil {
		panic(err)
	}
	first, last, twenty := "1", "100", "20"
	rule := &rules.Rule{
		Name: "GET /clients/{program}", Method: "GET", Pattern: pattern,
		Params: []rules.Param{
			{Name: "program", In: rules.FromPath, Type: rules.Enum, Enum: []string{"PRIME", "HYBRID"}},
			{Name: "since", In: rules.FromQuery, Type: rules.Timestamptz, Optional: true},
			{Name: "limit", In: rules.FromQuery, Type: rules.Int, Min: &first, Max: &last, Default: &twenty},
		},
	}
	if err := rule.Compile(); err != nil {
		panic(err)
	}
	set, _ := rules.NewSet([]*rules.Rule{rule})

	read := func(path, query string) []byte {
		req := &rules.Request{Method: "GET", Path: []byte(path), Query: []byte(query), Header: func(string) [][]byte { return nil }}
		var m rules.Match
		if set.Match(req.Method, req.Path, &m) != rules.Matched {
			fmt.Println("no route")
			return nil
		}
		var in rules.Input
		if err := m.Rule.ReadInput(req, &m, &in); err != nil {
			fmt.Println(err.Status, err)
			return nil
		}
		for i, a := range in.Arguments {
			fmt.Printf("%s: %s\n", m.Rule.Params[i].Name, a.Text)
		}
		return m.Rule.AppendKey(nil, req, &in)
	}
	one := read("/clients/PRIME", "since=2026-01-31T12:00:00Z")
	other := read("/clients/PRIM%45", "limit=020&utm_source=x&since=2026-01-31T13:00:00%2B01:00")
	fmt.Println("one key:", bytes.Equal(one, other))
	read("/clients/prime", "limit=500")
	// Output:
	// program: PRIME
	// since: 2026-01-31T12:00:00Z
	// limit: 20
	// program: PRIME
	// since: 2026-01-31T12:00:00Z
	// limit: 20
	// one key: true
	// 422 program must be one of PRIME, HYBRID, not "prime"; limit must be between 1 and 100, not 500
}
