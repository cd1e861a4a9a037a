package rules

import (
	"net/url"
	"strings"
	"time"
)

// upstreams compiles the HTTP services.
func (c *compiler) upstreams() {
	c.config.Upstreams = make(map[string]*Upstream, len(c.file.Upstreams))
	for _, name := range sortedKeys(c.file.Upstreams) {
		u, path := c.file.Upstreams[name], join("upstreams", name)
		if !isToken(name) {
			c.mistake(path, "%q cannot be the name of an upstream; it becomes a metric's label, so use letters, digits, - and _", name)
		}
		c.upstreamURL(path+".url", u.URL)
		c.positive(path+".connect_timeout", u.ConnectTimeout)
		c.positive(path+".timeout", u.Timeout)
		c.atLeast(path+".max_connections", u.MaxConnections, 1)
		c.config.Upstreams[name] = &Upstream{
			Name: name, URL: u.URL, ConnectTimeout: time.Duration(u.ConnectTimeout), Timeout: time.Duration(u.Timeout),
			MaxConnections: u.MaxConnections, ForwardHost: u.ForwardHost, Breaker: c.breaker(path+".breaker", u.Breaker),
		}
	}
}

func (c *compiler) upstreamURL(path, text string) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		c.mistake(path, "there is no service to forward to; write it as http://127.0.0.1:8000")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		c.mistake(path, "this is not the URL of an HTTP service; write it as http://127.0.0.1:8000, with a base path if it has one")
	case u.User != nil:
		c.mistake(path, "it contains a user name or password, which forebay does not send; remove it")
	case u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(text, "?") || strings.HasSuffix(text, "#"):
		c.mistake(path, "it goes on after the path; remove the ? or # and what follows")
	}
}

// upstream compiles a route that forwards.
func (r *routeCompiler) upstream() {
	e, rule := r.entry, r.rule
	rule.Upstream = e.Upstream
	if u := r.config.Upstreams[e.Upstream]; u != nil {
		rule.Source = u.URL
	} else {
		r.mistake(r.at("upstream"), "there is no upstream %q%s", e.Upstream, meant(e.Upstream, sortedKeys(r.config.Upstreams)))
	}
	rule.Pass = rule.TTL == 0
	for _, key := range []string{"reads", "plan", "pure", "headers", "body", "rows", "response", "response_headers", "status", "batch", "formats"} {
		if r.given(r.at(key)) {
			r.mistake(r.at(key), "it says something about a query, and this route forwards to an upstream; remove it")
		}
	}
	e.Plan, e.Rows, e.Status = "", "", 0 // the defaults are for queries
}
