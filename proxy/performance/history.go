package performance

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"forebay/cache"
	"forebay/rules"
)

const (
	keptHours     = 25  // 24 and the present one, so that 1440 minutes and the present one always fit
	keptPerMinute = 4   // slowest queries of one rule and minute
	maxTables     = 64  // that one rule is told apart by
	maxHistories  = 256 // rules with a history of their own; the last one is shared by all further rules
)

// Query is one request to a SQL rule. A value.
type Query struct {
	Rule     *RuleHandle
	Duration time.Duration // of the whole request
	Waited   time.Duration // of that, for a connection to the database: no statement's time
	At       cache.Instant // when it was asked
	Hit      bool          // from the cache, whether fresh, revalidated meanwhile, or stale in an emergency
	Failed   bool          // it was not answered as asked, for a reason that is not the caller's
}

// RuleHandle is the history of one rule. It outlives reloads: a rule of the same name goes on with it.
// Safe for concurrent use.
type RuleHandle struct {
	index uint16
	name  string
	facts atomic.Pointer[facts]

	present atomic.Pointer[span] // the window that was opened last

	mu    sync.Mutex // held to open a window, and to change facts
	hours [keptHours]atomic.Pointer[[60]window]
}

// facts is what the configuration and the fills say of a rule. Immutable.
type facts struct {
	kind   string
	writes bool
	stores bool
	ttl    time.Duration
	tables []string
}

// window is one rule's figures for one minute. Safe for concurrent use: figures are only added to while
// stamp names the minute.
type window struct {
	stamp                  stamp
	hits, misses, failures atomic.Uint32 // misses are all that are not hits, writes and failures too
	hitTime, missTime      atomic.Uint64 // nanoseconds, without waitTime
	waitTime               atomic.Uint64
	longer                 [steps]atomic.Uint32
	floor                  floor
	slowest                [keptPerMinute]atomic.Uint64
}

// span is a window and the time that it is of, so that a hit finds it without dividing. Immutable.
type span struct {
	from, to cache.Instant
	minute   uint32
	*window
}

// stamp is the minute whose figures a window holds, since 1970; 0: none yet. A window that is being
// cleared for another minute has none that anyone asks for:
//
//	writer: lock, stamp = opening, clear, stamp = minute, unlock
//	reader: stamp is minute? read the figures; stamp still minute? they are whole: else there are none
type stamp struct{ atomic.Uint32 }

const opening = ^uint32(0)

// Record counts a query. It allocates nothing and takes no lock, except to open a minute.
func (p *Performance) Record(q Query) {
	if q.Hit && q.Rule.hit(&q) {
		return
	}
	q.Waited = min(q.Waited, q.Duration)
	q.Duration -= q.Waited
	at := time.Duration(q.At) + p.origin
	minute, into := uint32(at/time.Minute), at%time.Minute
	w := q.Rule.window(minute)
	if w == nil {
		return // more than a day late: nobody can ask for that minute any more
	}
	if s := q.Rule.present.Load(); s == nil || s.minute < minute {
		q.Rule.present.Store(&span{from: q.At - cache.Instant(into), to: q.At - cache.Instant(into) + cache.Instant(time.Minute), minute: minute, window: w})
	}
	w.count(&q)
	e := newEvent(q.Duration, into, q.Rule.index, q.Hit)
	w.floor.offer(w.slowest[:], e)
	p.offer(minute, e)
}

// hit counts a hit of the present minute that is not among its slowest queries. False: it was not counted.
func (h *RuleHandle) hit(q *Query) bool {
	s := h.present.Load()
	if s == nil || q.At < s.from || q.At >= s.to || q.Duration >= step(0) || s.stamp.Load() != s.minute {
		return false
	}
	if slowest := event(s.floor.Load()); slowest == 0 || q.Duration >= slowest.duration() {
		return false
	}
	s.hits.Add(1)
	s.hitTime.Add(uint64(q.Duration))
	return true
}

// offer puts the event among the slowest of its minute, over all rules.
func (p *Performance) offer(minute uint32, e event) {
	m := &p.slowest[minute%uint32(len(p.slowest))]
	if m.stamp.Load() != minute && !m.stamp.open(&p.mu, minute, m.clear) {
		return
	}
	m.floor.offer(m.events[:], e)
}

// open makes the window the minute's. It reports false when the window already belongs to a later one.
func (s *stamp) open(mu *sync.Mutex, minute uint32, clear func()) bool {
	mu.Lock()
	defer mu.Unlock()
	switch at := s.Load(); {
	case at == minute:
		return true
	case at > minute:
		return false
	}
	s.Store(opening)
	clear()
	s.Store(minute)
	return true
}

func (w *window) count(q *Query) {
	if q.Hit {
		w.hits.Add(1)
		w.hitTime.Add(uint64(q.Duration))
	} else {
		w.misses.Add(1)
		w.missTime.Add(uint64(q.Duration))
		w.waitTime.Add(uint64(q.Waited))
	}
	if q.Failed {
		w.failures.Add(1)
	}
	if step := stepOf(q.Duration); step >= 0 { // most hits are shorter than the first step and skip this
		w.longer[step].Add(1)
	}
}

func (w *window) clear() {
	for _, n := range []*atomic.Uint32{&w.hits, &w.misses, &w.failures} {
		n.Store(0)
	}
	w.hitTime.Store(0)
	w.missTime.Store(0)
	w.waitTime.Store(0)
	for i := range w.longer {
		w.longer[i].Store(0)
	}
	w.floor.clear(w.slowest[:])
}

// window returns the window of a minute, opening it if need be; nil when it is already a later minute's.
func (h *RuleHandle) window(minute uint32) *window {
	hour := &h.hours[minute/60%keptHours]
	windows := hour.Load()
	if windows == nil {
		hour.CompareAndSwap(nil, new([60]window))
		windows = hour.Load()
	}
	w := &windows[minute%60]
	if w.stamp.Load() != minute && !w.stamp.open(&h.mu, minute, w.clear) {
		return nil
	}
	return w
}

// Tables says what a statement of the rule was found to read or write, in addition to what is known.
// Called on each fill; it costs a comparison when it says nothing new.
func (h *RuleHandle) Tables(names []string) {
	if h.facts.Load().knows(names) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f := *h.facts.Load()
	f.tables = union(f.tables, names)
	h.facts.Store(&f)
}

func (f *facts) knows(tables []string) bool {
	for _, t := range tables {
		if !slices.Contains(f.tables, t) {
			return len(f.tables) >= maxTables
		}
	}
	return true
}

// union returns the tables of both, in the order in which they became known.
func union(known, more []string) []string {
	all := slices.Clone(known)
	for _, t := range more {
		if !slices.Contains(all, t) && len(all) < maxTables {
			all = append(all, t)
		}
	}
	return all
}

// Rule returns the handle by which a rule's queries are recorded, making it if there is none of that name.
// Called at load for each SQL rule; what the rule now says replaces what it said before a reload, and the
// tables that its fills were found to depend on stay.
func (p *Performance) Rule(r *rules.Rule) *RuleHandle {
	f := facts{kind: kindOf(r), writes: r.Writes(), stores: r.Stores(), ttl: r.TTL, tables: r.DependsOn}
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.byName[r.Name]; h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		f.tables = union(f.tables, h.facts.Load().tables)
		h.facts.Store(&f)
		return h
	}
	all := *p.handles.Load()
	if len(all) == maxHistories {
		return all[maxHistories-1]
	}
	h := &RuleHandle{index: uint16(len(all)), name: r.Name}
	if len(all) == maxHistories-1 {
		h.name, f = "other rules", facts{kind: "other"}
	} else {
		p.byName[r.Name] = h
	}
	h.facts.Store(&f)
	all = append(slices.Clone(all), h)
	p.handles.Store(&all)
	return h
}

// kindOf names the rule's kind of query: its own, or what it does.
func kindOf(r *rules.Rule) string {
	switch {
	case r.Kind != "":
		return r.Kind
	case r.Batch != nil:
		return "batch"
	case !r.Writes():
		return "read"
	}
	switch r.Method {
	case "POST":
		return "insert"
	case "PUT", "PATCH":
		return "update"
	case "DELETE":
		return "delete"
	}
	return "write"
}

// historySize returns the bytes that the history occupies.
func (p *Performance) historySize() int {
	size := len(p.slowest)*int(unsafe.Sizeof(minuteSlowest{})) + int(unsafe.Sizeof(p.samples))
	for _, h := range *p.handles.Load() {
		size += int(unsafe.Sizeof(*h))
		for i := range h.hours {
			if h.hours[i].Load() != nil {
				size += int(unsafe.Sizeof([60]window{}))
			}
		}
	}
	return size
}
