package performance

import (
	"math"
	"slices"
	"strings"
	"time"
)

// steps is the number of durations by which queries are told apart: 1, 2 and 5 of each decade from 0.1 ms
// to 50 s. longer[i] counts queries of at least step i and shorter than step i+1.
const steps = 18

// step returns the duration of step i.
func step(i int) time.Duration {
	d := 100 * time.Microsecond
	for range i / 3 {
		d *= 10
	}
	return d * [...]time.Duration{1, 2, 5}[i%3]
}

// stepOf returns the greatest step that is not above d, or -1.
func stepOf(d time.Duration) int {
	decade, i := 100*time.Microsecond, 0
	for ; i < steps-3 && d >= 10*decade; i += 3 {
		decade *= 10
	}
	switch {
	case d >= 5*decade:
		return i + 2
	case d >= 2*decade:
		return i + 1
	case d >= decade:
		return i
	}
	return -1
}

// tally is the sum of some windows. Not safe for concurrent use.
type tally struct {
	hits, misses, failures uint64
	reads                  uint64        // queries of rules that do not write
	hitTime, missTime      time.Duration // without waitTime
	waitTime               time.Duration // for a connection
	longer                 [steps]uint64
	slow                   uint64 // at least as long as the period's threshold
	longest                time.Duration
}

func (t *tally) add(o *tally) {
	t.hits += o.hits
	t.misses += o.misses
	t.failures += o.failures
	t.reads += o.reads
	t.hitTime += o.hitTime
	t.missTime += o.missTime
	t.waitTime += o.waitTime
	t.slow += o.slow
	t.longest = max(t.longest, o.longest)
	for i := range t.longer {
		t.longer[i] += o.longer[i]
	}
}

func (t *tally) queries() uint64     { return t.hits + t.misses }
func (t *tally) time() time.Duration { return t.hitTime + t.missTime }
func (t *tally) hitRate() float64    { return percent(float64(t.hits), float64(t.reads)) }
func (t *tally) average() time.Duration {
	return time.Duration(ratio(float64(t.time()), float64(t.queries())))
}

// averageResponse is what a request took, its wait for a connection included.
func (t *tally) averageResponse() time.Duration {
	return time.Duration(ratio(float64(t.time()+t.waitTime), float64(t.queries())))
}

func (t *tally) averageWait() time.Duration {
	return time.Duration(ratio(float64(t.waitTime), float64(t.misses)))
}

func (t *tally) averageMiss() time.Duration {
	return time.Duration(ratio(float64(t.missTime), float64(t.misses)))
}

// quantile returns a duration that the share q of the queries does not exceed, by the upper bound of its
// step, or by the longest: at most 2.5 times the true one.
func (t *tally) quantile(q float64) time.Duration {
	if t.queries() == 0 {
		return 0
	}
	above := t.queries() - uint64(math.Ceil(q*float64(t.queries())))
	for i := steps - 1; i >= 0; i-- {
		if t.longer[i] > above {
			if i == steps-1 {
				return t.longest
			}
			return min(step(i+1), t.longest)
		}
		above -= t.longer[i]
	}
	return min(step(0), t.longest)
}

func percent(part, whole float64) float64 { return 100 * ratio(part, whole) }

func ratio(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part / whole
}

// period is a span of whole minutes, and what of it is asked for.
type period struct {
	first, last uint32        // minutes, inclusive
	table       string        // only rules that use it; empty: all
	threshold   time.Duration // from which a query is slow; 0: every one
}

// minutesBack returns the period of the present minute and the n before it.
func (p *Performance) minutesBack(n int) period {
	last := uint32((time.Duration(p.deps.Clock()) + p.origin) / time.Minute)
	return period{first: last - uint32(n), last: last, threshold: p.settings.Load().SlowQuery}
}

// visit calls f for every rule and minute of the period that has queries, with their sum and the slowest of
// them that are known one by one. Both are f's until it returns.
func (p *Performance) visit(of period, f func(h *RuleHandle, minute uint32, t *tally, known []event)) {
	among := p.listedByRule(of)
	for _, h := range *p.handles.Load() {
		facts := h.facts.Load()
		if !facts.uses(of.table) {
			continue
		}
		for minute := of.first; minute <= of.last; minute++ {
			windows := h.hours[minute/60%keptHours].Load()
			if windows == nil {
				minute += 59 - minute%60
				continue
			}
			w := &windows[minute%60]
			var t tally
			if !w.read(minute, &t, facts.writes) {
				continue
			}
			known := w.kept(minute, among[ruleMinute{h.index, minute}])
			t.slow = slowCount(&t, known, of.threshold)
			for _, e := range known {
				t.longest = max(t.longest, e.duration())
			}
			f(h, minute, &t, known)
		}
	}
}

// total sums the period.
func (p *Performance) total(of period) tally {
	var sum tally
	p.visit(of, func(_ *RuleHandle, _ uint32, t *tally, _ []event) { sum.add(t) })
	return sum
}

// read copies the window's figures, if they are the minute's. See stamp.
func (w *window) read(minute uint32, t *tally, writes bool) bool {
	if w.stamp.Load() != minute {
		return false
	}
	t.hits, t.misses, t.failures = uint64(w.hits.Load()), uint64(w.misses.Load()), uint64(w.failures.Load())
	t.hitTime, t.missTime = time.Duration(w.hitTime.Load()), time.Duration(w.missTime.Load())
	t.waitTime = time.Duration(w.waitTime.Load())
	if !writes {
		t.reads = t.hits + t.misses
	}
	for i := range w.longer {
		t.longer[i] = uint64(w.longer[i].Load())
	}
	return w.stamp.Load() == minute && t.queries() > 0
}

// kept returns the slowest queries known of the window's minute: its own, or those of its rule that are
// among the slowest of all rules, whichever are more. Both are the beginning of one list.
func (w *window) kept(minute uint32, among []event) []event {
	if len(among) >= keptPerMinute {
		return among
	}
	own := make([]event, 0, keptPerMinute)
	for i := range w.slowest {
		if e := event(w.slowest[i].Load()); e != 0 {
			own = append(own, e)
		}
	}
	if len(own) < len(among) || w.stamp.Load() != minute {
		return among
	}
	return own
}

// slowCount counts the queries of at least the threshold: exactly, when it is a step or when fewer are
// slow than are listed one by one; else at least those that are known to be.
func slowCount(t *tally, known []event, threshold time.Duration) uint64 {
	if threshold <= 0 {
		return t.queries()
	}
	var byStep, byList uint64
	i := stepOf(threshold)
	if i < 0 || step(i) != threshold {
		i++ // the step that the threshold falls into is not counted as a whole
	}
	for j := i; j < steps; j++ {
		byStep += t.longer[j]
	}
	for _, e := range known {
		switch d := e.duration(); {
		case d < threshold:
		case i < steps && d >= step(i):
			byList++
		default:
			byList++
			byStep++
		}
	}
	return max(byStep, byList)
}

type ruleMinute struct {
	rule   uint16
	minute uint32
}

// listedByRule returns the slowest queries of each minute, by the rule that they are of.
func (p *Performance) listedByRule(of period) map[ruleMinute][]event {
	found := make(map[ruleMinute][]event)
	for minute := of.first; minute <= of.last; minute++ {
		m := &p.slowest[minute%uint32(len(p.slowest))]
		if m.stamp.Load() != minute {
			continue
		}
		var events [keptSlowest]event
		for i := range m.events {
			events[i] = event(m.events[i].Load())
		}
		if m.stamp.Load() != minute {
			continue
		}
		for _, e := range events {
			if e != 0 {
				at := ruleMinute{uint16(e.rule()), minute}
				found[at] = append(found[at], e)
			}
		}
	}
	return found
}

// slowestOf lists the period's slowest queries that are at least as long as its threshold, slowest first.
func (p *Performance) slowestOf(of period, limit int) []listed {
	var found []listed
	p.visit(of, func(_ *RuleHandle, minute uint32, _ *tally, known []event) {
		for _, e := range known {
			if e.duration() >= of.threshold {
				found = append(found, listed{e, minute})
			}
		}
	})
	return slowestFirst(found, limit)
}

// uses reports whether the rule's statements read or write the table; "" is any. A name without a schema
// stands for the table of that name in every schema.
func (f *facts) uses(table string) bool {
	if table == "" {
		return true
	}
	return slices.ContainsFunc(f.tables, func(t string) bool {
		return shown(t) == shown(table) || !strings.Contains(table, ".") && strings.HasSuffix(t, "."+table)
	})
}

// shown is how a table is named in answers: without the schema that most databases have only one of.
func shown(table string) string { return strings.TrimPrefix(table, "public.") }

// when returns the wall-clock time of an event, by the wall clock as it stands now.
func (p *Performance) when(l listed) time.Time { return p.wall(l.minute).Add(l.event.intoMinute()) }

// wall returns the wall-clock time of a minute's beginning. Minutes are counted on the monotonic clock
// from what the wall clock said at the start; whatever it was set by since then is added here.
func (p *Performance) wall(minute uint32) time.Time {
	drift := p.deps.Now().Sub(time.Unix(0, int64(time.Duration(p.deps.Clock())+p.origin)))
	if drift.Abs() < time.Second {
		drift = 0 // two clocks read one after the other, not a step
	}
	return time.Unix(int64(minute)*60, 0).Add(drift).UTC()
}
