package redis

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// target is where a URL points. A value.
type target struct {
	kind     string // redis, redis+sentinel or redis+cluster
	tls      bool
	addrs    []string
	master   string // of sentinel
	db       int
	user     string
	password string

	sentinelUser, sentinelPassword string
}

// parseURL reads the forms that the package's documentation lists. Its errors never show the URL: it
// may hold a password.
func parseURL(text string) (target, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return target{}, fmt.Errorf("parse Redis URL: it has no scheme; want redis://host:port/db")
	}
	t := target{kind: strings.Replace(scheme, "rediss", "redis", 1), tls: strings.HasPrefix(scheme, "rediss")}
	port := "6379"
	switch t.kind {
	case "redis", "redis+cluster":
	case "redis+sentinel":
		port = "26379"
	default:
		return t, fmt.Errorf("parse Redis URL: unknown scheme %q; want redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster or rediss+cluster", scheme)
	}
	hosts, rest := cutAuthority(rest)
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		if err := t.credentials(hosts[:at]); err != nil {
			return t, err
		}
		hosts = hosts[at+1:]
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := address(host, port)
		if err != nil {
			return t, err
		}
		t.addrs = append(t.addrs, addr)
	}
	if t.kind == "redis" && len(t.addrs) > 1 {
		return t, fmt.Errorf("parse Redis URL: several hosts; want redis+cluster:// or redis+sentinel:// for them")
	}
	path, query, _ := strings.Cut(rest, "?")
	if err := t.options(query); err != nil {
		return t, err
	}
	return t, t.path(strings.Trim(path, "/"))
}

// cutAuthority cuts behind the hosts: they may be several, which url.Parse does not take.
func cutAuthority(s string) (authority, rest string) {
	if i := strings.IndexAny(s, "/?"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func (t *target) credentials(userinfo string) error {
	user, password, _ := strings.Cut(userinfo, ":")
	var errUser, errPassword error
	t.user, errUser = url.PathUnescape(user)
	t.password, errPassword = url.PathUnescape(password)
	if errUser != nil || errPassword != nil {
		return fmt.Errorf("parse Redis URL: user or password has a %% that begins no escape; write %%25")
	}
	return nil
}

// options reads the query: db, and the credentials of Sentinel itself.
func (t *target) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("parse Redis URL: the part behind ? is not a query")
	}
	for name := range values {
		switch value := values.Get(name); name {
		case "db":
			if t.db, err = strconv.Atoi(value); err != nil || t.db < 0 {
				return fmt.Errorf("parse Redis URL: db %q is not a number from 0", value)
			}
		case "sentinel_username":
			t.sentinelUser = value
		case "sentinel_password":
			t.sentinelPassword = value
		default:
			return fmt.Errorf("parse Redis URL: unknown option %q; want db, sentinel_username or sentinel_password", name)
		}
	}
	return nil
}

// path reads what the path means to the kind of URL.
func (t *target) path(path string) error {
	switch {
	case t.kind == "redis+sentinel" && path == "":
		return fmt.Errorf("parse Redis URL: the master's name is missing; want redis+sentinel://host1,host2/master?db=0")
	case t.kind == "redis+sentinel":
		t.master = path
	case t.kind == "redis+cluster" && (path != "" && path != "0" || t.db != 0):
		return fmt.Errorf("parse Redis URL: a cluster has the database 0 only")
	case path != "":
		db, err := strconv.Atoi(path)
		if err != nil || db < 0 {
			return fmt.Errorf("parse Redis URL: database %q is not a number from 0", path)
		}
		t.db = db
	}
	return nil
}

func address(host, port string) (string, error) {
	u, err := url.Parse("redis://" + host)
	if err != nil || u.Hostname() == "" || u.Path != "" {
		return "", fmt.Errorf("parse Redis URL: one of its hosts is missing or not host:port")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

const (
	// dialTimeout bounds a connection's making, which a request does not have to wait for: it may be finished
	// for the next one.
	dialTimeout = 2 * time.Second

	controlTimeout = 2 * time.Second // for an answer about the log, where its context does not say less
)

// client makes a client that answers within its contexts and leaves it to its caller to try again. Answer
// bounds the wait for an answer that no context bounds: a round trip that several callers share.
//
// The library's own log is turned off, for the whole process: it goes to standard error, holds addresses,
// and says nothing that errors and Health do not.
func (t target) client(pool int, answer time.Duration) goredis.UniversalClient {
	goredis.SetLogger(new(logging.VoidLogger))
	o := &goredis.UniversalOptions{
		Addrs: t.addrs, DB: t.db, MasterName: t.master, IsClusterMode: t.kind == "redis+cluster",
		Username: t.user, Password: t.password, SentinelUsername: t.sentinelUser, SentinelPassword: t.sentinelPassword,
		ClientName: "forebay", DisableIdentity: true,
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout,
		ReadTimeout: answer, WriteTimeout: answer,
		PoolSize: pool, PoolTimeout: dialTimeout, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if t.tls {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12} // each node's name is taken from its address
	}
	return goredis.NewUniversalClient(o)
}
