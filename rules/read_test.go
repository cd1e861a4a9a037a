package rules

import (
	"fmt"
	"strings"
	"testing"
)

func TestParametersOfTheQueryStringAreReadAsTyped(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /search", searchParams()...)
	f := func(query, want string) {
		t.Helper()
		in, err := readRequest(t, r, requestTo("GET", "/search?"+query, nil))
		got := ""
		if err != nil {
			got = fmt.Sprint(err.Status, " ", err.Detail)
		} else {
			got = values(in.Arguments)
		}
		if got != want {
			t.Errorf("?%s: %s\nwant %s", query, got, want)
		}
	}
	f("", "NULL|NULL|20|0")
	f("query=ann", "ann|NULL|20|0")
	f("limit=050&offset=+7&status=active&query=a+b%2Bc", "a b+c|active|50|7")
	f("%6cimit=5&unknown=%zz&LIMIT=6", "NULL|NULL|5|0")
	f("query=&status=&limit=&offset", "NULL|NULL|20|0")
	f("&&query=a;limit=7&", "a;limit=7|NULL|20|0") // a semicolon is data
	f("query=a=b", "a=b|NULL|20|0")
	f("query=%F0%9F%98%80", "😀|NULL|20|0")
	f("limit=500", "422 limit must be between 1 and 100, not 500")
	f("limit=5&limit=5", "400 limit must be there once, not 2 times")
	f("limit=&limit=5", "400 limit must be there once, not 2 times")
	f("query=%zz", "400 query has a broken percent-escape; want %25 for a percent sign")
	f("query=%ff", "422 query must be UTF-8")
	f("query=a%00", "422 query must not contain the character U+0000")
	f("limit=x&offset=-1&status=gone", `422 status must be one of active, inactive, trial, not "gone"; limit must be a whole number between 1 and 100, not "x"; offset must be at least 0, not -1`)
	f("limit=x&offset=1&offset=2", `400 limit must be a whole number between 1 and 100, not "x"; offset must be there once, not 2 times`)
}

func TestEveryFieldAtFaultIsNamed(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /c/{id}",
		Param{Name: "id", In: FromPath, Type: UUID},
		Param{Name: "n", In: FromQuery, Type: Int},
		Param{Name: "tenant", Field: "X-Tenant", In: FromHeader, Type: Int})
	_, err := readRequest(t, r, requestTo("GET", "/c/5", header{"x-tenant": {"a"}}))
	want := []FieldError{
		{"id", "path", `id must be a UUID like 123e4567-e89b-12d3-a456-426614174000, not "5"`},
		{"n", "query", "n is required"},
		{"X-Tenant", "header", `X-Tenant must be a whole number, not "a"`},
	}
	if err == nil || err.Status != 422 || fmt.Sprint(err.Fields) != fmt.Sprint(want) {
		t.Errorf("%+v\nwant %+v", err, want)
	}
}

func TestAPathParameterIsDecodedOnceAndInsideItsSegment(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /t/{name}/x", Param{Name: "name", In: FromPath, Type: Text})
	f := func(segment, want string) {
		t.Helper()
		in, err := readRequest(t, r, requestTo("GET", "/t/"+segment+"/x", nil))
		if err != nil || values(in.Arguments) != want {
			t.Errorf("%s: %v, %v; want %q", segment, values(in.Arguments), err, want)
		}
	}
	f("a", "a")
	f("a%2Fb", "a/b")
	f("a+b", "a+b")
	f("a%2Bb%20c", "a+b c")
	f("a%252Fb", "a%2Fb")
	f("a;v=1", "a;v=1")
	if _, err := readRequest(t, r, requestTo("GET", "/t/%ff/x", nil)); err == nil || err.Detail != "name must be UTF-8" {
		t.Errorf("invalid UTF-8: %v", err)
	}
}

func TestAListMayBeSeparatedOrRepeated(t *testing.T) {
	t.Parallel()
	ids := Param{Name: "ids", In: FromQuery, Type: Int, List: true, MaxItems: 3, Unique: true}
	optional := ids
	optional.Optional = true
	f := func(p Param, query, want string) {
		t.Helper()
		in, err := readRequest(t, ruleFor(t, "GET /x", p), requestTo("GET", "/x?"+query, nil))
		got := ""
		if err != nil {
			got = fmt.Sprint(err.Status, " ", err.Detail)
		} else {
			got = values(in.Arguments)
		}
		if got != want {
			t.Errorf("?%s: %s, want %s", query, got, want)
		}
	}
	f(ids, "ids=3,1,2", "{3,1,2}")
	f(ids, "ids=3%2C1", "{3,1}")
	f(ids, "ids=3,1&ids=03", "{3,1}")
	f(ids, "ids=1&other=9&ids=2,3", "{1,2,3}")
	f(ids, "ids=1,2,3,4", "400 ids must have at most 3 items")
	f(ids, "ids=1&ids=%z", "400 ids has a broken percent-escape; want %25 for a percent sign")
	f(ids, "ids=1,x,y", `422 ids[1] must be a whole number, not "x"`)
	f(ids, "", "422 ids is required")
	f(ids, "ids=", "{}")
	f(optional, "ids=", "NULL")
	f(optional, "ids=,", "NULL")
	f(optional, "", "NULL")
}

func TestTooManyItemsAreToldFromWhatIsMalformed(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /x",
		Param{Name: "a", In: FromQuery, Type: Int, List: true, MaxItems: 1, Optional: true},
		Param{Name: "b", In: FromQuery, Type: Int, Optional: true},
		Param{Name: "c", In: FromQuery, Type: Int, List: true, MaxItems: 1, Optional: true})
	f := func(query string, tooMany bool) {
		t.Helper()
		_, err := readRequest(t, r, requestTo("GET", "/x?"+query, nil))
		if err == nil || err.Status != 400 || err.TooMany != tooMany {
			t.Errorf("?%s: %+v, want too many: %v", query, err, tooMany)
		}
	}
	f("a=1,2", true)
	f("b=x&c=1,2", true)
	f("a=1,2&c=1,2", true)
	f("a=1,2&b=1&b=2", false)
	f("b=1&b=2&c=1,2", false)
}

func TestHeaderParametersAreRead(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /x",
		Param{Name: "tenant", Field: "X-Tenant", In: FromHeader, Type: Text},
		Param{Name: "days", Field: "X-Days", In: FromHeader, Type: Int, Default: pointer("7")},
		Param{Name: "tags", Field: "X-Tags", In: FromHeader, Type: Text, List: true, Optional: true})
	f := func(h header, want string) {
		t.Helper()
		in, err := readRequest(t, r, requestTo("GET", "/x", h))
		got := ""
		if err != nil {
			got = fmt.Sprint(err.Status, " ", err.Detail)
		} else {
			got = values(in.Arguments)
		}
		if got != want {
			t.Errorf("%v: %s, want %s", h, got, want)
		}
	}
	f(header{"x-tenant": {" acme "}}, "acme|7|NULL")
	f(header{"x-tenant": {"acme"}, "x-days": {"07"}, "x-tags": {"a", "b,c"}}, `acme|7|{"a","b","c"}`)
	f(header{"x-tenant": {"acme"}, "x-days": {""}}, "acme|7|NULL")
	f(header{}, "422 X-Tenant is required")
	f(header{"x-tenant": {"a", "b"}}, "400 X-Tenant must be there once, not 2 times")

	// A purge by URL has no header, and asks for no header parameter.
	req := requestTo("GET", "/x", nil)
	req.Header = nil
	if _, err := readRequest(t, r, req); err != nil {
		t.Errorf("without a header: %v", err)
	}
}

func TestAnInputReusedKeepsNothingOfTheLastRequest(t *testing.T) {
	t.Parallel()
	search := ruleFor(t, "GET /search", searchParams()...)
	post := ruleFor(t, "POST /p", Param{Name: "a", In: FromBody, Type: Text, Optional: true})
	set := setOf(t, search, post)
	var in Input
	var m Match
	read := func(req *Request) {
		t.Helper()
		if set.Match(req.Method, req.Path, &m) != Matched {
			t.Fatal("no match")
		}
		if err := m.Rule.ReadInput(req, &m, &in); err != nil {
			t.Fatal(err)
		}
	}
	read(requestTo("GET", "/search?query=secret&status=active&limit=3", nil))
	kept := in.Clone()
	body := requestTo("POST", "/p", nil)
	body.Body = []byte(`{"a":"other"}`)
	read(body)
	read(requestTo("GET", "/search", nil))
	if got := values(in.Arguments); got != "NULL|NULL|20|0" || in.Body != nil {
		t.Errorf("reused input has %s and body %q", got, in.Body)
	}
	if got := values(kept.Arguments); got != "secret|active|3|0" {
		t.Errorf("clone has %s after its input was reused", got)
	}
}

func TestOneHugeBodyDoesNotStayInMemory(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "POST /p", Param{Name: "a", In: FromBody, Type: Text})
	set := setOf(t, r)
	var in Input
	var m Match
	for _, size := range []int{1 << 20, 1} {
		req := requestTo("POST", "/p", nil)
		req.Body = []byte(`{"a":"` + strings.Repeat("x", size) + `"}`)
		if set.Match("POST", req.Path, &m) != Matched {
			t.Fatal("no match")
		}
		if err := r.ReadInput(req, &m, &in); err != nil {
			t.Fatal(err)
		}
	}
	if cap(in.scratch) > maxKept {
		t.Errorf("an input keeps %d bytes of a request that is over", cap(in.scratch))
	}
}

func TestACloneHasAllOfItsInput(t *testing.T) {
	t.Parallel()
	in := &Input{
		Arguments: []Argument{{Present: true, Text: []byte("a")}, {}},
		Body:      []byte("{}"), Path: []byte("/p"), Query: []byte("q"),
		Items: []Item{{Raw: []byte("{}"), Arguments: []Argument{{Present: true, Text: []byte("i")}}, Body: []byte("{}"), Err: &InputError{Detail: "e"}}},
	}
	before := fmt.Sprintf("%v %v %v %v %v", in.Arguments, in.Body, in.Path, in.Query, in.Items)
	c := in.Clone()
	for _, b := range [][]byte{in.Arguments[0].Text, in.Body, in.Path, in.Query, in.Items[0].Raw, in.Items[0].Arguments[0].Text, in.Items[0].Body} {
		b[0] = '!'
	}
	if after := fmt.Sprintf("%v %v %v %v %v", c.Arguments, c.Body, c.Path, c.Query, c.Items); after != before {
		t.Errorf("%s\nwant %s", after, before)
	}
}
