package performance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func TestOnlyAdministratorsMayClearAndBenchmark(t *testing.T) {
	t.Parallel()
	f := busy(t)
	ran := 0
	f.clear = func(context.Context, string) (int, error) { ran++; return 0, nil }
	do := f.do
	f.do = func(ctx context.Context, m, t, b string) (Answer, error) { ran++; return do(ctx, m, t, b) }
	for _, route := range [][2]string{{"POST", "/api/v1/performance/cache/clear"}, {"GET", "/api/v1/performance/benchmark"}} {
		if r := f.send(route[0], route[1]); r.StatusCode() != 401 || len(r.Header.Peek("WWW-Authenticate")) == 0 {
			t.Errorf("%s without a token: %d", route[1], r.StatusCode())
		}
		if r := f.send(route[0], route[1], "Authorization", "Bearer other"); r.StatusCode() != 403 {
			t.Errorf("%s with another token: %d", route[1], r.StatusCode())
		}
		f.token = ""
		if r := f.send(route[0], route[1], "Authorization", "Bearer "); r.StatusCode() != 403 || !strings.Contains(string(r.Body()), "admin.token") {
			t.Errorf("%s with no token configured: %d %s", route[1], r.StatusCode(), r.Body())
		}
		f.token = "s3cret"
		if ran != 0 {
			t.Fatalf("%s ran for a stranger", route[1])
		}
		if r := f.send(route[0], route[1], "Authorization", "Bearer s3cret"); r.StatusCode() != 200 || ran == 0 {
			t.Errorf("%s with the token: %d", route[1], r.StatusCode())
		}
		ran = 0
	}
}

func TestClearingSaysWhatFailedWithoutInternalTexts(t *testing.T) {
	t.Parallel()
	f := busy(t)
	asked := "none"
	f.clear = func(_ context.Context, table string) (int, error) {
		asked = table
		return 0, fmt.Errorf("%w", ErrNoTable)
	}
	if r := f.send("POST", "/api/v1/performance/cache/clear?table_name=x%22y", "Authorization", "Bearer s3cret"); r.StatusCode() != 404 || asked != `x"y` {
		t.Errorf("unknown table: %d, asked %q", r.StatusCode(), asked)
	}
	f.clear = func(context.Context, string) (int, error) { return 0, errors.New("dial tcp 10.0.0.5:5432: refused") }
	r := f.send("POST", "/api/v1/performance/cache/clear", "Authorization", "Bearer s3cret")
	if r.StatusCode() != 503 || len(r.Header.Peek("Retry-After")) == 0 || strings.Contains(string(r.Body()), "10.0.0.5") {
		t.Errorf("failing: %d %s", r.StatusCode(), r.Body())
	}
}

func TestClearingRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	f := busy(t)
	cleared := 0
	f.clear = func(context.Context, string) (int, error) { cleared++; return 0, nil }
	check := func(query, body string, status int, said string, fields ...string) {
		t.Helper()
		for _, streamed := range []bool{false, true} {
			var ctx fasthttp.RequestCtx
			ctx.Request.Header.SetMethod("POST")
			ctx.Request.Header.Set("Authorization", "Bearer s3cret")
			ctx.Request.SetRequestURI("/api/v1/performance/cache/clear" + query)
			if streamed {
				ctx.Request.SetBodyStream(strings.NewReader(body), -1)
			} else {
				ctx.Request.SetBodyString(body)
			}
			before := cleared
			f.Serve(&ctx)
			text := string(ctx.Response.Body())
			if got := ctx.Response.StatusCode(); got != status || (got == 200) != (cleared == before+1) || !strings.Contains(text, said) {
				t.Errorf("%s %.40s: %d %s, cleared %d times; want %d, %s", query, body, got, text, cleared-before, status, said)
			}
			for _, field := range fields {
				if !strings.Contains(text, `"field":"`+field+`"`) {
					t.Errorf("%s %.40s: %s, want the field %s", query, body, text, field)
				}
			}
		}
	}
	check("?table_name=items", "", 200, "")
	check("", " \n", 200, "")
	check("", "{}", 200, "")
	check("?table=items", "", 422, "table_name in the query string is", "table")
	check("?table_name=items&Table=x&y=1", "", 422, "table_name", "Table", "y")
	check("", `{"table_name":"items","a":1}`, 422, "table_name in the query string is", "table_name", "a")
	check("", "table_name=items", 400, "query string")
	check("", "[]", 400, "JSON object")
	check("", strings.Repeat(" ", 5000), 413, "content-too-large")
}

func TestTheBenchmarkGradesEachOperationAndRunsOnceAtATime(t *testing.T) {
	t.Parallel()
	f := busy(t)
	var within int
	f.do = func(ctx context.Context, method, target, body string) (Answer, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("an operation runs without a deadline")
		}
		within = f.send("GET", "/api/v1/performance/benchmark", "Authorization", "Bearer s3cret").StatusCode()
		if target == "/s" {
			f.advance(600 * time.Millisecond)
			return Answer{Status: 503}, nil
		}
		f.advance(20 * time.Millisecond)
		return Answer{Status: 200, Body: []byte(`[1,2,3]`), Hit: true}, nil
	}
	var got struct {
		Results map[string]json.RawMessage `json:"benchmark_results"`
	}
	r := f.send("GET", "/api/v1/performance/benchmark", "Authorization", "Bearer s3cret")
	if err := json.Unmarshal(r.Body(), &struct{ Data any }{&got}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"dashboard":            `{"execution_time":0.02,"result_count":3,"performance":"excellent","cache_hit":true}`,
		"search":               `{"execution_time":0.6,"result_count":0,"performance":"needs_optimization","cache_hit":false,"error":"answered 503"}`,
		"total_benchmark_time": `0.62`,
	}
	for name, text := range want {
		if string(got.Results[name]) != text {
			t.Errorf("%s: %s, want %s", name, got.Results[name], text)
		}
	}
	if within != 429 {
		t.Errorf("a benchmark during a benchmark: %d, want 429", within)
	}
}

func TestResultsAreCountedInAnyEnvelope(t *testing.T) {
	t.Parallel()
	f := func(body string, want int) {
		t.Helper()
		if got := countResults([]byte(body)); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
	f(`[]`, 0)
	f(`[1,2]`, 2)
	f(`{"id":1}`, 1)
	f(`{"status":"success","data":[1,2,3]}`, 3)
	f(`{"status":"success","data":{"clients":[1,2],"errors":[],"page":{}}}`, 2)
	f(`{"status":"success","data":{"clients":[]}}`, 0)
	f(`{"status":"success","data":7}`, 1)
	f(`{"clients":[1]}`, 1)
	f(`text`, 1)
	f(``, 0)
}

func TestTheDashboardPassesOnThatItsRouteIsInTrouble(t *testing.T) {
	t.Parallel()
	f := busy(t)
	check := func(status, want int) {
		t.Helper()
		f.do = func(context.Context, string, string, string) (Answer, error) { return Answer{Status: status}, nil }
		if r := f.send("GET", "/api/v1/performance/database/dashboard"); r.StatusCode() != want {
			t.Errorf("route answers %d: %d, want %d", status, r.StatusCode(), want)
		}
	}
	check(503, 503)
	check(504, 504)
	check(404, 502)
	check(401, 502)
	f.do = func(context.Context, string, string, string) (Answer, error) { return Answer{}, errors.New("secret") }
	if r := f.send("GET", "/api/v1/performance/database/dashboard"); r.StatusCode() != 503 || strings.Contains(string(r.Body()), "secret") {
		t.Errorf("no answer: %d %s", r.StatusCode(), r.Body())
	}
}

func TestPointersFindWhatTheyName(t *testing.T) {
	t.Parallel()
	f := func(pointer, want string) {
		t.Helper()
		if got := string(pointed([]byte(`{"a":{"b/c":[1,{"d~":12345678901234567890}]},"n":null}`), pointer)); got != want {
			t.Errorf("%s: %q, want %q", pointer, got, want)
		}
	}
	f("/a/b~1c/0", "1")
	f("/a/b~1c/1/d~0", "12345678901234567890")
	f("/a/b~1c/2", "")
	f("/a/b~1c/-1", "")
	f("/a/x", "")
	f("/n", "null")
	f("/n/x", "")
	f("", "")
}
