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
	r.reads()
	for _, key := range []string{"plan", "pure", "headers", "body", "rows", "response", "response_headers", "status", "batch", "formats"} {
		if r.given(r.at(key)) {
			r.mistake(r.at(key), "it says something about a query, and this route forwards to an upstream; remove it")
		}
	}
	e.Plan, e.Rows, e.Status = "", "", 0 // the defaults are for queries
}

// reads judges what a forwarding route declares of its reading.
func (r *routeCompiler) reads() {
	e := r.entry
	switch {
	case e.Reads == "true":
		r.mistake(r.at("reads"), "true says something about a query, and this route forwards to an upstream; write primary if the service reads the primary and depends_on names all its tables, or remove it")
	case e.Reads == "primary" && len(e.DependsOn) == 0:
		r.mistake(r.at("reads"), "primary has responses judged by the changes to their tables, and nobody can find those of a service; name all of them in depends_on")
	case e.Reads == "primary" && r.file.Postgres == nil:
		r.mistake(r.at("reads"), "primary needs to know the changes in the database, and there is no postgres section; add it, or remove this")
	}
}
