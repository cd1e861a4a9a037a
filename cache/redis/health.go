package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// The states that Health tells.
const (
	Up       = "up"       // everything works
	Degraded = "degraded" // values are read, and something else is amiss
	Down     = "down"     // nothing is read; requests go on without this tier
)

// health remembers what went wrong last. Safe for concurrent use.
type health struct {
	store *Store

	mu        sync.Mutex // guards all below
	following bool
	follow    string // why the log is not followed
	call      string // why the last call that failed did
	full      bool
}

// Health tells the tier's state, one of Up, Degraded and Down, and why it is not Up, without addresses.
func (s *Store) Health() (state, reason string) {
	open := s.breaker.State() == gobreaker.StateOpen
	recent, pending := s.recent(), s.outbox.pending()
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case open:
		return Down, "breaker open: " + h.call
	case !recent && h.follow != "":
		return Down, "shared log not followed: " + h.follow
	case !recent:
		return Down, "shared log not read yet"
	case h.full:
		return Degraded, "no room for new values: raise maxmemory, or set maxmemory-policy to volatile-lru"
	case pending > 0:
		return Degraded, fmt.Sprintf("%d purges wait to be shared", pending)
	}
	return Up, ""
}

// followFailed notes that the log could not be read, and logs the first time.
func (h *health) followFailed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	reason := describe(err)
	if h.following || h.follow == "" {
		h.store.logger.Warn("cannot follow the shared log, going on without the shared tier", "err", err)
	}
	h.following, h.follow = false, reason
}

// followed notes that the log is known up to now, and logs the first time.
func (h *health) followed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.following {
		h.store.logger.Info("following the shared log")
	}
	h.following, h.follow = true, ""
}

func (h *health) callFailed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.call = describe(err)
}

func (h *health) outOfRoom() { h.setFull(true) }

func (h *health) wrote() { h.setFull(false) }

func (h *health) setFull(full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.full = full
}

// describe says what an error means to an operator, in words that hold no address.
func describe(err error) string {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	var answer goredis.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &certificate):
		return "its certificate is not trusted"
	case goredis.IsOOMError(err):
		return "no room (maxmemory)"
	case goredis.IsAuthError(err):
		return "credentials refused"
	case goredis.IsLoadingError(err):
		return "it is loading its data"
	case goredis.IsReadOnlyError(err):
		return "it is a read-only replica"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout(), errors.Is(err, goredis.ErrPoolTimeout):
		return "no answer in time"
	case errors.As(err, &answer):
		word, _, _ := strings.Cut(answer.Error(), " ")
		return fmt.Sprintf("it answered with an error (%s)", word)
	}
	return "connection failed"
}
