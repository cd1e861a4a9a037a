package rules

// The types of this file and of entry.go are the configuration as YAML has it: a `yaml` tag names the key,
// and the comment above a field is what an editor shows for it (schema.go). What they start from is
// configs/defaults.yaml. Load turns them into Config and Rule. None is safe for concurrent use.

// file is a whole configuration file.
type file struct {
	// Where clients connect, as host:port. An empty host means every address of the machine.
	Listen string `yaml:"listen"`
	// The kill switch: true serves nothing from the cache and stores nothing.
	Bypass bool `yaml:"bypass"`
	// What one client may make forebay hold, and for how long.
	Server serverSection `yaml:"server"`
	// The operator's listener: health, metrics, purges, reload.
	Admin adminSection `yaml:"admin"`
	// The database. Leave the section out to run with upstreams alone.
	Postgres *postgresSection `yaml:"postgres,omitempty"`
	// Where responses are kept.
	Cache cacheSection `yaml:"cache"`
	// Lifetimes by kind of read; a route names one with kind. Further kinds may be added.
	TTL map[string]duration `yaml:"ttl"`
	// What every route's responses are judged by unless the route says otherwise: exact (a stored response is
	// outdated the moment a row under it changes), bounded (as exact, but for max_lag after a change it may still
	// be served while one request refreshes it) or ttl (by time and purges only).
	Freshness string `yaml:"freshness" jsonschema:"enum=exact,enum=bounded,enum=ttl"`
	// How far behind the database the news of changes may be before nothing counts as current any more (on_lost
	// then decides), and how long freshness: bounded serves what a change has outdated.
	MaxLag duration `yaml:"max_lag"`
	// What becomes of stored responses while changes cannot be heard of: bypass (ask the source each time), ttl
	// (by time and purges, meanwhile) or serve (as ttl, and expired ones while they are refreshed). Labelled.
	OnLost string `yaml:"on_lost" jsonschema:"enum=bypass,enum=ttl,enum=serve"`
	// One hit in so many is compared with what its source says now, behind the back of the request; 0 never.
	Audit int `yaml:"audit"`
	// HTTP services that routes may forward to, by name.
	Upstreams map[string]*upstreamSection `yaml:"upstreams,omitempty"`
	// The performance endpoints: what they warn of, and what they run.
	Performance performanceSection `yaml:"performance"`
	// How forebay logs.
	Log logSection `yaml:"log"`
	// The rules. The most specific route that matches a request answers it, wherever it stands in the list.
	Routes []*routeEntry `yaml:"routes"`
}

type serverSection struct {
	// Largest request line and header accepted together; more is answered 431.
	MaxHeader size `yaml:"max_header"`
	// Longest request target accepted; more is answered 414. At most max_header.
	MaxURL size `yaml:"max_url"`
	// Largest request body accepted, unless the route has a max_body of its own; more is answered 413.
	MaxBody size `yaml:"max_body"`
	// Connections at once; one more is answered 503 and closed.
	MaxConnections int `yaml:"max_connections"`
	// Connections at once from one address; 0 sets no limit of its own.
	MaxConnectionsPerIP int `yaml:"max_connections_per_ip"`
	// From the first byte of a request to the end of its header; later is answered 408.
	HeaderTimeout duration `yaml:"header_timeout"`
	// For a whole request to arrive; later is answered 408.
	BodyTimeout duration `yaml:"body_timeout"`
	// How long a connection is kept open between two requests.
	IdleTimeout duration `yaml:"idle_timeout"`
	// For a client to take a response that is not streamed.
	WriteTimeout duration `yaml:"write_timeout"`
	// From the end of the header to the answer, waiting included, unless the route has a timeout of its own; later
	// is answered 504. Below postgres.pool.acquire_timeout the wait for a connection can never end in its own 503.
	RequestTimeout duration `yaml:"request_timeout"`
	// For requests that are still running when forebay is told to stop.
	DrainTimeout duration `yaml:"drain_timeout"`
	// Send Server-Timing to whoever asks with the request header Forebay-Timing: 1.
	ServerTiming bool `yaml:"server_timing"`
	// Addresses or networks (10.0.0.0/8) whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies"`
}

type adminSection struct {
	// Where the operator connects, as host:port; empty switches the listener off. Beyond loopback it needs a token.
	Listen string `yaml:"listen"`
	// What Authorization: Bearer must carry for purges, reload and the costly performance routes; empty refuses them all.
	Token Secret `yaml:"token"`
}

type postgresSection struct {
	// The database, as postgres://user:password@host:port/name or in the key=value form.
	URL Secret `yaml:"url"`
	// Standbys of it (several hosts are tried in order): routes that store their responses read there what is as new
	// as the change stream knows, and the rest from url. Empty for none.
	Standby Secret `yaml:"standby"`
	// What the connections call themselves in pg_stat_activity.
	ApplicationName string `yaml:"application_name"`
	// Keep prepared statements on the connections; false behind a pooler that shares connections per transaction.
	PreparedStatements bool `yaml:"prepared_statements"`
	// The connections.
	Pool poolSection `yaml:"pool"`
	// How a read that failed before it reached the database is repeated.
	Retry retrySection `yaml:"retry"`
	// When forebay stops asking a database that fails.
	Breaker breakerSection `yaml:"breaker"`
	// How changes made by others are heard of: wal (Postgres's change stream), notify (triggers, see forebay
	// changes install), auto (wal where the server allows it, else off, saying why) or off (own writes alone).
	Changes string `yaml:"changes" jsonschema:"enum=auto,enum=wal,enum=notify,enum=off"`
	// The publication that forebay makes for itself under wal; empty means forebay. A number follows where another instance has the name.
	Publication string `yaml:"publication"`
}

type poolSection struct {
	// Connections at once, reads and writes together.
	MaxConnections int `yaml:"max_connections"`
	// How long a request may wait for a connection before it is answered 503 with Retry-After.
	AcquireTimeout duration `yaml:"acquire_timeout"`
	// How long Postgres may work at one statement before it cancels it.
	StatementTimeout duration `yaml:"statement_timeout"`
	// How long connecting may take.
	ConnectTimeout duration `yaml:"connect_timeout"`
}

type retrySection struct {
	// Tries in all; 1 never repeats.
	Attempts int `yaml:"attempts"`
	// How the wait grows from try to try; exponential is the only way.
	Backoff string `yaml:"backoff" jsonschema:"enum=exponential"`
	// The first wait; each further one is twice as long, with jitter.
	Base duration `yaml:"base"`
}

type breakerSection struct {
	// Failures in a row after which the breaker opens.
	Failures int `yaml:"failures"`
	// How long it stays open before one request may probe.
	OpenFor duration `yaml:"open_for"`
}

type cacheSection struct {
	// Memory for stored responses: bodies, headers, keys and what holds them together.
	Memory size `yaml:"memory"`
	// A Redis to share stored responses through: redis://, rediss://, redis+sentinel:// or redis+cluster://; empty for none.
	Redis Secret `yaml:"redis"`
	// What one request may spend on Redis in all; beyond it Redis counts as missing.
	RedisBudget duration `yaml:"redis_budget"`
	// How every key that forebay writes to Redis begins.
	RedisPrefix string `yaml:"redis_prefix"`
	// Share what exact and bounded rules stored through Redis as well: an instance that follows changes under wal
	// takes it from another as long as the log of changes in Redis shows that it is current. No effect without redis.
	ShareExact bool `yaml:"share_exact"`
	// The share of each lifetime, 0 to 0.5, that is taken off at random, so that what was stored together does not expire together.
	Jitter float64 `yaml:"jitter"`
	// Keep compressed encodings of what is asked for again.
	Compress bool `yaml:"compress"`
	// Bodies smaller than this are not compressed.
	CompressMin size `yaml:"compress_min"`
}

type upstreamSection struct {
	// The service: scheme, host, and a base path if it has one.
	URL string `yaml:"url"`
	// How long connecting may take.
	ConnectTimeout duration `yaml:"connect_timeout"`
	// From sending the request to the end of the response's header.
	Timeout duration `yaml:"timeout"`
	// Connections at once.
	MaxConnections int `yaml:"max_connections"`
	// Send the client's Host header instead of the host in url.
	ForwardHost bool `yaml:"forward_host"`
	// When forebay stops asking a service that fails.
	Breaker breakerSection `yaml:"breaker"`
}

type performanceSection struct {
	// Where the endpoints are; empty switches them off.
	Path string `yaml:"path"`
	// Warn of a query that takes longer.
	SlowQuery duration `yaml:"slow_query"`
	// Warn when the hit rate, in percent, is lower.
	HitRate float64 `yaml:"hit_rate"`
	// Warn when more than this share of the connections, in percent, is in use.
	PoolUse float64 `yaml:"pool_use"`
	// What database/dashboard shows.
	Dashboard dashboardSection `yaml:"dashboard,omitempty"`
	// What GET benchmark runs, in this order.
	Benchmark []operationEntry `yaml:"benchmark,omitempty"`
}

type dashboardSection struct {
	// The route whose response is shown, exactly as it is written in routes; empty shows none.
	Rule string `yaml:"rule"`
	// JSON pointer to what is shown as client_metrics.
	ClientMetrics string `yaml:"client_metrics"`
	// JSON pointer to what is shown as recent_activity.
	RecentActivity string `yaml:"recent_activity"`
}

type operationEntry struct {
	// What the operation is called in the result.
	Name string `yaml:"name"`
	// The request, as METHOD target; a route must match it.
	Request string `yaml:"request"`
	// The request's JSON body.
	Body string `yaml:"body,omitempty"`
}

type logSection struct {
	// The least important level that is logged.
	Level string `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// json, text, or auto: text on a terminal and json elsewhere.
	Format string `yaml:"format" jsonschema:"enum=auto,enum=json,enum=text"`
	// Log one line for each request that was not a hit.
	Access bool `yaml:"access"`
}
