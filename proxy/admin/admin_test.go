package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"forebay/proxy/health"
	"forebay/proxy/problem"
	"forebay/rules"
)

func TestMain(m *testing.M) {
	// fasthttp keeps one clock for its Date fields, and a stopped server's sweeper sleeps before it looks.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// fixture is an Admin over fakes that note what they were asked to do.
type fixture struct {
	*Admin
	t      *testing.T
	token  rules.Secret
	parts  []health.Part
	did    []string
	purged PurgeRequest
	state  BypassState
	err    error
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, token: "s3cret", parts: []health.Part{{Name: health.Postgres, Essential: true}}}
	set := metrics.NewSet()
	set.NewCounter(`forebay_requests_total{rule="a",outcome="hit"}`).Add(7)
	f.Admin = New(Config{Listen: "127.0.0.1:0"}, Deps{
		Token:   func() rules.Secret { return f.token },
		Parts:   func() []health.Part { return f.parts },
		Metrics: set,
		Config:  func() ([]byte, error) { return []byte("listen: 127.0.0.1:8080\n"), f.err },
		Rules: func() []RuleReport {
			return []RuleReport{{Name: "GET /<b>", Source: "postgres", TTL: "1m0s", Freshness: "exact", Reason: "every table is known", Tables: []string{"public.clients"}, Tags: []string{}}}
		},
		Purge: func(_ context.Context, r PurgeRequest) (PurgeResult, error) {
			f.did, f.purged = append(f.did, "purge"), r
			return PurgeResult{Matched: 3, Shared: true}, f.err
		},
		Reload: func(context.Context) error { f.did = append(f.did, "reload"); return f.err },
		Bypass: func() BypassState { return f.state },
		SetBypass: func(rule string, on bool) error {
			f.did = append(f.did, "bypass")
			if rule == "" {
				f.state.All = on
			} else if on {
				f.state.Rules = append(f.state.Rules, rule)
			} else {
				f.state.Rules = slices.DeleteFunc(f.state.Rules, func(r string) bool { return r == rule })
			}
			return f.err
		},
	})
	f.loopback = true
	return f
}

// request is one request and where it comes from.
type request struct {
	method, target, body string
	from                 string // an IP; 127.0.0.1 if empty
	fields               []string
}

func (f *fixture) send(r request) *fasthttp.Response {
	f.t.Helper()
	if r.from == "" {
		r.from = "127.0.0.1"
	}
	var req fasthttp.Request
	req.Header.SetMethod(r.method)
	req.SetRequestURI(r.target)
	req.Header.SetHost("127.0.0.1:8081")
	for i := 0; i < len(r.fields); i += 2 {
		req.Header.Set(r.fields[i], r.fields[i+1])
	}
	req.SetBodyString(r.body)
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, &net.TCPAddr{IP: net.ParseIP(r.from), Port: 5000}, nil)
	f.Handle(&ctx)
	return &ctx.Response
}

func (f *fixture) want(r request, status int) *fasthttp.Response {
	f.t.Helper()
	got := f.send(r)
	if got.StatusCode() != status {
		f.t.Errorf("%s %s from %q: %d, want %d: %s", r.method, r.target, r.from, got.StatusCode(), status, got.Body())
	}
	if status >= 400 && string(got.Header.ContentType()) != problem.ContentType && status != 503 {
		f.t.Errorf("%s %s: %d without problem details", r.method, r.target, status)
	}
	return got
}

func bearerOf(token string) []string { return []string{"Authorization", "Bearer " + token} }

func TestLivenessAsksNothingElse(t *testing.T) {
	t.Parallel()
	a := New(Config{}, Deps{}) // any dependency asked would be a nil function
	for _, path := range []string{"/livez", "/live", "/healthz"} {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI(path)
		a.Handle(&ctx)
		if ctx.Response.StatusCode() != 200 || string(ctx.Response.Body()) != "ok\n" {
			t.Errorf("%s: %d %q", path, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
}

func TestReadinessNamesEachPartAndIsNotFailedByRedis(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.parts = append(f.parts, health.Part{Name: health.Redis, Level: health.Down, Reason: "connection refused"}, health.Part{Name: health.Breaker, State: "closed"})
	got := f.want(request{method: "GET", target: "/readyz"}, 200)
	want := `{"status":"ready","parts":[{"name":"postgres","state":"up","essential":true},` +
		`{"name":"redis","state":"down","essential":false,"reason":"connection refused"},{"name":"breaker","state":"closed","essential":false}]}` + "\n"
	if diff := cmp.Diff(want, string(got.Body())); diff != "" {
		t.Error(diff)
	}
	f.parts[0] = health.Part{Name: health.Postgres, Level: health.Down, Reason: "the database does not answer", Essential: true}
	got = f.want(request{method: "GET", target: "/ready"}, 503)
	if body := string(got.Body()); !strings.Contains(body, `"status":"not ready"`) || !strings.Contains(body, "the database does not answer") {
		t.Errorf("got %s", body)
	}
}

func TestMetricsHoldOursAndTheProcesss(t *testing.T) {
	t.Parallel()
	body := string(newFixture(t).want(request{method: "GET", target: "/metrics", from: "10.0.0.9"}, 200).Body())
	for _, want := range []string{`forebay_requests_total{rule="a",outcome="hit"} 7`, "process_resident_memory_bytes ", "go_goroutines "} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestWhoMayReadAndChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	read := request{method: "GET", target: "/config"}
	change := request{method: "POST", target: "/purge", body: `{"all":true}`}
	check := func(r request, from string, status int, fields ...string) {
		t.Helper()
		r.from, r.fields = from, fields
		f.did = nil
		f.want(r, status)
		if ran := len(f.did) > 0; r.method == "POST" && ran != (status == 200) {
			t.Errorf("answered %d, and ran: %v", status, ran)
		}
	}
	// With a token: reading is free on this host, changing never is.
	check(read, "127.0.0.1", 200)
	check(read, "::1", 200)
	check(read, "10.0.0.9", 401)
	check(read, "10.0.0.9", 403, bearerOf("other")...)
	check(read, "10.0.0.9", 200, bearerOf("s3cret")...)
	check(read, "127.0.0.1", 401, "Host", "evil.example") // a rebound name
	check(read, "127.0.0.1", 200, "Host", "localhost:8081")
	check(change, "127.0.0.1", 401)
	check(change, "127.0.0.1", 403, bearerOf("other")...)
	check(change, "127.0.0.1", 200, bearerOf("s3cret")...)
	check(change, "10.0.0.9", 200, bearerOf("s3cret")...)

	// Without one: through a loopback listener, and not by a page in a browser.
	f.token = ""
	check(read, "127.0.0.1", 200)
	check(read, "10.0.0.9", 403)
	check(change, "127.0.0.1", 200)
	check(change, "127.0.0.1", 403, "Origin", "https://evil.example")
	check(change, "127.0.0.1", 403, "Host", "evil.example:8081")
	f.loopback = false
	check(change, "127.0.0.1", 403)
	check(change, "127.0.0.1", 403, bearerOf("")...)
	if body := string(f.want(change, 403).Body()); !strings.Contains(body, "admin.token") {
		t.Errorf("the setting is not named: %s", body)
	}
}

func TestAPurgeSaysWhatItMatched(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := request{method: "POST", target: "/purge", fields: bearerOf("s3cret")}
	r.body = `{"urls":["https://api.example/api/v1/clients/42?a=1","/b"],"prefixes":["/api/"],"tags":["t"],"tables":["public.clients"],"rules":["GET /x"],"mode":"soft","dry_run":true}`
	got := f.want(r, 200)
	if want := `{"matched":3,"mode":"soft","dry_run":true,"shared":true}` + "\n"; string(got.Body()) != want {
		t.Errorf("got %s, want %s", got.Body(), want)
	}
	want := PurgeRequest{
		URLs: []string{"/api/v1/clients/42?a=1", "/b"}, Prefixes: []string{"/api/"}, Tags: []string{"t"},
		Tables: []string{"public.clients"}, Rules: []string{"GET /x"}, Mode: Soft, DryRun: true,
	}
	if diff := cmp.Diff(want, f.purged); diff != "" {
		t.Error(diff)
	}
	r.body = `{"all":true}`
	f.want(r, 200)
	if diff := cmp.Diff(PurgeRequest{All: true, Mode: Hard}, f.purged); diff != "" {
		t.Error(diff)
	}
}

func TestAPurgeThatIsNotClearIsNotRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	check := func(body string, status int, words string) {
		t.Helper()
		got := f.want(request{method: "POST", target: "/purge", body: body, fields: bearerOf("s3cret")}, status)
		if !strings.Contains(string(got.Body()), words) {
			t.Errorf("%s: %q is not in %s", body, words, got.Body())
		}
	}
	check(`{}`, 422, "nothing is named")
	check(`{"urls":[]}`, 422, "nothing is named")
	check(`{"dry_run":true}`, 422, "nothing is named")
	check(`{"url":["/a"]}`, 422, `url`)
	check(`{"urls":"/a"}`, 422, "urls must not be a JSON string")
	check(`{"urls":["a"]}`, 422, "begins with /")
	check(`{"urls":["ftp://x/a"]}`, 422, "begins with /")
	check(`{"tags":[""]}`, 422, "tags[0] is empty")
	check(`{"all":true,"mode":"gentle"}`, 422, "want hard or soft")
	check(`{"all":true`, 400, "one JSON object")
	check(`{"all":true}{"all":true}`, 400, "one JSON object")
	check(`[]`, 422, "must not be a JSON array")
	check(``, 400, "one JSON object")
	check(`{"tags":[`+strings.Repeat(`"t",`, maxTargets)+`"t"]}`, 422, "at most 1000")
	if len(f.did) > 0 {
		t.Errorf("ran %v", f.did)
	}
}

func TestThePurgeMethodPurgesItsURL(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.want(request{method: "PURGE", target: "/api/v1/clients/42?x=%2F", fields: bearerOf("s3cret")}, 200)
	if diff := cmp.Diff(PurgeRequest{URLs: []string{"/api/v1/clients/42?x=%2F"}, Mode: Hard}, f.purged); diff != "" {
		t.Error(diff)
	}
	f.want(request{method: "PURGE", target: "/", fields: append(bearerOf("s3cret"), "Surrogate-Key", "a  b", "Fastly-Soft-Purge", "1")}, 200)
	if diff := cmp.Diff(PurgeRequest{Tags: []string{"a", "b"}, Mode: Soft}, f.purged); diff != "" {
		t.Error(diff)
	}
	f.did = nil
	f.want(request{method: "PURGE", target: "/livez"}, 401) // its path is no route of this listener
	if len(f.did) > 0 {
		t.Error("a stranger purged")
	}
}

func TestFailuresAreLoggedAndNotShown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.err = errors.New("dial tcp 10.0.0.5:6379: refused")
	got := f.want(request{method: "POST", target: "/purge", body: `{"all":true}`, fields: bearerOf("s3cret")}, 500)
	if strings.Contains(string(got.Body()), "10.0.0.5") {
		t.Errorf("internal text: %s", got.Body())
	}
	f.err = problem.New(problem.NotFound, "There is no table nope.")
	got = f.want(request{method: "POST", target: "/purge", body: `{"tables":["nope"]}`, fields: bearerOf("s3cret")}, 404)
	if !strings.Contains(string(got.Body()), "There is no table nope.") {
		t.Errorf("got %s", got.Body())
	}
}

func TestARefusedReloadShowsEachMistake(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := request{method: "POST", target: "/reload", fields: bearerOf("s3cret")}
	f.want(r, 200)
	f.err = errors.New("a.yaml:3:1: first\na.yaml:9:5: second")
	var p struct{ Errors []problem.FieldError }
	if err := json.Unmarshal(f.want(r, 422).Body(), &p); err != nil {
		t.Fatal(err)
	}
	want := []problem.FieldError{{Field: "configuration", Detail: "a.yaml:3:1: first"}, {Field: "configuration", Detail: "a.yaml:9:5: second"}}
	if diff := cmp.Diff(want, p.Errors); diff != "" {
		t.Error(diff)
	}
}

func TestTheKillSwitchIsTurnedOnAndOffForAllAndForARule(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	check := func(body string, status int, want string) {
		t.Helper()
		got := f.want(request{method: "POST", target: "/bypass", body: body, fields: bearerOf("s3cret")}, status)
		if status == 200 && strings.TrimSpace(string(got.Body())) != want {
			t.Errorf("%s: %s, want %s", body, got.Body(), want)
		}
	}
	check(`{"all":true}`, 200, `{"all":true,"rules":[]}`)
	check(`{"rule":"GET /x","bypass":true}`, 200, `{"all":true,"rules":["GET /x"]}`)
	check(`{"all":false}`, 200, `{"all":false,"rules":["GET /x"]}`)
	check(`{"rule":"GET /x","bypass":false}`, 200, `{"all":false,"rules":[]}`)
	f.did = nil
	check(`{}`, 422, "")
	check(`{"rule":"GET /x"}`, 422, "")
	check(`{"bypass":true}`, 422, "")
	check(`{"all":true,"rule":"GET /x","bypass":true}`, 422, "")
	check(`{"all":"yes"}`, 422, "")
	if len(f.did) > 0 {
		t.Errorf("ran %v", f.did)
	}
	f.err = ErrNoRule
	check(`{"rule":"GET /nope","bypass":true}`, 404, "")
}

func TestRulesAndConfigurationAreShown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.want(request{method: "GET", target: "/rules"}, 200)
	var list struct{ Rules []RuleReport }
	if err := json.Unmarshal(got.Body(), &list); err != nil || len(list.Rules) != 1 || list.Rules[0].Reason == "" {
		t.Errorf("%v: %s", err, got.Body())
	}
	if strings.Contains(string(got.Body()), "<b>") {
		t.Errorf("markup: %s", got.Body())
	}
	if body := string(f.want(request{method: "GET", target: "/config"}, 200).Body()); body != "listen: 127.0.0.1:8080\n" {
		t.Errorf("config: %s", body)
	}
}

func TestUnknownRoutesAndMethodsAreProblems(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	check := func(method, path string, status int, allow string) {
		t.Helper()
		if got := f.want(request{method: method, target: path, fields: bearerOf("s3cret")}, status); string(got.Header.Peek("Allow")) != allow {
			t.Errorf("%s %s: Allow %q, want %q", method, path, got.Header.Peek("Allow"), allow)
		}
	}
	check("GET", "/", 404, "")
	check("GET", "/nope", 404, "")
	check("GET", "/purge", 405, "POST")
	check("POST", "/livez", 405, "GET, HEAD")
	check("DELETE", "/bypass", 405, "GET, HEAD, POST")
	check("HEAD", "/readyz", 200, "")
	check("GET", "/debug/pprof/", 200, "")
	check("GET", "/debug/pprof/goroutine?debug=1", 200, "")
}

func TestTheListenerServesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.token = ""
	ln, err := f.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- f.Serve(ctx, ln) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	url := "http://" + ln.Addr().String()

	response, err := client.Get(url + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.StatusCode != 200 || string(body) != "ok\n" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("livez: %d %q", response.StatusCode, body)
	}
	// Through a loopback listener without a token, a purge may be sent; its size is bounded.
	response, err = client.Post(url+"/purge", "application/json", strings.NewReader(`{"all":true}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 {
		t.Errorf("purge: %d", response.StatusCode)
	}
	response, err = client.Post(url+"/purge", "application/json", strings.NewReader(strings.Repeat(" ", maxBody+1)))
	if err == nil {
		response.Body.Close()
		if response.StatusCode != 413 || response.Header.Get("Content-Type") != problem.ContentType {
			t.Errorf("too large: %d %s", response.StatusCode, response.Header.Get("Content-Type"))
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("still listening")
	}
}

func TestATakenAddressNamesTheSetting(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = New(Config{Listen: taken.Addr().String()}, Deps{}).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "admin.listen") || !strings.Contains(err.Error(), "cannot listen on") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyALoopbackAddressIsOne(t *testing.T) {
	t.Parallel()
	f := func(address string, want bool) {
		t.Helper()
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := isLoopback(addr); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
	f("127.0.0.1:1", true)
	f("127.9.9.9:1", true)
	f("[::1]:1", true)
	f("0.0.0.0:1", false)
	f("[::]:1", false)
	f("10.0.0.1:1", false)
}
