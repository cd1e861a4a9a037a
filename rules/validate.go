package rules

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// compiler turns the file's structs into a Config, and notes every mistake on its way. It goes on after a
// mistake, so that all of them are found at once. Not safe for concurrent use.
type compiler struct {
	*report
	dir    fs.FS  // where SQL files are
	base   string // the directory's name, for people
	file   *file
	config *Config
	paths  map[*Rule]string // routes[3], of each rule that is in effect

	conflicts  Mistakes // routes that can never match, as others have the same requests
	noDatabase bool     // it was said that there is no postgres section
}

func (c *compiler) compile() {
	f, config := c.file, c.config
	if !c.given("postgres") {
		f.Postgres = nil
	}
	config.Listen, config.Bypass = f.Listen, f.Bypass
	config.Server = c.server()
	config.Admin = c.admin()
	config.Cache = c.cache()
	config.Log = c.log()
	config.Postgres = c.postgres()
	c.listens()
	c.oneOf("freshness", f.Freshness, "exact", "bounded", "ttl")
	c.positive("max_lag", f.MaxLag)
	config.MaxLag = time.Duration(f.MaxLag)
	c.oneOf("on_lost", f.OnLost, "bypass", "ttl", "serve")
	c.atLeast("audit", f.Audit, 0)
	c.upstreams()
	c.routes()
	config.Performance = c.performance()
}

func (c *compiler) server() Server {
	s := &c.file.Server
	c.positiveSize("server.max_header", s.MaxHeader)
	c.positiveSize("server.max_url", s.MaxURL)
	if s.MaxURL > s.MaxHeader {
		c.mistake("server.max_url", "%s is more than max_header, %s, which the request target counts towards; lower it, or raise max_header", s.MaxURL, s.MaxHeader)
	}
	c.atLeast("server.max_connections", s.MaxConnections, 1)
	c.atLeast("server.max_connections_per_ip", s.MaxConnectionsPerIP, 0)
	for _, t := range []struct {
		path  string
		value duration
	}{
		{"server.header_timeout", s.HeaderTimeout},
		{"server.body_timeout", s.BodyTimeout},
		{"server.idle_timeout", s.IdleTimeout},
		{"server.write_timeout", s.WriteTimeout},
		{"server.request_timeout", s.RequestTimeout},
		{"server.drain_timeout", s.DrainTimeout},
	} {
		c.positive(t.path, t.value)
	}
	if p := c.file.Postgres; p != nil && s.RequestTimeout < p.Pool.AcquireTimeout {
		c.warn("server.request_timeout", "%s is shorter than postgres.pool.acquire_timeout, %s, so a full pool is answered 504 instead of 503 with Retry-After; raise it, or lower acquire_timeout", s.RequestTimeout, p.Pool.AcquireTimeout)
	}
	return Server{
		MaxHeaderSize: int(s.MaxHeader), MaxURLLength: int(s.MaxURL), MaxBodySize: int(s.MaxBody),
		MaxConnections: s.MaxConnections, MaxConnectionsPerIP: s.MaxConnectionsPerIP,
		HeaderTimeout: time.Duration(s.HeaderTimeout), BodyTimeout: time.Duration(s.BodyTimeout),
		IdleTimeout: time.Duration(s.IdleTimeout), WriteTimeout: time.Duration(s.WriteTimeout),
		RequestTimeout: time.Duration(s.RequestTimeout), DrainTimeout: time.Duration(s.DrainTimeout),
		ServerTiming: s.ServerTiming, TrustedProxies: c.networks("server.trusted_proxies", s.TrustedProxies),
	}
}

// networks reads addresses and CIDRs; all leave as CIDRs.
func (c *compiler) networks(path string, list []string) []string {
	networks := make([]string, 0, len(list))
	for i, text := range list {
		if address, err := netip.ParseAddr(text); err == nil {
			networks = append(networks, netip.PrefixFrom(address, address.BitLen()).String())
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			c.mistake(item(path, i), "%q is neither an address nor a network; write it as 10.0.0.7 or 10.0.0.0/8", text)
			continue
		}
		networks = append(networks, prefix.Masked().String())
	}
	return networks
}

func (c *compiler) admin() Admin {
	a := &c.file.Admin
	return Admin{Listen: a.Listen, Token: a.Token}
}

// listens judges both listeners, beside each other.
func (c *compiler) listens() {
	public, admin := c.file.Listen, c.file.Admin.Listen
	c.address("listen", public)
	if admin == "" {
		return
	}
	host, ok := c.address("admin.listen", admin)
	if !ok {
		return
	}
	if _, port, _ := net.SplitHostPort(admin); admin == public && port != "0" {
		c.mistake("admin.listen", "%q is the address of listen, too; give the operator another port", admin)
	}
	if !isLoopback(host) && c.file.Admin.Token == "" {
		c.mistake("admin.listen", "%q can be reached from other machines, and there is no admin.token; set a token, or listen on 127.0.0.1", admin)
	}
}

// address checks host:port and returns the host.
func (c *compiler) address(path, text string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err == nil && strings.ContainsAny(host, " \t/@") {
		err = strconv.ErrSyntax
	}
	if err != nil {
		c.mistake(path, "%q is not an address to listen on; write host:port, as in 127.0.0.1:8080", text)
		return "", false
	}
	return host, true
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func (c *compiler) cache() Cache {
	s := &c.file.Cache
	if s.Memory < 1<<20 {
		c.mistake("cache.memory", "%s is too little to keep anything; give it at least 1MiB (bypass: true switches the cache off)", s.Memory)
	}
	c.positive("cache.redis_budget", s.RedisBudget)
	if s.Jitter < 0 || s.Jitter > 0.5 {
		c.mistake("cache.jitter", "%v is not a share between 0 and 0.5; 0.1 takes up to a tenth off each lifetime", s.Jitter)
	}
	if s.Redis != "" {
		c.redisURL("cache.redis", string(s.Redis))
	}
	return Cache{
		Memory: int(s.Memory), Redis: s.Redis, RedisBudget: time.Duration(s.RedisBudget), RedisPrefix: s.RedisPrefix,
		ShareExact: s.ShareExact, Jitter: s.Jitter, Compress: s.Compress, CompressMin: int(s.CompressMin),
	}
}

// redisURL judges what a look at the text can tell. Hosts may be several, so url.Parse is asked about each.
func (c *compiler) redisURL(path, text string) {
	const want = "write it as redis://user:password@host:6379/0, with rediss:// for TLS, redis+sentinel://host,host/master or redis+cluster://host,host for those"
	scheme, rest, found := strings.Cut(text, "://")
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	userinfo, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, hosts = authority[:i], authority[i+1:]
	}
	_, err := url.PathUnescape(userinfo)
	kind := strings.Replace(scheme, "rediss", "redis", 1)
	switch {
	case !found || err != nil:
		c.mistake(path, "this is not the URL of a Redis; %s", want)
	case !slices.Contains([]string{"redis", "redis+sentinel", "redis+cluster"}, kind):
		c.mistake(path, "a Redis URL does not begin with %s://; %s", scheme, want)
	case kind == "redis" && strings.Contains(hosts, ","):
		c.mistake(path, "it names several hosts, and %s:// is for one; %s", scheme, want)
	case kind == "redis+sentinel" && strings.Trim(tail, "/?") == "":
		c.mistake(path, "it does not name the master that Sentinel watches; %s", want)
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if u, err := url.Parse("redis://" + host); found && (err != nil || u.Hostname() == "") {
			c.mistake(path, "one of its hosts is missing or not host:port; %s", want)
		}
	}
}

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"auto", "json", "text"}
)

// CheckLog says what is wrong with a level and a format given over a file's, as the file's check does; "" is none given.
func CheckLog(level, format string) error {
	switch {
	case level != "" && !slices.Contains(logLevels, level):
		return fmt.Errorf("log level: %q is not known here%s", level, meant(level, logLevels))
	case format != "" && !slices.Contains(logFormats, format):
		return fmt.Errorf("log format: %q is not known here%s", format, meant(format, logFormats))
	}
	return nil
}

func (c *compiler) log() Log {
	l := &c.file.Log
	c.oneOf("log.level", l.Level, logLevels...)
	c.oneOf("log.format", l.Format, logFormats...)
	return Log{Level: l.Level, Format: l.Format, Access: l.Access}
}

func (c *compiler) postgres() *Postgres {
	p := c.file.Postgres
	if p == nil {
		return nil
	}
	c.postgresURL("postgres.url", string(p.URL))
	c.standby(p)
	if p.ApplicationName == "" {
		c.mistake("postgres.application_name", "it is empty; give a name by which pg_stat_activity tells forebay's connections")
	}
	c.atLeast("postgres.pool.max_connections", p.Pool.MaxConnections, 1)
	c.positive("postgres.pool.acquire_timeout", p.Pool.AcquireTimeout)
	c.positive("postgres.pool.statement_timeout", p.Pool.StatementTimeout)
	c.positive("postgres.pool.connect_timeout", p.Pool.ConnectTimeout)
	c.atLeast("postgres.retry.attempts", p.Retry.Attempts, 1)
	c.oneOf("postgres.retry.backoff", p.Retry.Backoff, "exponential")
	c.positive("postgres.retry.base", p.Retry.Base)
	if !slices.Contains([]string{"auto", "wal", "notify", "off"}, p.Changes) {
		c.mistake("postgres.changes", "%q is no way to hear of changes; write auto, wal, notify or off", p.Changes)
	}
	if len(p.Publication) > 63 {
		c.mistake("postgres.publication", "it has more than the 63 bytes that Postgres keeps of a name; shorten it")
	}
	return &Postgres{
		URL: p.URL, Standby: p.Standby, MaxConnections: p.Pool.MaxConnections, AcquireTimeout: time.Duration(p.Pool.AcquireTimeout),
		StatementTimeout: time.Duration(p.Pool.StatementTimeout), ConnectTimeout: time.Duration(p.Pool.ConnectTimeout),
		ApplicationName: p.ApplicationName, PreparedStatements: p.PreparedStatements,
		RetryAttempts: p.Retry.Attempts, RetryBase: time.Duration(p.Retry.Base),
		Breaker: c.breaker("postgres.breaker", p.Breaker), Changes: p.Changes, Publication: p.Publication,
	}
}

// standby judges the URL of the standbys, and whether anybody could tell how far they are.
func (c *compiler) standby(p *postgresSection) {
	if p.Standby == "" {
		return
	}
	c.postgresURL("postgres.standby", string(p.Standby))
	if !p.PreparedStatements {
		c.mistake("postgres.standby", "behind a pooler, which prepared_statements: false says there is, nobody can tell which standby answered; remove it, or connect directly")
	}
	if p.Changes == "off" || p.Changes == "notify" {
		c.mistake("postgres.standby", "what a standby answers is compared with the positions of the write-ahead log, which changes: %s does not bring; write auto or wal, or remove it", p.Changes)
	}
}

// postgresURL judges the URL without ever repeating it: it may hold a password, and a parser's error would show it.
func (c *compiler) postgresURL(path, text string) {
	const want = "write it as postgres://user:password@host:5432/database"
	if text == "" {
		c.mistake(path, "there is no database to connect to; %s, or remove the postgres section if no route has a query", want)
		return
	}
	scheme, _, isURL := strings.Cut(text, "://")
	if !isURL {
		if !strings.Contains(text, "=") {
			c.mistake(path, "this is not the URL of a database; %s", want)
		}
		return
	}
	if scheme != "postgres" && scheme != "postgresql" {
		c.mistake(path, "a database URL does not begin with %s://; %s", scheme, want)
		return
	}
	if u, err := url.Parse(text); err != nil && !strings.Contains(text, ",") {
		c.mistake(path, "this URL cannot be read; %s, with the special characters of the password percent-encoded", want)
	} else if err == nil && len(u.Path) < 2 && u.Query().Get("dbname") == "" {
		c.mistake(path, "this URL names no database; %s", want)
	}
}

// databaseName returns what tells this database from others, without secrets, for the rules' keys. It does not
// ask url.Parse, which refuses several hosts.
func databaseName(text string) string {
	name := "postgres"
	_, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		for _, word := range strings.Fields(text) {
			if key, _, _ := strings.Cut(word, "="); slices.Contains(databaseKeys(), key) {
				name += " " + word
			}
		}
		return name
	}
	rest, query, _ := strings.Cut(rest, "?")
	user, place := "", rest
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, _, _ = strings.Cut(rest[:i], ":")
		place = rest[i+1:]
	}
	name += " " + user + "@" + place
	values, _ := url.ParseQuery(query) // what cannot be read decides nothing, pgx refuses it
	for _, key := range databaseKeys() {
		if value := values.Get(key); value != "" {
			name += " " + key + "=" + value
		}
	}
	return name
}

// databaseKeys are the settings of a connection that decide what it reads.
func databaseKeys() []string {
	return []string{"host", "hostaddr", "port", "user", "dbname", "options", "search_path"}
}

func (c *compiler) breaker(path string, b breakerSection) Breaker {
	c.atLeast(path+".failures", b.Failures, 1)
	c.positive(path+".open_for", b.OpenFor)
	return Breaker{Failures: b.Failures, OpenFor: time.Duration(b.OpenFor)}
}

func (c *compiler) positive(path string, v duration) {
	if v <= 0 {
		c.mistake(path, "%s leaves no time at all; give it some, or leave it out for the default", v)
	}
}

func (c *compiler) positiveSize(path string, v size) {
	if v <= 0 {
		c.mistake(path, "%s admits nothing at all; give it some, or leave it out for the default", v)
	}
}

func (c *compiler) atLeast(path string, v, least int) {
	if v < least {
		c.mistake(path, "%d is too few; want at least %d", v, least)
	}
}

func (c *compiler) oneOf(path, v string, allowed ...string) {
	if !slices.Contains(allowed, v) {
		c.mistake(path, "%q is not known here%s", v, meant(v, allowed))
	}
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
