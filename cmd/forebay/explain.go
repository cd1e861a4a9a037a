package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"forebay/proxy"
	"forebay/proxy/problem"
)

// explainCmd asks a running forebay about one request.
type explainCmd struct {
	adminClient
	Method  string   `arg:"" help:"GET, or POST for a search."`
	URL     string   `arg:"" help:"Path and query, as clients ask for it; a whole URL will do."`
	Headers []string `name:"header" short:"H" help:"A header field of the request, as 'Name: value', where the rule looks at one."`
	JSON    bool     `name:"json" help:"Print it for programs."`
}

// Run asks and prints.
func (e *explainCmd) Run(ctx context.Context) error {
	target := e.URL
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		target = u.RequestURI()
	}
	path := "/explain?" + url.Values{"method": {strings.ToUpper(e.Method)}, "url": {target}}.Encode()
	fields := http.Header{}
	for _, line := range e.Headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("cannot use --header=%q: want 'Name: value'", line)
		}
		fields.Add("Explain-"+strings.TrimSpace(name), strings.TrimSpace(value))
	}
	status, body, err := e.ask(ctx, http.MethodGet, path, nil, fields)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("cannot explain %s %s: %s", e.Method, e.URL, detailOf(body))
	}
	if e.JSON {
		_, err := os.Stdout.Write(body)
		return err
	}
	var x proxy.Explanation
	if err := json.Unmarshal(body, &x); err != nil {
		return fmt.Errorf("read answer of %s: %w", e.Admin, err)
	}
	return printExplanation(os.Stdout, &x)
}

// detailOf returns a problem's sentence.
func detailOf(body []byte) string {
	var p struct{ Detail string }
	if err := json.Unmarshal(body, &p); err != nil || p.Detail == "" {
		return string(body)
	}
	return p.Detail
}

func printExplanation(to io.Writer, x *proxy.Explanation) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	line("verdict", "%s", x.Verdict)
	line("rule", "%s", x.Rule)
	line("source", "%s", x.Source)
	line("lifetime", "%s", x.TTL)
	freshness := x.Freshness
	if x.Reason != "" {
		freshness += ": " + x.Reason
	}
	line("freshness", "%s", freshness)
	if x.Basis != "" {
		line("outdated by", "%s", x.Basis)
	}
	if x.Freshness == "exact" || x.Freshness == "bounded" {
		line("policy", "max_lag %s, on_lost %s", x.MaxLag, x.OnLost)
	}
	if x.Batch != "" {
		line("batch", "%s", x.Batch)
	}
	line("changes", "%s", feedLine(x.Feed))
	for _, p := range x.Parameters {
		value := p.Value
		if p.Null {
			value = "NULL"
		}
		line("parameter", "%s = %s", p.Name, value)
	}
	for _, r := range x.Stored {
		line("stored", "status %d, %d bytes, %s old, %s left: %s", r.Status, r.Bytes, seconds(r.Age), seconds(r.TTL), r.Use)
		line("  current", "%t: %s", r.Current, r.Why)
		line("  snapshot", "%s", r.Snapshot)
		for _, d := range r.Dependencies {
			line("  depends on", "%s (%s)", d.On, d.Found)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print explanation: %w", err)
	}
	return nil
}

func feedLine(f proxy.ExplainedFeed) string {
	switch {
	case !f.Live:
		return fmt.Sprintf("%s, not live: %s", f.Mode, f.Reason)
	case f.Reason != "":
		return f.Mode + ": " + f.Reason
	case f.Mode == "off":
		return "off: writes through forebay alone are known"
	case f.Lag >= 0:
		return fmt.Sprintf("%s, current as of %s ago", f.Mode, seconds(f.Lag))
	}
	return f.Mode
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// explain answers the admin listener.
func (a *app) explain(ctx context.Context, method, url string, header func(string) [][]byte) (any, error) {
	x, err := a.proxy.Explain(ctx, method, url, header)
	var bad *proxy.OrderError
	if errors.As(err, &bad) {
		return nil, problem.New(problem.InvalidParameter, bad.Detail)
	}
	return x, err
}
