package performance

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"forebay/proxy/health"
)

func TestBrowsersGetThePageAndOthersTheListOfEndpoints(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	page := f.send("GET", "/api/v1/performance/", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if page.StatusCode() != 200 || !bytes.HasPrefix(page.Body(), []byte("<!doctype html>")) || string(page.Header.ContentType()) != "text/html; charset=utf-8" {
		t.Errorf("page: %d %s", page.StatusCode(), page.Header.ContentType())
	}
	if r := f.send("GET", "/api/v1/performance", "Accept", "text/html"); r.StatusCode() != 302 || string(r.Header.Peek("Location")) != "/api/v1/performance/" {
		t.Errorf("without the slash: %d to %s", r.StatusCode(), r.Header.Peek("Location"))
	}
	var list struct{ Data struct{ Endpoints []string } }
	if err := json.Unmarshal(f.send("GET", "/api/v1/performance/", "Accept", "application/json").Body(), &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Data.Endpoints {
		method, name, _ := strings.Cut(e, " ")
		if found, ok := find(name); !ok || found.method != method {
			t.Errorf("%s is listed and does not exist", e)
		}
	}
	if len(list.Data.Endpoints) != 9 {
		t.Errorf("%d endpoints listed, want 9", len(list.Data.Endpoints))
	}
}

func TestThePagesPolicyAllowsItsOwnScriptAndNothingElse(t *testing.T) {
	t.Parallel()
	r := newFixture(t, config()).send("GET", "/api/v1/performance/", "Accept", "text/html")
	policy := string(r.Header.Peek("Content-Security-Policy"))
	for _, want := range []string{"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "script-src 'sha256-", "style-src 'sha256-"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%q is not in %q", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	// What the policy would block would be broken; what loads from elsewhere would not be embedded.
	if m := regexp.MustCompile(`(?i) on[a-z]+=|style="|https?://[^w]|src=|@import|url\(`).Find(r.Body()); m != nil {
		t.Errorf("the page holds %q", m)
	}
	if n := bytes.Count(r.Body(), []byte("<script")); n != 1 {
		t.Errorf("%d scripts, want the one whose hash is allowed", n)
	}
}

// The script writes what the server says as text alone.
func TestThePageNeverMakesMarkupOfData(t *testing.T) {
	t.Parallel()
	if m := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser|srcdoc`).Find(pageHTML); m != nil {
		t.Errorf("the page uses %s", m)
	}
}

func TestNamesOfRulesAndTablesCannotBecomeMarkup(t *testing.T) {
	t.Parallel()
	f := newFixture(t, config())
	const evil = `</script><img src=x onerror=alert(1)>`
	f.parts = append(f.parts, health.Part{Name: "upstreams", Of: evil, Level: health.Down, Reason: evil})
	h := f.read("GET /"+evil, evil, evil)
	f.record(h, 200, 3*time.Second, false)
	for _, name := range []string{"health", "metrics", "analytics", "slow-queries", "optimization/recommendations", "analytics?table_name=%3Cimg%3E", "metrics?minutes=%3Cimg%3E", "%3Cimg%3E"} {
		r := f.send("GET", "/api/v1/performance/"+name, "Accept", "text/html")
		if bytes.ContainsAny(r.Body(), "<>") {
			t.Errorf("%s: markup in %s", name, r.Body())
		}
		if kind := string(r.Header.ContentType()); !strings.Contains(kind, "json") || string(r.Header.Peek("X-Content-Type-Options")) != "nosniff" {
			t.Errorf("%s is %s and may be sniffed", name, kind)
		}
	}
}
