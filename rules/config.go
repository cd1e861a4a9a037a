package rules

import (
	"slices"
	"time"
)

// Config is a whole configuration, validated, with every default filled in.
type Config struct {
	Listen      string // host:port of the public listener
	Bypass      bool   // the kill switch: nothing is served from the cache, nothing stored
	Server      Server
	Admin       Admin
	Postgres    *Postgres // nil: no SQL rules
	Cache       Cache
	MaxLag      time.Duration // of the routes that say nothing else
	Upstreams   map[string]*Upstream
	Performance Performance
	Log         Log
	Rules       *Set
	Warnings    Mistakes // what is allowed in the file but probably not meant

	file *file // what all this was made of, defaults included
}

// Server bounds what a client can make forebay hold. Sizes are bytes.
type Server struct {
	MaxHeaderSize       int           // request line and header; more is 431
	MaxURLLength        int           // request target; more is 414
	MaxBodySize         int           // request body unless the rule says otherwise; more is 413
	MaxConnections      int           // at once; more are answered 503 and closed
	MaxConnectionsPerIP int           // 0: no limit of its own
	HeaderTimeout       time.Duration // from a request's first byte to its header's end; 408
	BodyTimeout         time.Duration // of the whole request's arrival; 408
	IdleTimeout         time.Duration // between requests of a connection
	WriteTimeout        time.Duration // for a response that is not streamed
	RequestTimeout      time.Duration // from the header's end to the answer, unless the rule says otherwise; 504
	DrainTimeout        time.Duration // for requests still running at SIGTERM
	ServerTiming        bool          // send Server-Timing to whoever asks with the header Forebay-Timing: 1
	TrustedProxies      []string      // CIDRs whose X-Forwarded-For is believed
}

// Admin is the operator's listener.
type Admin struct {
	Listen string // host:port; loopback unless said otherwise; "" switches it off
	Token  Secret // for purge, reload and the costly performance routes; empty: those are refused
}

// Postgres is the one database.
type Postgres struct {
	URL                Secret
	Standby            Secret // URL of servers that follow it, for reads; empty: none
	MaxConnections     int
	AcquireTimeout     time.Duration
	StatementTimeout   time.Duration
	ConnectTimeout     time.Duration
	ApplicationName    string
	PreparedStatements bool          // false behind a transaction pooler
	RetryAttempts      int           // tries in all
	RetryBase          time.Duration // the first wait; doubled each time, with jitter
	Breaker            Breaker
	Changes            string // auto, wal, notify or off
	Publication        string // of our own, for the change stream
}

// Cache is what the tiers may use.
type Cache struct {
	Memory      int           // bytes
	Redis       Secret        // URL: redis://, rediss://, redis+sentinel://, redis+cluster://; empty: none
	RedisBudget time.Duration // that one request may spend on Redis in all
	RedisPrefix string        // of every key forebay writes there
	ShareExact  bool          // what exact rules stored is shared as well
	Jitter      float64       // the share of a lifetime that is taken off at random, 0 … 0.5
	Compress    bool          // keep compressed encodings of what is asked for twice
	CompressMin int           // bytes of body from which compressing is worth it
}

// Performance is what the performance endpoints warn of, and what they run.
type Performance struct {
	Path          string        // prefix of the endpoints: /api/v1/performance; "" switches them off
	SlowQuery     time.Duration // alert: a query longer than this
	HitRate       float64       // alert: below this percentage
	PoolUse       float64       // alert: above this percentage
	Dashboard     string        // name of the rule whose data database/dashboard shows; "" none
	ClientMetrics string        // JSON pointer in its body of what is shown as client_metrics
	Activity      string        // JSON pointer in its body of what is shown as recent_activity
	Benchmark     []Operation   // what GET benchmark runs
}

// Operation is one step of the benchmark route: a request to a rule of this configuration.
type Operation struct {
	Name, Method, Target, Body string
}

// Log is how forebay logs.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // json, text, auto
	Access bool   // one line a request that was not a hit
}

// Secret is a text that must not be shown: it prints as <redacted>.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "<redacted>"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Files returns the paths of the SQL files that the rules were made of, each once, as a program that runs
// where the configuration was loaded can open them.
func (c *Config) Files() []string {
	var files []string
	for _, r := range c.Rules.Rules() {
		if r.Query == nil {
			continue
		}
		for _, s := range r.Query.Statements {
			if s.File != r.Position.File && !slices.Contains(files, s.File) {
				files = append(files, s.File)
			}
		}
	}
	return files
}
