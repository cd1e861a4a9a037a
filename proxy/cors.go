package proxy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"forebay/rules"
)

// crossOrigin is a rule's CORS answer, joined once instead of per request. Immutable.
type crossOrigin struct {
	rule    *rules.CORS
	any     bool // every origin
	methods string
	headers string
	expose  string
	maxAge  string
}

// newCrossOrigin returns nil for a rule that says nothing of other origins.
func newCrossOrigin(r *rules.Rule) *crossOrigin {
	if r.CORS == nil {
		return nil
	}
	methods := r.CORS.Methods
	if len(methods) == 0 && r.Method != "" {
		methods = []string{r.Method}
	}
	return &crossOrigin{
		rule:    r.CORS,
		any:     slices.Contains(r.CORS.Origins, "*"),
		methods: strings.Join(methods, ", "),
		headers: strings.Join(r.CORS.Headers, ", "),
		expose:  strings.Join(r.CORS.Expose, ", "),
		maxAge:  strconv.FormatInt(int64(r.CORS.MaxAge/time.Second), 10),
	}
}

// allow writes what a browser needs to hand the response to the page that asked. The response is never
// stored with these fields: they are written per request, so one origin's answer cannot reach another.
func (c *crossOrigin) allow(ctx *fasthttp.RequestCtx) bool {
	h := &ctx.Response.Header
	if !c.any || c.rule.Credentials {
		h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	}
	origin := ctx.Request.Header.Peek(fasthttp.HeaderOrigin)
	if len(origin) == 0 || !c.any && !slices.Contains(c.rule.Origins, string(origin)) {
		return false
	}
	if c.any && !c.rule.Credentials {
		h.Set(fasthttp.HeaderAccessControlAllowOrigin, "*")
	} else {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
	}
	if c.rule.Credentials {
		h.Set(fasthttp.HeaderAccessControlAllowCredentials, "true")
	}
	if c.expose != "" {
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, c.expose)
	}
	return true
}

// preflight answers the question that a browser asks before the request itself.
func (c *crossOrigin) preflight(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	if c.allow(ctx) {
		h.Set(fasthttp.HeaderAccessControlAllowMethods, c.methods)
		if c.headers != "" {
			h.Set(fasthttp.HeaderAccessControlAllowHeaders, c.headers)
		}
		h.Set(fasthttp.HeaderAccessControlMaxAge, c.maxAge)
	}
	h.Add(fasthttp.HeaderVary, "Access-Control-Request-Method")
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}
