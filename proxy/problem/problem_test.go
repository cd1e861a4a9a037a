package problem

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"forebay/rules"
)

func TestAWrittenProblemIsProblemJSONWithEveryMember(t *testing.T) {
	t.Parallel()
	p := New(InvalidParameter, `limit is "abc"; want a whole number`)
	p.Code, p.Hint, p.Instance = "22P02", "ask for 1 to 100", "/requests/7"
	p.Errors = []FieldError{{Field: "limit", In: "query", Detail: "want a whole number"}, {Field: "x"}}
	var ctx fasthttp.RequestCtx
	ctx.Response.Header.Set("ETag", `"old"`)
	ctx.Response.Header.Set("Cache-Status", "forebay; fwd=miss")
	Write(&ctx, p)

	var got map[string]any
	if err := json.Unmarshal(ctx.Response.Body(), &got); err != nil {
		t.Fatalf("%s: %v", ctx.Response.Body(), err)
	}
	want := map[string]any{
		"type": "urn:forebay:problem:invalid-parameter", "title": "A parameter is invalid", "status": 422.0,
		"detail": `limit is "abc"; want a whole number`, "instance": "/requests/7", "code": "22P02", "hint": "ask for 1 to 100",
		"errors": []any{
			map[string]any{"field": "limit", "in": "query", "detail": "want a whole number"},
			map[string]any{"field": "x"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	h := &ctx.Response.Header
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", "ETag": "", "Retry-After": "",
		"Cache-Status": "forebay; fwd=miss", "X-Content-Type-Options": "nosniff",
	} {
		if got := string(h.Peek(name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := ctx.Response.StatusCode(); got != 422 {
		t.Errorf("status %d, want 422", got)
	}
}

func TestRetryAfterIsRoundedUpToWholeSeconds(t *testing.T) {
	t.Parallel()
	p := New(Unavailable, "The database is unavailable.")
	p.RetryAfter = 1100 * time.Millisecond
	var ctx fasthttp.RequestCtx
	Write(&ctx, p)
	if got := string(ctx.Response.Header.Peek("Retry-After")); got != "2" {
		t.Errorf("Retry-After: %q, want 2", got)
	}
}

func TestBytesThatAreNotUTF8StillGiveValidJSON(t *testing.T) {
	t.Parallel()
	body := New(Malformed, "a\xffb\"\n\x00</script>").AppendJSON(nil)
	if !json.Valid(body) {
		t.Errorf("not JSON: %q", body)
	}
}

func TestAZeroProblemIsStillAValidAnswer(t *testing.T) {
	t.Parallel()
	var ctx fasthttp.RequestCtx
	Write(&ctx, &Problem{})
	if got, want := string(ctx.Response.Body()), `{"type":"about:blank","title":"Internal error","status":500}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAStatusWithoutATypeKeepsItsStatus(t *testing.T) {
	t.Parallel()
	p := OfStatus(418, "No coffee here.")
	if p.Status != 418 || p.Type != "" || p.Title == "" {
		t.Errorf("got %+v", p)
	}
	q := OfInput(&rules.InputError{Status: 400, Detail: "broken", Fields: []FieldError{{Field: "a"}}})
	if q.Type != Malformed || len(q.Errors) != 1 {
		t.Errorf("got %+v", q)
	}
	many := OfInput(&rules.InputError{Status: 400, TooMany: true, Detail: "too many"})
	if many.Type != TooManyItems || many.Status != 400 || many.Title != TooManyItems.Title() {
		t.Errorf("got %+v", many)
	}
}

// The table in the package's documentation is what clients are told: it must be the table in the code.
func TestTheDocumentedTableIsTheTableInTheCode(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile(`(?m)^//\t([a-z-]+) +(\d{3}) `).FindAllStringSubmatch(string(source), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	var coded []string
	for _, k := range kinds() {
		slug, ok := strings.CutPrefix(string(k.of), "urn:forebay:problem:")
		if !ok {
			t.Errorf("type %q has another form than the others", k.of)
		}
		coded = append(coded, slug+" "+string(rune('0'+k.status/100))+string(rune('0'+k.status/10%10))+string(rune('0'+k.status%10)))
	}
	if diff := cmp.Diff(documented, coded); diff != "" {
		t.Error(diff)
	}
}
