package rules

import (
	"strings"
	"testing"
	"time"
)

func TestOneMeaningHasOneKey(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /search", searchParams()...)
	want := keyOf(t, r, requestTo("GET", "/search?query=ann&limit=20", nil))
	for _, query := range []string{
		"limit=20&query=ann", "query=ann&limit=020", "query=ann", "query=%61nn&limit=%32%30", "offset=0&query=ann&junk=1", "query=ann&status=&offset=",
	} {
		if keyOf(t, r, requestTo("GET", "/search?"+query, nil)) != want {
			t.Errorf("?%s has another key", query)
		}
	}
	if keyOf(t, r, requestTo("HEAD", "/search?query=ann", nil)) != want {
		t.Error("HEAD has another key than GET")
	}
}

func TestDifferentMeaningsHaveDifferentKeys(t *testing.T) {
	t.Parallel()
	text := func(name string) Param { return Param{Name: name, In: FromQuery, Type: Text, Optional: true} }
	r := ruleFor(t, "GET /x", text("a"), text("b"))
	seen := make(map[string]string)
	for _, query := range []string{
		"", "a=x", "b=x", "a=x&b=y", "a=xy", "b=xy", "a=x%01y&b=z", "a=x&b=y%01z", "a=x%01%01y", "a=%01x", "a=NULL",
		"a=" + strings.Repeat("x", 511), "a=" + strings.Repeat("x", 512), "a=" + strings.Repeat("x", 513), "a=" + strings.Repeat("x", 513) + "y",
	} {
		key := keyOf(t, r, requestTo("GET", "/x?"+query, nil))
		if other, taken := seen[key]; taken {
			t.Errorf("?%s and ?%s have one key", query, other)
		}
		seen[key] = query
		if len(key) > 2*maxPart {
			t.Errorf("?%s has a key of %d bytes", query, len(key))
		}
	}
}

func TestNULLAndAnEmptyTextAreTwoKeys(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "POST /b", Param{Name: "a", In: FromBody, Type: Text, Optional: true, Nullable: true})
	null, empty := keyOf(t, r, bodyRequest(`{"a":null}`, "")), keyOf(t, r, bodyRequest(`{"a":""}`, ""))
	if null == empty {
		t.Error("null and the empty text have one key")
	}
	if absent := keyOf(t, r, bodyRequest(`{}`, "")); absent != null {
		t.Error("null and nothing differ, though no statement can tell")
	}
	r.Query = &Query{Statements: []Statement{{SQL: "select $1", Params: []int{-1}}}}
	if err := r.Compile(); err != nil {
		t.Fatal(err)
	}
	if keyOf(t, r, bodyRequest(`{"a":null}`, "")) == keyOf(t, r, bodyRequest(`{}`, "")) {
		t.Error("null and nothing have one key, though @body tells them apart")
	}
}

func TestVaryFieldsPartTheKey(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /x")
	r.Vary = []string{"accept-language", "x-a"}
	key := func(h header) string { return keyOf(t, r, requestTo("GET", "/x", h)) }
	if key(header{"accept-language": {"de"}}) == key(header{"accept-language": {"en"}}) {
		t.Error("two languages have one key")
	}
	if key(header{"accept-language": {" de ", "en"}}) != key(header{"accept-language": {"de, en"}}) {
		t.Error("two lines and one line of the same value have two keys")
	}
	if key(header{"accept-language": {"de"}}) == key(header{"x-a": {"de"}}) || key(nil) == key(header{"x-a": {""}}) {
		t.Error("a value has the same key in another field, or as none")
	}
	if key(header{"other": {"1"}}) != key(nil) {
		t.Error("a field that is not named is keyed")
	}
}

func TestAcceptPartsTheKeyWhereItChoosesAStoredForm(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /x")
	key := func(stream bool, accept string) string {
		r.Query = &Query{Formats: []Format{{Param: -1, Accept: "application/json", Stream: stream}}}
		if err := r.Compile(); err != nil {
			t.Fatal(err)
		}
		return keyOf(t, r, requestTo("GET", "/x", header{"accept": {accept}}))
	}
	if key(false, "application/json") == key(false, "*/*") {
		t.Error("two forms have one key")
	}
	if key(true, "text/csv") != key(true, "*/*") {
		t.Error("Accept is keyed though what it chooses is never stored")
	}
}

func TestIdentityPartsTheKeyAndDoesNotStandInIt(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /x")
	r.Identity = []IdentityPart{{Header: "Authorization"}, {Cookie: "session"}}
	key := func(h header) string { return keyOf(t, r, requestTo("GET", "/x", h)) }
	distinct := []header{
		nil,
		{"authorization": {"Bearer s3cret"}},
		{"authorization": {"Bearer S3cret"}},
		{"authorization": {" Bearer s3cret"}},
		{"authorization": {""}},
		{"authorization": {"Bearer", "s3cret"}},
		{"cookie": {"session=s3cret"}},
		{"cookie": {"session="}},
		{"cookie": {"session=s3cret; session=other"}},
		{"cookie": {"session=other; session=s3cret"}},
		{"authorization": {"Bearer s3cret"}, "cookie": {"session=s3cret"}},
	}
	seen := make(map[string]int)
	for i, h := range distinct {
		k := key(h)
		if j, taken := seen[k]; taken {
			t.Errorf("%v and %v have one key", h, distinct[j])
		}
		seen[k] = i
		if strings.Contains(k, "s3cret") {
			t.Errorf("%v: the credentials stand in the key %q", h, k)
		}
	}
	want := key(header{"cookie": {"session=s3cret"}})
	for _, cookie := range []string{"a=1; session=s3cret", "session=s3cret;theme=dark", " session =s3cret", "mysession=x; session=s3cret; Session=y"} {
		if key(header{"cookie": {cookie}}) != want {
			t.Errorf("%q has another key than the session alone", cookie)
		}
	}
	if key(header{"cookie": {"a=1", "session=s3cret"}}) != want {
		t.Error("a session in a second line has another key")
	}
}

func TestAPurgeByURLFindsEveryKeyOfIt(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /x/{id}", Param{Name: "id", In: FromPath, Type: Int},
		Param{Name: "tenant", Field: "X-Tenant", In: FromHeader, Type: Text}, Param{Name: "n", In: FromQuery, Type: Int, Default: pointer("1")})
	r.Vary = []string{"accept-language"}
	r.Identity = []IdentityPart{{Header: "Authorization"}}
	purge := requestTo("GET", "/x/05", nil)
	purge.Header = nil
	in, err := readRequest(t, r, purge)
	if err != nil {
		t.Fatal(err)
	}
	prefix := string(r.AppendKeyOf(nil, in))
	for _, h := range []header{{"x-tenant": {"a"}}, {"x-tenant": {"b"}, "authorization": {"c"}, "accept-language": {"d"}}} {
		if !strings.HasPrefix(keyOf(t, r, requestTo("GET", "/x/5?n=01", h)), prefix) {
			t.Errorf("%v: the key does not begin with the URL's", h)
		}
	}
	h := header{"x-tenant": {"a"}}
	if strings.HasPrefix(keyOf(t, r, requestTo("GET", "/x/51", h)), prefix) || strings.HasPrefix(keyOf(t, r, requestTo("GET", "/x/5?n=2", h)), prefix) {
		t.Error("another URL's key begins with this one's")
	}
	if !strings.HasPrefix(prefix, string(r.KeyPrefix())) {
		t.Error("the key does not begin with the rule's prefix")
	}
}

func TestARequestToAnUpstreamIsKeyedByAllThatIsForwarded(t *testing.T) {
	t.Parallel()
	r := upstreamRule(t, "/x/**", Param{Name: "tenant", Field: "X-Tenant", In: FromHeader, Type: Int, Optional: true})
	seen := make(map[string]string)
	f := func(method, target, body, contentType, tenant string) {
		t.Helper()
		req := requestTo(method, target, nil)
		if tenant != "" {
			req.Header = header{"x-tenant": {tenant}}.lines
		}
		req.Body, req.ContentType = []byte(body), []byte(contentType)
		key, name := keyOf(t, r, req), strings.Join([]string{method, target, body, contentType, tenant}, " ")
		if other, taken := seen[key]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		seen[key] = name
	}
	f("GET", "/x", "", "", "")
	f("GET", "/x/", "", "", "")
	f("GET", "/x/a", "", "", "")
	f("GET", "/x/%3B", "", "", "")
	f("GET", "/x/;", "", "", "")
	f("GET", "/x?a", "", "", "")
	f("GET", "/x?a=", "", "", "")
	f("GET", "/x?a=1&a=2", "", "", "")
	f("GET", "/x?a=2&a=1", "", "", "")
	f("POST", "/x", "", "", "")
	f("POST", "/x", "b", "", "")
	f("POST", "/x", "b", "text/plain", "")
	f("GET", "/x", "b", "", "")
	f("GET", "/x", "", "", "7")
	f("GET", "/x", "", "", "07") // forwarded as sent, so keyed as sent
}

func TestAChangedRuleFindsNoKeyOfBefore(t *testing.T) {
	t.Parallel()
	fresh := func() *Rule {
		r := ruleFor(t, "GET /x", searchParams()...)
		r.TTL, r.Negative = time.Minute, map[int]time.Duration{404: time.Second, 410: time.Hour}
		r.Query = &Query{Statements: []Statement{{Name: "rows", File: "a.sql", Line: 1, SQL: "select 1", Params: []int{0}}}, Template: Template{{Literal: []byte("{}")}}}
		return r
	}
	generation := func(change func(*Rule)) string {
		r := fresh()
		change(r)
		if err := r.Compile(); err != nil {
			t.Fatal(err)
		}
		return string(r.KeyPrefix())
	}
	same := generation(func(*Rule) {})
	if generation(func(r *Rule) {
		r.Query.Statements[0].File, r.Query.Statements[0].Line, r.Position.Line = "/other/place.sql", 9, 4
	}) != same {
		t.Error("a file in another place is another generation, so two instances would share nothing")
	}
	for name, change := range map[string]func(*Rule){
		"statement":  func(r *Rule) { r.Query.Statements[0].SQL = "select 2" },
		"binding":    func(r *Rule) { r.Query.Statements[0].Params = []int{1} },
		"rows":       func(r *Rule) { r.Query.Statements[0].Rows = One },
		"template":   func(r *Rule) { r.Query.Template[0].Literal = []byte("[]") },
		"status":     func(r *Rule) { r.Query.Status = 201 },
		"plan":       func(r *Rule) { r.Query.CustomPlan = true },
		"formats":    func(r *Rule) { r.Query.Formats = []Format{{Accept: "text/csv"}} },
		"header":     func(r *Rule) { r.Query.Header = []HeaderTemplate{{Name: "Location"}} },
		"parameter":  func(r *Rule) { r.Params[0].MaxLength = 5 },
		"default":    func(r *Rule) { r.Params[2].Default = pointer("30") },
		"lifetime":   func(r *Rule) { r.TTL = time.Second },
		"negative":   func(r *Rule) { r.Negative[404] = time.Hour },
		"stale":      func(r *Rule) { r.StaleWhileRevalidate = time.Second },
		"freshness":  func(r *Rule) { r.Freshness = TTLOnly },
		"identity":   func(r *Rule) { r.Identity = []IdentityPart{{Cookie: "a"}} },
		"vary":       func(r *Rule) { r.Vary = []string{"a"} },
		"tags":       func(r *Rule) { r.Tags = []string{"a"} },
		"depends_on": func(r *Rule) { r.DependsOn = []string{"a"} },
		"upstream":   func(r *Rule) { r.Upstream = "legacy" },
		"source":     func(r *Rule) { r.Source = "db2" },
		"name":       func(r *Rule) { r.Name = "GET /y" },
	} {
		if generation(change) == same {
			t.Errorf("another %s is the same generation", name)
		}
	}
}

func TestAParameterThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "GET /x/{id}")
	r.Params = []Param{{Name: "key", In: FromPath}}
	if err := r.Compile(); err == nil || err.Error() != `compile rule "GET /x/{id}": parameter "key" is not in the path /x/{id}; write {key} there` {
		t.Errorf("error %v", err)
	}
	r.Params = []Param{{Name: "q", In: FromQuery, Pattern: "("}}
	if err := r.Compile(); err == nil || !strings.Contains(err.Error(), `parameter "q": pattern "("`) {
		t.Errorf("error %v", err)
	}
}

func TestReadingAndKeyingAllocateNothing(t *testing.T) {
	byID, byIDRequest := byIDCase(t)
	search, searchRequest := searchCase(t)
	ids := ruleFor(t, "GET /ids", Param{Name: "ids", In: FromQuery, Type: UUID, List: true, Unique: true, MaxItems: 100})
	personal := ruleFor(t, "GET /me", searchParams()...)
	personal.Vary, personal.Identity = []string{"accept-language"}, []IdentityPart{{Header: "Authorization"}, {Cookie: "session"}}
	lines := map[string][][]byte{
		"accept-language": {[]byte("de")}, "Authorization": {[]byte(strings.Repeat("x", 600))}, "Cookie": {[]byte("a=b; session=" + strings.Repeat("y", 600))},
	}
	me := requestTo("GET", "/me?limit=5", nil)
	me.Header = func(name string) [][]byte { return lines[name] }
	upstream := upstreamRule(t, "GET /up/{id}/**")
	for name, c := range map[string]struct {
		rule *Rule
		req  *Request
	}{
		"by id":            {byID, byIDRequest},
		"search":           {search, searchRequest},
		"search, escaped":  {search, requestTo("GET", "/api/v1/clients/search?query=a+b%20c&%6cimit=050", nil)},
		"by ids":           {ids, requestTo("GET", "/ids?ids=123e4567-e89b-12d3-a456-426614174000,123e4567-e89b-12d3-a456-426614174001,123e4567-e89b-12d3-a456-426614174000", nil)},
		"identity":         {personal, me},
		"upstream, sorted": {upstream, requestTo("GET", "/up/a%20b/c/d?b=1&a=2&b=3", nil)},
	} {
		set := setOf(t, c.rule)
		var m Match
		var in Input
		var key []byte
		run := func() {
			if set.Match(c.req.Method, c.req.Path, &m) != Matched {
				t.Fatal("no match")
			}
			if err := m.Rule.ReadInput(c.req, &m, &in); err != nil {
				t.Fatal(err)
			}
			key = m.Rule.AppendKey(key[:0], c.req, &in)
		}
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func byIDCase(t testing.TB) (*Rule, *Request) {
	r := ruleFor(t, "GET /api/v1/clients/{id}", Param{Name: "id", In: FromPath, Type: UUID})
	return r, requestTo("GET", "/api/v1/clients/123e4567-e89b-12d3-a456-426614174000", nil)
}

func searchCase(t testing.TB) (*Rule, *Request) {
	r := ruleFor(t, "GET /api/v1/clients/search", searchParams()...)
	return r, requestTo("GET", "/api/v1/clients/search?query=ann&status=active&limit=20&offset=40", nil)
}

func BenchmarkReadInputAndAppendKey(b *testing.B) {
	byID, byIDRequest := byIDCase(b)
	search, searchRequest := searchCase(b)
	post := ruleFor(b, "POST /b", inBody(searchParams())...)
	run := func(name string, r *Rule, req *Request) {
		b.Run(name, func(b *testing.B) {
			var m Match
			var in Input
			var key []byte
			if setOf(b, r).Match(req.Method, req.Path, &m) != Matched {
				b.Fatal("no match")
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := r.ReadInput(req, &m, &in); err != nil {
					b.Fatal(err)
				}
				key = r.AppendKey(key[:0], req, &in)
			}
		})
	}
	run("by-id", byID, byIDRequest)
	run("search", search, searchRequest)
	run("post-search", post, bodyRequest(`{"query":"ann","status":"active","limit":20,"offset":40}`, "application/json"))
}
