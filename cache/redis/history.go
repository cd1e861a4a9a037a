package redis

import (
	"slices"
	"strings"
	"sync"

	"forebay/cache"
)

const (
	maxKnownDependencies = 1 << 16 // purged or changed, told apart
	maxKnownPrefixes     = 4096    // key purges remembered one by one
	maxMoments           = 1024    // places of this process's log that can be told in the shared one
)

// history is what this instance knows of the shared log: all that it says from base on. Values of other
// instances are judged by it. Safe for concurrent use.
type history struct {
	mu          sync.RWMutex // guards all below
	complete    bool         // everything from base to the end, as of the last look, is in here
	incarnation uint64
	base        cache.SharedPosition // nothing is known of what came before
	last        cache.SharedPosition
	purged      map[cache.Dependency]cache.SharedPosition // the newest of each
	softened    map[cache.Dependency]cache.SharedPosition
	doubted     map[cache.Dependency]cache.SharedPosition
	prefixes    []sharedPrefix // oldest first
	moments     []moment       // oldest first
	pending     []*outgoing    // ours, that were not seen in the log yet: they may get any place in it
}

type sharedPrefix struct {
	at     cache.SharedPosition
	prefix string
	soft   bool
}

// moment says that from local on, all up to shared was known here.
type moment struct {
	local       cache.Position
	incarnation uint64
	shared      cache.SharedPosition
}

func newHistory() *history {
	h := &history{}
	h.begin(0, 0)
	return h
}

// begin forgets everything: nothing is known of before base, nor whether what will be known is complete.
func (h *history) begin(incarnation uint64, base cache.SharedPosition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.complete, h.incarnation, h.base, h.last = false, incarnation, base, base
	h.purged = make(map[cache.Dependency]cache.SharedPosition)
	h.softened = make(map[cache.Dependency]cache.SharedPosition)
	h.doubted = make(map[cache.Dependency]cache.SharedPosition)
	h.prefixes = nil
}

// lose says that entries up to base may have been missed.
func (h *history) lose(base cache.SharedPosition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.raise(base)
}

func (h *history) raise(base cache.SharedPosition) {
	h.base, h.last = max(h.base, base), max(h.last, base)
}

// finish says that all there is has been added.
func (h *history) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.complete = true
}

// add takes in what an entry says. Entries come in the order of the log. A change is not held against
// the values of other instances: those that are shared do not depend on changes.
func (h *history) add(at cache.SharedPosition, e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = max(h.last, at)
	known := h.purged
	switch {
	case e.kind == entryDoubt:
		known = h.doubted
	case e.kind != entryPurge:
		return
	case e.purge.Soft:
		known = h.softened
	}
	for _, d := range e.doubted() {
		known[cache.Dependency(strings.Clone(string(d)))] = at
	}
	for _, prefix := range e.purge.KeyPrefixes {
		h.prefixes = append(h.prefixes, sharedPrefix{at: at, prefix: string(prefix), soft: e.purge.Soft})
	}
	if len(known) > maxKnownDependencies {
		clear(h.purged)
		clear(h.softened)
		clear(h.doubted)
		h.raise(at)
	}
	if over := len(h.prefixes) - maxKnownPrefixes; over > 0 {
		h.raise(h.prefixes[over-1].at)
		h.prefixes = slices.Delete(h.prefixes, 0, over)
	}
}

// applied notes that this process's log, at local, knows all that was added so far.
func (h *history) applied(local cache.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.moments) == maxMoments {
		h.moments = slices.Delete(h.moments, 0, maxMoments/2)
	}
	h.moments = append(h.moments, moment{local: local, incarnation: h.incarnation, shared: h.last})
}

// at returns the newest place in the shared log that a response asked for at local is known to be after.
// False: none is known.
func (h *history) at(local cache.Position) (incarnation uint64, shared cache.SharedPosition, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for i := len(h.moments) - 1; i >= 0; i-- {
		if m := h.moments[i]; m.local <= local {
			return m.incarnation, m.shared, true
		}
	}
	return 0, 0, false
}

// judge tells what the shared log says of a value of another instance, or of this one before it was
// restarted. What it does not know of, it does not let pass.
func (h *history) judge(v *value) cache.Verdict {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.complete || v.incarnation != h.incarnation || v.shared < h.base {
		return cache.Outdated
	}
	verdict := cache.Current
	if v.softened {
		verdict = cache.Softened
	}
	verdict = max(verdict, h.of(cache.Everything, v), h.of(writtenBy(v.instance), v))
	for _, d := range v.dependencies {
		verdict = max(verdict, h.of(d, v))
	}
	for i := len(h.prefixes) - 1; i >= 0 && h.prefixes[i].at > v.shared; i-- {
		if p := h.prefixes[i]; strings.HasPrefix(v.key, p.prefix) {
			verdict = max(verdict, verdictOf(p.soft))
		}
	}
	for _, o := range h.pending {
		if o.concerns(v) {
			verdict = max(verdict, verdictOf(o.purge.Soft))
		}
	}
	return verdict
}

// of tells what became of a dependency of the value after its place. Called with mu held.
func (h *history) of(d cache.Dependency, v *value) cache.Verdict {
	switch {
	case h.purged[d] > v.shared, h.doubted[d] > v.shared && !v.response.TTLOnly:
		return cache.Outdated
	case h.softened[d] > v.shared:
		return cache.Softened
	}
	return cache.Current
}

func verdictOf(soft bool) cache.Verdict {
	if soft {
		return cache.Softened
	}
	return cache.Outdated
}

// writtenBy stands for all that an instance wrote. Whatever another took from it depends on that.
func writtenBy(instance uint64) cache.Dependency {
	return cache.Dependency("instance:" + incarnationText(instance))
}

// doubted returns what the entry names. An instance that doubts everything doubts what it wrote itself.
func (e *entry) doubted() []cache.Dependency {
	list := e.purge.Dependencies
	if i := slices.Index(list, cache.Everything); i >= 0 && e.kind == entryDoubt {
		list = slices.Clone(list)
		list[i] = writtenBy(e.instance)
	}
	return list
}

// concerns reports whether the purge, or doubt, is about the value.
func (o *outgoing) concerns(v *value) bool {
	if o.kind == entryDoubt && v.response.TTLOnly {
		return false
	}
	for _, d := range o.doubted() {
		if d == cache.Everything || d == writtenBy(v.instance) || slices.Contains(v.dependencies, d) {
			return true
		}
	}
	return slices.ContainsFunc(o.purge.KeyPrefixes, func(prefix []byte) bool { return strings.HasPrefix(v.key, string(prefix)) })
}

// await adds a purge of ours that the log does not have yet.
func (h *history) await(o *outgoing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = append(h.pending, o)
}

// found takes out what has been seen in the log.
func (h *history) found(o *outgoing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = slices.DeleteFunc(h.pending, func(p *outgoing) bool { return p == o })
}
