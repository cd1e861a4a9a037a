package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/pprofhandler"

	"forebay/proxy/bearer"
	"forebay/proxy/health"
	"forebay/proxy/problem"
)

// access is what a route asks of its caller. See the package's documentation.
type access uint8

const (
	anyone   access = iota
	reading         // on the same host, or with the token
	changing        // with the token, or without one configured, through a loopback listener
)

// route is one path and method.
type route struct {
	method string // GET stands for HEAD, too
	access access
	serve  func(*Admin, *fasthttp.RequestCtx)
}

// routesOf returns the routes of a path, none if it has none.
func routesOf(path string) []route {
	switch path {
	case "/livez", "/live", "/healthz":
		return []route{{"GET", anyone, (*Admin).livez}}
	case "/readyz", "/ready":
		return []route{{"GET", anyone, (*Admin).readyz}}
	case "/metrics":
		return []route{{"GET", anyone, (*Admin).metrics}}
	case "/config":
		return []route{{"GET", reading, (*Admin).config}}
	case "/rules":
		return []route{{"GET", reading, (*Admin).rules}}
	case "/explain":
		return []route{{"GET", reading, (*Admin).explain}}
	case "/bypass":
		return []route{{"GET", reading, (*Admin).bypass}, {"POST", changing, (*Admin).setBypass}}
	case "/purge":
		return []route{{"POST", changing, (*Admin).purge}}
	case "/reload":
		return []route{{"POST", changing, (*Admin).reload}}
	}
	if strings.HasPrefix(path, "/debug/pprof") {
		return []route{{"GET", reading, (*Admin).profile}, {"POST", reading, (*Admin).profile}} // go tool pprof posts symbols
	}
	return nil
}

// Handle answers one request.
func (a *Admin) Handle(ctx *fasthttp.RequestCtx) {
	method := string(ctx.Method())
	if method == "PURGE" {
		a.answer(ctx, route{"PURGE", changing, (*Admin).purgeURL})
		return
	}
	routes := routesOf(string(ctx.Path()))
	if len(routes) == 0 {
		problem.Write(ctx, problem.New(problem.NoRoute, "The administrators' listener has no such route."))
		return
	}
	var allow []string
	for _, r := range routes {
		if r.method == method || r.method == "GET" && method == "HEAD" {
			a.answer(ctx, r)
			return
		}
		allow = append(allow, r.method)
		if r.method == "GET" {
			allow = append(allow, "HEAD")
		}
	}
	ctx.Response.Header.Set(fasthttp.HeaderAllow, strings.Join(allow, ", "))
	problem.Write(ctx, problem.New(problem.MethodNotAllowed, "This route answers "+strings.Join(allow, ", ")+" only."))
}

func (a *Admin) answer(ctx *fasthttp.RequestCtx, r route) {
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.Response.Header.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	if refused := a.permit(ctx, r.access); refused != nil {
		problem.Write(ctx, refused)
		return
	}
	r.serve(a, ctx)
}

// permit returns nil when the caller may, and else the problem to answer with.
func (a *Admin) permit(ctx *fasthttp.RequestCtx, wanted access) *problem.Problem {
	if wanted == anyone {
		return nil
	}
	token := a.deps.Token()
	switch {
	case wanted == reading && isLoopback(ctx.RemoteAddr()) && !byName(ctx.Host()):
		return nil
	case wanted == changing && token == "" && a.loopback:
		if len(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)) == 0 && !byName(ctx.Host()) {
			return nil
		}
		p := problem.New(problem.Forbidden, "Without an administrator's token, requests that a browser sends for a page are refused.")
		p.Hint = "set admin.token, and send it as Authorization: Bearer <token>"
		return p
	}
	return bearer.Check(ctx, token)
}

// byName reports whether a Host names a host other than localhost: a page whose own name was made to
// resolve to this address (DNS rebinding) sends such a one.
func byName(host []byte) bool {
	name := string(host)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	return name != "" && !strings.EqualFold(name, "localhost") && net.ParseIP(name) == nil
}

func (a *Admin) livez(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("ok\n")
}

type readiness struct {
	Status string       `json:"status"`
	Parts  []partReport `json:"parts"`
}

type partReport struct {
	Name      string `json:"name"`
	Of        string `json:"of,omitempty"`
	State     string `json:"state"`
	Essential bool   `json:"essential"`
	Reason    string `json:"reason,omitempty"`
}

func (a *Admin) readyz(ctx *fasthttp.RequestCtx) {
	parts := a.deps.Parts()
	r := readiness{Status: "ready", Parts: make([]partReport, 0, len(parts))}
	status := fasthttp.StatusOK
	if !health.Ready(parts) {
		r.Status, status = "not ready", fasthttp.StatusServiceUnavailable
	}
	for _, p := range parts {
		r.Parts = append(r.Parts, partReport{Name: p.Name, Of: p.Of, State: p.Word(), Essential: p.Essential, Reason: p.Reason})
	}
	a.write(ctx, r)
	ctx.SetStatusCode(status)
}

func (a *Admin) metrics(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	w := ctx.Response.BodyWriter()
	a.deps.Metrics.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}

func (a *Admin) config(ctx *fasthttp.RequestCtx) {
	text, err := a.deps.Config()
	if err != nil {
		a.fail(ctx, "dump configuration", err)
		return
	}
	ctx.SetContentType("application/yaml; charset=utf-8")
	ctx.SetBody(text)
}

func (a *Admin) rules(ctx *fasthttp.RequestCtx) {
	list := a.deps.Rules()
	if list == nil {
		list = []RuleReport{}
	}
	a.write(ctx, map[string][]RuleReport{"rules": list})
}

func (a *Admin) profile(ctx *fasthttp.RequestCtx) { pprofhandler.PprofHandler(ctx) }

// explain answers what becomes of a request to url, by method (GET if not given). Header fields that begin
// with Explain- stand for the request's own.
func (a *Admin) explain(ctx *fasthttp.RequestCtx) {
	args := ctx.QueryArgs()
	method, url := string(args.Peek("method")), string(args.Peek("url"))
	if method == "" {
		method = fasthttp.MethodGet
	}
	if url == "" {
		problem.Write(ctx, problem.New(problem.InvalidParameter, "Say which request, as in /explain?url=/api/v1/clients/42."))
		return
	}
	within, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	header := func(name string) [][]byte { return ctx.Request.Header.PeekAll("Explain-" + name) }
	explanation, err := a.deps.Explain(within, method, url, header)
	if err != nil {
		a.fail(ctx, "explain", err)
		return
	}
	a.write(ctx, explanation)
}

func (a *Admin) bypass(ctx *fasthttp.RequestCtx) {
	state := a.deps.Bypass()
	if state.Rules == nil {
		state.Rules = []string{}
	}
	a.write(ctx, state)
}

// bypassRequest is the body of POST /bypass.
type bypassRequest struct {
	All    *bool  `json:"all"`
	Rule   string `json:"rule"`
	Bypass *bool  `json:"bypass"`
}

func (a *Admin) setBypass(ctx *fasthttp.RequestCtx) {
	var r bypassRequest
	if bad := decode(ctx.PostBody(), &r); bad != nil {
		problem.Write(ctx, bad)
		return
	}
	rule, on := r.Rule, r.Bypass
	if r.All != nil && rule == "" && on == nil {
		on = r.All
	} else if r.All != nil || rule == "" || on == nil {
		problem.Write(ctx, problem.New(problem.InvalidParameter, `Say either {"all": true} or {"rule": "GET /x", "bypass": true}, or false to end it.`))
		return
	}
	if err := a.deps.SetBypass(rule, *on); errors.Is(err, ErrNoRule) {
		problem.Write(ctx, problem.New(problem.NotFound, fmt.Sprintf("There is no rule %q; /rules lists them.", rule)))
		return
	} else if err != nil {
		a.fail(ctx, "set bypass", err)
		return
	}
	a.bypass(ctx)
}

func (a *Admin) reload(ctx *fasthttp.RequestCtx) {
	within, cancel := context.WithTimeout(context.Background(), actTimeout)
	defer cancel()
	err := a.deps.Reload(within)
	if err == nil {
		a.write(ctx, map[string]string{"status": "reloaded"})
		return
	}
	var own *problem.Problem
	if errors.As(err, &own) {
		problem.Write(ctx, own)
		return
	}
	p := problem.New(problem.InvalidParameter, "The configuration was refused and the running one stays.")
	for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
		p.Errors = append(p.Errors, problem.FieldError{Field: "configuration", Detail: line})
	}
	problem.Write(ctx, p)
}

// decode reads a JSON body strictly: a misspelt member of a purge must not make it a smaller one.
func decode(body []byte, into any) *problem.Problem {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("more than one JSON value")
	}
	if err == nil {
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		p := problem.New(problem.InvalidParameter, fmt.Sprintf("%s must not be a JSON %s.", orTheBody(wrong.Field), wrong.Value))
		p.Errors = []problem.FieldError{{Field: wrong.Field, In: "body", Detail: p.Detail}}
		return p
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name = strings.Trim(name, `"`)
		p := problem.New(problem.InvalidParameter, fmt.Sprintf("The body has a member %q that is not known here; its members are %s.", name, membersOf(into)))
		p.Errors = []problem.FieldError{{Field: name, In: "body", Detail: "is not known here"}}
		return p
	}
	return problem.New(problem.Malformed, "The body must be one JSON object; its members are "+membersOf(into)+".")
}

// membersOf lists what a body may say, for whoever has it wrong.
func membersOf(into any) string {
	t := reflect.TypeOf(into).Elem()
	var list []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		list = append(list, name)
	}
	return strings.Join(list, ", ")
}

func orTheBody(field string) string {
	if field == "" {
		return "The body"
	}
	return field
}

func (a *Admin) write(ctx *fasthttp.RequestCtx, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		a.fail(ctx, "encode answer", err)
		return
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(append(body, '\n'))
}

// fail answers with the error if it is meant for the caller, and logs it otherwise.
func (a *Admin) fail(ctx *fasthttp.RequestCtx, doing string, err error) {
	var own *problem.Problem
	if errors.As(err, &own) {
		problem.Write(ctx, own)
		return
	}
	a.deps.Logger.Error("administrator's request failed", "request", doing, "err", err)
	problem.Write(ctx, problem.New(problem.Internal, "This could not be done; the log says why."))
}
