package rules

import (
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// routeCompiler turns one route of the file into a Rule. Not safe for concurrent use.
type routeCompiler struct {
	*compiler
	path   string // routes[3]
	entry  *routeEntry
	rule   *Rule
	broken []string // parameters with a mistake of their own, not to be called unknown on top of it
}

// routes compiles every route, also those that are switched off: they are to be right when switched on.
func (c *compiler) routes() {
	var compiled []*Rule
	for i, e := range c.file.Routes {
		r := &routeCompiler{compiler: c, path: item("routes", i), entry: e, rule: new(Rule)}
		usable := r.compile()
		c.report.rule = ""
		if usable && e.Enabled {
			compiled = append(compiled, r.rule)
			c.paths[r.rule] = r.path
		}
	}
	set, conflicts := NewSet(compiled)
	before := len(c.list)
	for _, conflict := range conflicts {
		at := conflict.Rule.Position
		c.mistakeAt(at, c.pathAt(at), "%s", conflict)
	}
	c.conflicts = slices.Clone(c.list[before:])
	c.config.Rules = set
	if len(c.file.Routes) == 0 && c.given("") {
		c.mistake("routes", "there are no routes, so every request would be answered 404; give at least one, such as {route: /**, upstream: NAME}")
	}
}

// besideTheStatement are the keys of a route that say nothing of its statements or of what they are given.
var besideTheStatement = []string{
	"kind", "ttl", "negative", "stale_while_revalidate", "stale_if_error", "freshness", "max_lag", "on_lost", "audit",
	"max_object_size", "timeout", "tags", "vary", "max_body", "cors", "status", "rows",
}

// keepSound leaves the rules whose statements can be judged further, whatever else is wrong, and the database that
// judges them.
func (c *compiler) keepSound() {
	var sound []*Rule
	for _, rule := range c.config.Rules.Rules() {
		path := c.paths[rule]
		if !slices.ContainsFunc(c.list, func(m Mistake) bool {
			rest, inside := strings.CutPrefix(m.Path, path)
			keys := strings.FieldsFunc(rest, func(c rune) bool { return c == '.' || c == '[' })
			if inside && len(keys) == 1 && keys[0] == "rows" && rule.Query != nil {
				for i := range rule.Query.Statements {
					rule.Query.Statements[i].Rows = None // which no result is wrong for
				}
			}
			return inside && !m.Warning && (len(keys) == 0 || !slices.Contains(besideTheStatement, keys[0])) && !slices.Contains(c.conflicts, m)
		}) {
			sound = append(sound, rule)
		}
	}
	c.config.Rules, _ = NewSet(sound)
	c.config.Postgres = c.reachable()
}

// reachable returns the database as the defaults have it, if the file's section has mistakes but none in what says
// which database it is; nil if that has one.
func (c *compiler) reachable() *Postgres {
	wrong := func(paths ...string) bool {
		return slices.ContainsFunc(c.list, func(m Mistake) bool {
			return !m.Warning && (slices.Contains(paths, m.Path) || len(paths) == 0 && strings.HasPrefix(m.Path, "postgres."))
		})
	}
	if c.config.Postgres == nil || wrong("postgres", "postgres.url") {
		return nil
	}
	if !wrong() {
		return c.config.Postgres
	}
	usual, _, err := defaults()
	if err != nil {
		return nil
	}
	usual.Postgres.URL, usual.Postgres.PreparedStatements = c.file.Postgres.URL, c.file.Postgres.PreparedStatements
	c.file.Postgres = usual.Postgres
	return c.postgres()
}

// pathAt returns the path of the route whose text stands at the position.
func (c *compiler) pathAt(at Position) string {
	for i := range c.file.Routes {
		if path := item("routes", i) + ".route"; c.position(path) == at {
			return path
		}
	}
	return "routes"
}

// compile reports whether the rule can be matched at all.
func (r *routeCompiler) compile() bool {
	if !r.routeLine() {
		return false
	}
	before := len(r.list)
	r.freshness()
	r.lifetimes()
	r.limits()
	r.callers()
	r.cors()
	r.params()
	switch e := r.entry; {
	case e.Upstream != "" && (e.Query != "" || len(e.Queries) > 0):
		r.mistake(r.at("upstream"), "the route has a query, too; it answers from one of them: remove the other")
	case e.Upstream != "":
		r.upstream()
	case e.Query != "" && len(e.Queries) > 0:
		r.mistake(r.at("queries"), "the route has both query and queries; move the one into the other")
	case e.Query != "" || len(e.Queries) > 0:
		r.query()
	default:
		path := r.path
		for _, key := range []string{"query", "queries", "upstream"} {
			if r.given(r.at(key)) {
				path = r.at(key) // it is there, and empty or unreadable
			}
		}
		r.mistake(path, "nothing says where the answer comes from; give it a query, queries or an upstream")
	}
	if r.clean(before) {
		if err := r.rule.Compile(); err != nil {
			r.mistake(r.at("route"), "%v", err)
		}
	}
	return true
}

// clean reports whether nothing but warnings was found since the list had that length.
func (r *report) clean(before int) bool { return !r.list[min(before, len(r.list)):].Fatal() }

func (r *routeCompiler) at(key string) string { return r.path + "." + key }

// routeLine reads METHOD path.
func (r *routeCompiler) routeLine() bool {
	words := strings.Fields(r.entry.Route)
	r.rule.Name = r.entry.name()
	r.rule.Position = r.position(r.at("route"))
	r.report.rule = r.rule.Name
	path := ""
	switch len(words) {
	case 0:
		r.mistake(r.at("route"), "the route itself is missing; write route: METHOD path, as in GET /api/v1/clients/{id}")
		return false
	case 1:
		path = words[0]
	case 2:
		r.rule.Method, path = words[0], words[1]
	default:
		r.report.rule = ""
		r.mistake(r.at("route"), "%q is no route; write METHOD path, as in GET /api/v1/clients/{id}, or a path for every method", r.entry.Route)
		return false
	}
	if method := r.rule.Method; !isToken(method) && method != "" || method != strings.ToUpper(method) {
		r.mistake(r.at("route"), "%q is no method; write it in capitals, as in %s %s", method, upperOr(method, "GET"), path)
		return false
	}
	pattern, err := CompilePattern(path)
	if err != nil {
		r.mistake(r.at("route"), "%v", err)
		return false
	}
	r.rule.Pattern = pattern
	if prefix := r.file.Performance.Path; prefix != "" && strings.HasPrefix(path, prefix+"/") {
		r.mistake(r.at("route"), "the performance endpoints answer everything below %s, so this never matches; change the route or performance.path", prefix)
	}
	return true
}

func upperOr(method, otherwise string) string {
	if isToken(method) {
		return strings.ToUpper(method)
	}
	return otherwise
}

func (r *routeCompiler) freshness() {
	e, rule := r.entry, r.rule
	if e.Freshness == "" {
		e.Freshness = r.file.Freshness
	} else {
		r.oneOf(r.at("freshness"), e.Freshness, "exact", "bounded", "ttl")
	}
	switch e.Freshness {
	case "ttl":
		rule.Freshness = TTLOnly
	case "bounded":
		rule.Freshness = Bounded
	}
	if e.MaxLag == nil {
		lag := r.file.MaxLag
		e.MaxLag = &lag
	} else {
		r.positive(r.at("max_lag"), *e.MaxLag)
	}
	rule.MaxLag = time.Duration(*e.MaxLag)
	if e.OnLost == "" {
		e.OnLost = r.file.OnLost
	} else {
		r.oneOf(r.at("on_lost"), e.OnLost, "bypass", "ttl", "serve")
	}
	switch e.OnLost {
	case "ttl":
		rule.OnLost = TTLOnLost
	case "serve":
		rule.OnLost = ServeOnLost
	}
	r.audit()
}

// unseenAudit is one hit in so many of an upstream that reads the primary: nobody can find its tables, so it is
// watched more closely than SQL.
const unseenAudit = 1000

func (r *routeCompiler) audit() {
	e := r.entry
	if e.Audit == nil {
		n := r.file.Audit
		if e.Reads == "primary" && e.Upstream != "" && !r.given("audit") {
			n = unseenAudit
		}
		e.Audit = &n
	} else {
		r.atLeast(r.at("audit"), *e.Audit, 0)
	}
	r.rule.Audit = *e.Audit
}

// lifetimes decides for how long responses are kept, and judges what only makes sense for those that are.
func (r *routeCompiler) lifetimes() {
	e, rule := r.entry, r.rule
	rule.Kind, rule.Reads, rule.Primary = e.Kind, e.Reads == "true", e.Reads == "primary"
	if rule.Primary && e.Upstream == "" && rule.Method == "POST" {
		rule.Reads = true
	}
	if rule.Reads && rule.Method != "POST" && e.Upstream == "" {
		r.mistake(r.at("reads"), "reads declares that a POST only reads; a %s needs no such word: remove it", orEvery(rule.Method))
	}
	if e.Kind != "" {
		lifetime, known := r.file.TTL[e.Kind]
		if !known {
			r.mistake(r.at("kind"), "%q is no kind of read, as ttl does not list it%s", e.Kind, meant(e.Kind, sortedKeys(r.file.TTL)))
			lifetime = duration(time.Second) // not to call the rest of the route wrong for want of a lifetime
		}
		rule.TTL = time.Duration(lifetime)
	}
	if e.TTL != nil {
		rule.TTL = time.Duration(*e.TTL)
	}
	rule.StaleWhileRevalidate, rule.StaleIfError = time.Duration(e.StaleWhileRevalidate), time.Duration(e.StaleIfError)
	r.negative()
	if e.StaleIfError > 0 && e.StaleIfError < e.StaleWhileRevalidate {
		r.mistake(r.at("stale_if_error"), "%s is shorter than stale_while_revalidate, %s; want at least %s, or leave it out", e.StaleIfError, e.StaleWhileRevalidate, e.StaleWhileRevalidate)
	}
	r.keepsNothing()
	if e.TTL == nil && rule.TTL > 0 {
		effective := duration(rule.TTL)
		e.TTL = &effective
	}
}

// keepsNothing judges what is said about stored responses of a route that stores none.
func (r *routeCompiler) keepsNothing() {
	e, rule := r.entry, r.rule
	why, advice := "", ""
	never := rule.Writes() || rule.Method == "OPTIONS"
	switch {
	case rule.Method == "OPTIONS":
		why, advice = "an OPTIONS is never stored, as its answer may be each caller's own", "remove it"
	case rule.Method == "" && rule.Writes():
		why, advice = "a route for every method is never stored, as it may write", "write GET "+rule.Pattern.Text
	case rule.Method == "POST" && rule.Writes():
		why, advice = "a POST is a write and never stored", "remove it, or add reads: true if it only reads"
	case rule.Writes():
		why, advice = "a "+rule.Method+" is a write and never stored", "remove it"
	case rule.TTL == 0:
		why, advice = "the route has no lifetime, so nothing is stored", "give it a kind or a ttl, or remove this"
	default:
		return
	}
	said := map[string]bool{
		"kind":                   never && e.Kind != "",
		"ttl":                    never && e.TTL != nil && *e.TTL > 0,
		"negative":               len(e.Negative) > 0,
		"stale_while_revalidate": e.StaleWhileRevalidate > 0,
		"stale_if_error":         e.StaleIfError > 0,
	}
	for _, key := range sortedKeys(said) {
		if said[key] {
			r.mistake(r.at(key), "%s; %s", why, advice)
		}
	}
	misspelt := r.settled(outer(r.at("route"))) // the unknown key may be what seems to be missing
	if !never && e.TTL == nil && e.Kind == "" && e.Upstream == "" && !misspelt {
		r.warn(r.at("route"), "it has neither kind nor ttl, so every request goes to the database; give it a kind, or say ttl: 0s")
	}
}

func orEvery(method string) string {
	if method == "" {
		return "route for every method"
	}
	return method
}

func (r *routeCompiler) negative() {
	if len(r.entry.Negative) == 0 {
		return
	}
	r.rule.Negative = make(map[int]time.Duration, len(r.entry.Negative))
	for status, lifetime := range r.entry.Negative {
		path := r.at("negative") + "." + strconv.Itoa(status)
		switch {
		case status == 200:
			r.mistake(path, "the lifetime of a 200 is the route's ttl; move it there")
		case status < 201 || status > 599 || status == 206 || status == 304:
			r.mistake(path, "%d is no status that a stored response can have; want one such as 404", status)
		case r.entry.Upstream == "" && status != 404:
			r.warn(path, "of a query only a 404 is ever stored; this has no effect")
		}
		r.rule.Negative[status] = time.Duration(lifetime)
	}
}

func (r *routeCompiler) limits() {
	e, rule := r.entry, r.rule
	rule.MaxObjectSize = int(e.MaxObjectSize)
	r.positiveSize(r.at("max_object_size"), e.MaxObjectSize)
	if e.MaxObjectSize > r.file.Cache.Memory && r.given(r.at("max_object_size")) {
		r.warn(r.at("max_object_size"), "%s is more than cache.memory, %s, holds; such a response cannot be stored in memory", e.MaxObjectSize, r.file.Cache.Memory)
	}
	if e.Timeout == nil {
		timeout := r.file.Server.RequestTimeout
		e.Timeout = &timeout
	} else {
		r.positive(r.at("timeout"), *e.Timeout)
	}
	if e.MaxBody == nil {
		body := r.file.Server.MaxBody
		e.MaxBody = &body
	}
	rule.Timeout, rule.MaxBody = time.Duration(*e.Timeout), int(*e.MaxBody)
	for i, tag := range e.Tags {
		if tag == "" || strings.ContainsAny(tag, " \t,") || slices.Contains(e.Tags[:i], tag) {
			r.mistake(item(r.at("tags"), i), "%q cannot be a tag here; a tag is one word, given once", tag)
		}
	}
	for i, table := range e.DependsOn {
		if !isTableName(table) {
			r.mistake(item(r.at("depends_on"), i), "%q is no table's name; write schema.table or table, as Postgres shows it", table)
		}
	}
	rule.Tags, rule.DependsOn = e.Tags, e.DependsOn
}

// isTableName accepts one or two names with a dot between them; which exist, only the database knows.
func isTableName(text string) bool {
	parts := strings.Split(text, ".")
	for _, p := range parts {
		if p == "" || strings.ContainsAny(p, " \t\n\"'();") {
			return false
		}
	}
	return len(parts) <= 2
}

// callers reads what the key is partitioned by.
func (r *routeCompiler) callers() {
	for i, text := range r.entry.Identity {
		path := item(r.at("identity"), i)
		cookie, isCookie := strings.CutPrefix(text, "cookie:")
		part := IdentityPart{Cookie: cookie}
		if !isCookie {
			part = IdentityPart{Header: textproto.CanonicalMIMEHeaderKey(text)}
		}
		switch {
		case !isToken(part.Header + part.Cookie):
			r.mistake(path, "%q names neither a header nor a cookie; write Authorization, another header, or cookie:NAME", text)
		case slices.Contains(r.rule.Identity, part):
			r.mistake(path, "%q is listed twice; keep one of them", text)
		}
		r.rule.Identity = append(r.rule.Identity, part)
	}
	for i, text := range r.entry.Vary {
		path := item(r.at("vary"), i)
		name := strings.ToLower(text)
		switch {
		case name == "*":
			r.mistake(path, "a response that varies on everything cannot be stored; say ttl: 0s instead")
		case !isToken(name):
			r.mistake(path, "%q cannot be the name of a header", text)
		case name == "cookie" || name == "authorization":
			r.mistake(path, "%s tells callers apart; list it under identity (cookie:NAME for one cookie)", text)
		case slices.Contains(r.rule.Vary, name):
			r.mistake(path, "%q is listed twice; keep one of them", text)
		}
		r.rule.Vary = append(r.rule.Vary, name)
	}
}

func (r *routeCompiler) cors() {
	e := r.entry.CORS
	if e == nil {
		return
	}
	path := r.at("cors")
	if len(e.Origins) == 0 {
		r.mistake(path, "no origins are allowed, so it has no effect; list them, or \"*\"")
	}
	for i, origin := range e.Origins {
		u, err := url.Parse(origin)
		switch {
		case origin == "*":
			if e.Credentials {
				r.mistake(item(path+".origins", i), "browsers refuse credentials for the origin *; list the origins, or drop credentials")
			}
		case err != nil || u.Scheme == "" || u.Host == "" || origin != u.Scheme+"://"+u.Host:
			r.mistake(item(path+".origins", i), "%q is no origin; write scheme and host as browsers send them, as in https://app.example.com", origin)
		}
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"methods", e.Methods}, {"headers", e.Headers}, {"expose", e.Expose}} {
		for i, name := range list.names {
			if !isToken(name) {
				r.mistake(item(path+"."+list.key, i), "%q cannot be a name there", name)
			}
		}
	}
	r.rule.CORS = &CORS{Origins: e.Origins, Methods: e.Methods, Headers: e.Headers, Expose: e.Expose, Credentials: e.Credentials, MaxAge: time.Duration(e.MaxAge)}
}

// sortedKeys returns a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
