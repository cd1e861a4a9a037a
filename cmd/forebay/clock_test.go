package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// errOneClock : the process has the wall clock of all others.
var errOneClock = errors.New("forebay cannot be given a wall clock of its own here")

// Lifetimes and waits go on as they did when the wall clock jumps, hours forth or back.
func TestClockJumpChangesNoLifetime(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer service.Close()
	file := filepath.Join(t.TempDir(), "forebay.yaml")
	config := fmt.Sprintf(`upstreams: {legacy: {url: "%s", breaker: {failures: 1, open_for: 2m}}}
routes:
  - {route: GET /kept, upstream: legacy, ttl: 2m}
  - {route: "/**", upstream: legacy}
`, service.URL)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p, clock := launch(t, realBinary(t, "run", "-c", file, "--log-format=json"))
	if clock == nil {
		t.Skip(errOneClock)
	}
	var base string
	for deadline := time.Now().Add(patience); base == ""; <-time.After(5 * time.Millisecond) {
		if line, ok := findLog(p.logText(), "serving"); ok {
			base = "http://" + line["listen"]
		} else if time.Now().After(deadline) {
			t.Fatal(p.logText())
		}
	}
	get := func(path string) *http.Response {
		t.Helper()
		r, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r
	}
	jump := func(to time.Duration) {
		t.Helper()
		if err := clock.jump(to); err != nil {
			t.Fatal(err)
		}
	}
	seconds := func(r *http.Response, field string) int {
		t.Helper()
		n, err := strconv.Atoi(r.Header.Get(field))
		if err != nil {
			t.Fatalf("%s %v: %v", field, r.Header, err)
		}
		return n
	}
	get("/kept")
	for _, to := range []time.Duration{6 * time.Hour, -6 * time.Hour} {
		jump(to)
		if age := seconds(get("/kept"), "Age"); age > 60 {
			t.Errorf("%s off, what was stored a moment ago has the age of %d s", to, age)
		}
	}
	jump(6 * time.Hour)
	service.Close()
	get("/other") // opens the circuit
	jump(-6 * time.Hour)
	r := get("/other")
	if wait := seconds(r, "Retry-After"); r.StatusCode != http.StatusServiceUnavailable || wait > 120 {
		t.Errorf("status %d, to be tried again after %d s", r.StatusCode, wait)
	}
}
