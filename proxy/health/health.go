// Package health is the vocabulary in which forebay says how its parts are: what each one's state is and
// why, whether to send it requests (ready), and how well it answers them (healthy, degraded, unhealthy).
package health

// Level tells how much of its work a part can do.
type Level uint8

const (
	// Up does all of it.
	Up Level = iota
	// Degraded does it with something missing: slower, or without a tier.
	Degraded
	// Down does none of it.
	Down
	// Off is not configured, and nothing is missing.
	Off
)

// String returns the level in lower case.
func (l Level) String() string { return [...]string{"up", "degraded", "down", "off"}[l] }

// The parts that every instance reports, configured or not.
const (
	Postgres   = "postgres"
	Redis      = "redis"
	Upstreams  = "upstreams"
	Breaker    = "breaker"
	ChangeFeed = "change_feed"
)

// Standby is reported where one is configured. Without it the primary is read.
const Standby = "standby"

// Instance is reported while it ends: it takes no new connections, and those who spread requests should know.
const Instance = "instance"

// Part is one thing that forebay stands on, and how it is. A value; safe for concurrent use.
type Part struct {
	Name      string // one of the constants, or another
	Of        string // which one, where there may be several: an upstream's name; else empty
	Level     Level
	State     string // in the part's own word: closed, open, half-open for a breaker; the level's word if empty
	Reason    string // why it is not up, or what off means; for people, without addresses or secrets
	Essential bool   // when it is down no request should be sent here. Never Redis: forebay answers without it
}

// Word returns the part's state in one word.
func (p Part) Word() string {
	if p.State != "" {
		return p.State
	}
	return p.Level.String()
}

// Ready reports whether requests should be sent here: no essential part is down.
func Ready(parts []Part) bool {
	for _, p := range parts {
		if p.Essential && p.Level == Down {
			return false
		}
	}
	return true
}

// Status is how well requests are answered.
type Status string

const (
	// Healthy answers everything as configured.
	Healthy Status = "healthy"
	// DegradedStatus answers less, or with less: a part is not up.
	DegradedStatus Status = "degraded"
	// Unhealthy can answer nothing: every source is down and nothing is cached.
	Unhealthy Status = "unhealthy"
)

// Overall judges the parts. A source is Postgres or an upstream; cached tells whether the cache holds
// anything that could be served while every source is down.
func Overall(parts []Part, cached bool) Status {
	status := Healthy
	sources, down := 0, 0
	for _, p := range parts {
		if p.Level == Degraded || p.Level == Down {
			status = DegradedStatus
		}
		if p.Name != Postgres && p.Name != Upstreams || p.Level == Off {
			continue
		}
		sources++
		if p.Level == Down {
			down++
		}
	}
	if sources > 0 && down == sources && !cached {
		return Unhealthy
	}
	return status
}
