package rules

import (
	"fmt"
	"strings"
	"testing"
)

func bodyRequest(body, contentType string) *Request {
	req := requestTo("POST", "/b", nil)
	req.Body, req.ContentType = []byte(body), []byte(contentType)
	return req
}

func TestAnEmptyFieldOfARequestThatOnlyReadsIsAbsent(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "POST /b",
		Param{Name: "query", In: FromBody, Type: Text, Optional: true},
		Param{Name: "limit", In: FromBody, Type: Int, Default: pointer("20")},
		Param{Name: "kind", In: FromBody, Type: Enum, Enum: []string{"a", "b"}, Optional: true})
	body := `{"query":"","limit":"","kind":""}`
	if _, err := readRequest(t, r, bodyRequest(body, "application/json")); err == nil {
		t.Error("a rule that writes took empty text for an enum")
	}
	r.Reads = true
	in, err := readRequest(t, r, bodyRequest(body, "application/json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := values(in.Arguments); got != "NULL|20|NULL" {
		t.Errorf("read as %s", got)
	}
}

func TestFieldsOfAJSONBodyAreReadAsTyped(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "POST /b",
		Param{Name: "name", In: FromBody, Type: Text, MinLength: 1},
		Param{Name: "phone", In: FromBody, Type: Text, Optional: true, Nullable: true},
		Param{Name: "notes", In: FromBody, Type: Text, Optional: true},
		Param{Name: "limit", In: FromBody, Type: Int, Default: pointer("20")},
		Param{Name: "meta", In: FromBody, Type: JSON, Optional: true},
		Param{Name: "tags", In: FromBody, Type: Text, List: true, Optional: true, MaxItems: 3},
		Param{Name: "ok", In: FromBody, Type: Bool, Optional: true},
		Param{Name: "price", In: FromBody, Type: Number, Optional: true})
	f := func(body, want, wantBody string) {
		t.Helper()
		in, err := readRequest(t, r, bodyRequest(body, "application/json"))
		got := ""
		if err != nil {
			got = fmt.Sprint(err.Status, " ", err.Detail)
		} else {
			got = values(in.Arguments)
		}
		if got != want || string(in.Body) != wantBody {
			t.Errorf("%s: %s %s\nwant %s %s", body, got, in.Body, want, wantBody)
		}
	}
	f(`{"name":"Ann"}`, "Ann|NULL|NULL|20|NULL|NULL|NULL|NULL", `{"name":"Ann"}`)
	f(` { "unknown" : {"x":[1]} , "n\u0061me" : "A\u006en\n" } `, "Ann\n|NULL|NULL|20|NULL|NULL|NULL|NULL", `{"name":"Ann\n"}`)
	f(`{"limit":5.0,"name":"A","phone":null}`, "A|NULL|NULL|5|NULL|NULL|NULL|NULL", `{"name":"A","phone":null,"limit":5}`)
	f(`{"name":"A","phone":"","notes":null,"limit":null}`, "A||NULL|20|NULL|NULL|NULL|NULL", `{"name":"A","phone":""}`)
	f(`{"name":"A","tags":["a,b","c"],"meta":{"b":1,"a":12345678901234567890},"ok":true,"price":1.50e1}`,
		`A|NULL|NULL|20|{"a":12345678901234567890,"b":1}|{"a,b","c"}|true|15`,
		`{"name":"A","meta":{"a":12345678901234567890,"b":1},"tags":["a,b","c"],"ok":true,"price":15}`)
	f(`{"name":"A","tags":[]}`, `A|NULL|NULL|20|NULL|{}|NULL|NULL`, `{"name":"A","tags":[]}`)

	f(`{}`, "422 name is required", "")
	f(`{"name":null}`, "422 name must not be null", "")
	f(`{"name":""}`, "422 name must not be empty", "")
	f(`{"name":5,"limit":"20","ok":1,"price":true,"tags":"a"}`, `422 name must be text, not 5; limit must be a whole number, not the text "20"; tags must be an array, not the text "a"; ok must be true or false, not 1; price must be a number, not true`, "")
	f(`{"name":"A","limit":2.5}`, "422 limit must be a whole number, not 2.5", "")
	f(`{"name":"A","tags":["a",null]}`, "422 tags[1] must be text, not null", "")
	f(`{"name":"A","tags":["a","b","c","d"]}`, "400 tags must have at most 3 items", "")
	f(`{"name":"a\u0000"}`, "422 name must not contain the character U+0000", "")

	f(``, "400 the request has no body; want JSON, an object", "")
	f(`[]`, "400 the request body must be an object", "")
	f(`"x"`, "400 the request body must be an object", "")
	f(`{"name":"A"`, "400 the request body must be valid JSON; it ends too early", "")
	f(`{"name":A}`, "400 the request body must be valid JSON; it is broken at byte 8", "")
	f(`{"name":"A"} x`, "400 the request body must be valid JSON; it is broken at byte 13", "")
	f(`{"name":"A"}{}`, "400 the request body must be valid JSON and nothing behind it", "")
	f(`{"name":"A","name":"B"}`, `400 the request body has a name twice in one object: "/name"`, "")
	f(`{"name":"A","meta":{"a":1,"\u0061":2}}`, `400 the request body has a name twice in one object: "/meta/a"`, "")
	f("{\"name\":\"\xff\"}", "400 the request body must be valid JSON; it is broken at byte 9", "")
	f(`{"name":"\ud800"}`, "400 the request body must be valid JSON; it is broken at byte 9", "")
	f("\ufeff{}", "400 the request body must be valid JSON; it is broken at byte 0", "")
	f(strings.Repeat("[", 20000), "400 the request body must be valid JSON; it is broken at byte 10000", "")
}

func TestABodyWithFieldsMustBeJSONByItsType(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "POST /b", Param{Name: "a", In: FromBody, Type: Int})
	for _, good := range []string{"", "application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"} {
		if _, err := readRequest(t, r, bodyRequest(`{"a":1}`, good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonx", ";", "json", "image/+json"} {
		if _, err := readRequest(t, r, bodyRequest(`{"a":1}`, bad)); err == nil || err.Status != 415 {
			t.Errorf("%q: %v, want a 415", bad, err)
		}
	}
}

func TestABodyThatNothingIsDeclaredOfIsNotRead(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /b", searchParams()...)
	req := requestTo("GET", "/b?limit=5", nil)
	req.Body, req.ContentType = []byte(`{"limit":7`), []byte("text/plain")
	with := keyOf(t, r, req)
	if without := keyOf(t, r, requestTo("GET", "/b?limit=5", nil)); with != without {
		t.Error("a body on a GET is keyed")
	}
}

func batchRule(t testing.TB, limit int) *Rule {
	r := ruleFor(t, "POST /b")
	r.Batch = &Batch{MaxItems: limit, Item: []Param{
		{Name: "name", Type: Text, MinLength: 1},
		{Name: "email", Type: Email},
		{Name: "phone", Type: Text, Optional: true, Nullable: true},
		{Name: "days", Type: Int, List: true, Optional: true},
	}}
	if err := r.Compile(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachItemOfABatchIsReadOnItsOwn(t *testing.T) {
	t.Parallel()
	_, err := readRequest(t, batchRule(t, 50), bodyRequest(` [ {"name":"Ann","email":"a@b.c","days":[1,02e0]} ,
		{"name":"","email":"x"}, 7, {"email":"b@c.d","name":"Bob","phone":null,"x":1} ]`, ""))
	if err == nil {
		t.Fatal("02 is no JSON and was accepted")
	}
	in, err := readRequest(t, batchRule(t, 50), bodyRequest(` [ {"name":"Ann","email":"a@b.c","days":[1,2e0]} ,
		{"name":"","email":"x"}, 7, {"email":"b@c.d","name":"Bob","phone":null,"x":1} ]`, ""))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, len(in.Items))
	for i, item := range in.Items {
		if item.Err != nil {
			got[i] = fmt.Sprint(string(item.Raw), " ", item.Err.Status, " ", item.Err.Detail)
		} else {
			got[i] = fmt.Sprint(string(item.Raw), " ", values(item.Arguments), " ", string(item.Body))
		}
	}
	want := []string{
		`{"name":"Ann","email":"a@b.c","days":[1,2e0]} Ann|a@b.c|NULL|{1,2} {"name":"Ann","email":"a@b.c","days":[1,2]}`,
		`{"name":"","email":"x"} 422 name must not be empty; email must be an e-mail address, not "x"`,
		`7 422 the item must be an object, not 7`,
		`{"email":"b@c.d","name":"Bob","phone":null,"x":1} Bob|b@c.d|NULL|NULL {"name":"Bob","email":"b@c.d","phone":null}`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestABatchAsAWholeIsRefusedWhenItIsNoArrayOrTooLong(t *testing.T) {
	t.Parallel()
	f := func(body, want string) {
		t.Helper()
		_, err := readRequest(t, batchRule(t, 2), bodyRequest(body, ""))
		if got := fmt.Sprint(err); got != want || err != nil && (err.Status != 400 || err.TooMany != strings.Contains(want, "at most")) {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	f(`{}`, "the request body must be an array of objects")
	f(``, "the request has no body; want JSON, an array of objects")
	f(`[1,2`, "the request body must be valid JSON; it ends too early")
	f(`[1,2] 3`, "the request body must be valid JSON and nothing behind it")
	f(`[{},{},{},{}]`, "the request must have at most 2 items, not 4")
	f(`[{"a":1,"a":2}]`, `the request body has a name twice in one object: "/0/a"`)
	f(`[{},{}]`, "<nil>")
	f(`[]`, "<nil>")
}
