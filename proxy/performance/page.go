package performance

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"

	"github.com/valyala/fasthttp"
)

// The page is static: nothing is written into it here, so nothing of a rule or a query can be markup in
// it. Its script fetches the JSON endpoints beside it and shows what they say as text.
//
//go:embed page.html
var pageHTML []byte

// page is the live page and the policy that lets its own script and style run, and nothing else.
type page struct{ policy string }

func newPage() page {
	return page{policy: "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; script-src " + hashOf("script") + "; style-src " + hashOf("style")}
}

// hashOf returns the source expression (CSP 3 s.2.3.1) of the page's one element of that name.
func hashOf(element string) string {
	_, rest, opened := bytes.Cut(pageHTML, []byte("<"+element+">"))
	text, _, closed := bytes.Cut(rest, []byte("</"+element+">"))
	if !opened || !closed {
		panic("BUG: page.html has no <" + element + "> without attributes")
	}
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// servePage answers the path itself: browsers with the page, others with the names of the endpoints.
func (p *Performance) servePage(ctx *fasthttp.RequestCtx, name string) {
	if !allowed(ctx, fasthttp.MethodGet) {
		return
	}
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderAccept)
	if !bytes.Contains(ctx.Request.Header.Peek(fasthttp.HeaderAccept), []byte("text/html")) {
		p.write(ctx, map[string][]string{"endpoints": {
			"GET health", "GET metrics", "GET analytics", "GET slow-queries", "GET cache/stats", "POST cache/clear",
			"GET optimization/recommendations", "GET benchmark", "GET database/dashboard",
		}})
		return
	}
	if name == "" { // the page's links are relative to a directory
		h.Set(fasthttp.HeaderLocation, p.settings.Load().Path+"/")
		ctx.SetStatusCode(fasthttp.StatusFound)
		return
	}
	h.SetContentType("text/html; charset=utf-8")
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	h.Set(fasthttp.HeaderContentSecurityPolicy, p.page.policy)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.Set(fasthttp.HeaderXFrameOptions, "DENY")
	h.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
	ctx.Response.SetBodyRaw(pageHTML)
}
