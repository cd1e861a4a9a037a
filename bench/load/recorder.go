package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	longest = 10 * time.Minute // what histograms reach to; more is recorded as this
	digits  = 3                // significant ones of a latency
	coarse  = 2                // of a time slice, of which there are many
)

// recorder collects what one class of requests got. Safe for concurrent use.
type recorder struct {
	windowStart, windowEnd time.Time
	shards                 []shard // one for each of a few groups of connections, so that they seldom meet
}

type shard struct {
	mu     sync.Mutex // guards the rest
	all    *hdrhistogram.Histogram
	hits   *hdrhistogram.Histogram // those of them that were stored
	slices []slice
	counts Counts
}

// slice is one piece of the measured window.
type slice struct {
	latency              *hdrhistogram.Histogram // nil until something came
	answered, hit, wrong int
}

// Counts say what became of requests. Answered = Hits + Stale + Forwarded + those whose origin is unknown.
type Counts struct {
	Answered  int   `json:"answered"`  // with the right status
	Wrong     int   `json:"wrong"`     // with another one
	Broken    int   `json:"broken"`    // no answer: refused, cut
	Timeouts  int   `json:"timeouts"`  // no answer in time
	Unserved  int   `json:"unserved"`  // due in the window, and not even sent in it
	Hits      int   `json:"hits"`      // from the cache, fresh
	Stale     int   `json:"stale"`     // from the cache, labelled
	Forwarded int   `json:"forwarded"` // fetched
	Bytes     int64 `json:"bytes"`     // of bodies
}

func newHistogram(significant int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), significant)
}

func newRecorder(start, end time.Time, shards, slices int) *recorder {
	r := &recorder{windowStart: start, windowEnd: end, shards: make([]shard, shards)}
	for i := range r.shards {
		s := &r.shards[i]
		s.all, s.hits, s.slices = newHistogram(digits), newHistogram(digits), make([]slice, slices)
	}
	return r
}

// outcome is one request's.
type outcome struct {
	due, done time.Time
	answer    Answer
	right     bool // the answer had the status that was wanted
	err       error
}

// record takes an outcome down if its request was due in the window. Every request's latency counts, that of
// a failed one, too: it is how long somebody waited in vain.
func (r *recorder) record(user int, o outcome) {
	if o.due.Before(r.windowStart) || !o.due.Before(r.windowEnd) {
		return
	}
	s := &r.shards[user%len(r.shards)]
	latency := micros(o.done.Sub(o.due))
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.all.RecordValue(latency) // micros keeps it in range
	c := &s.counts
	switch {
	case o.err != nil && isTimeout(o.err):
		c.Timeouts++
	case o.err != nil:
		c.Broken++
	case !o.right:
		c.Wrong++
	default:
		c.Answered++
	}
	hit := o.err == nil && o.right && o.answer.From == Hit
	switch {
	case o.err != nil || !o.right:
	case hit:
		c.Hits++
		_ = s.hits.RecordValue(latency)
	case o.answer.From == Stale:
		c.Stale++
		_ = s.hits.RecordValue(latency)
	case o.answer.From == Forward:
		c.Forwarded++
	}
	c.Bytes += int64(o.answer.Bytes)
	r.slice(s, o, latency, hit)
}

// slice counts the outcome where it ended. Callers hold the shard's mutex.
func (r *recorder) slice(s *shard, o outcome, latency int64, hit bool) {
	i := int(o.done.Sub(r.windowStart) * time.Duration(len(s.slices)) / r.windowEnd.Sub(r.windowStart))
	if i < 0 || i >= len(s.slices) {
		return
	}
	at := &s.slices[i]
	if at.latency == nil {
		at.latency = newHistogram(coarse)
	}
	_ = at.latency.RecordValue(latency)
	switch {
	case o.err != nil || !o.right:
		at.wrong++
	default:
		at.answered++
	}
	if hit {
		at.hit++
	}
}

// unserved takes down a request that was due and never sent: it had waited for this long at the end.
func (r *recorder) unserved(user int, due time.Time) {
	if due.Before(r.windowStart) || !due.Before(r.windowEnd) {
		return
	}
	s := &r.shards[user%len(r.shards)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Unserved++
	_ = s.all.RecordValue(micros(r.windowEnd.Sub(due)))
}

// micros returns the duration as histograms take it.
func micros(d time.Duration) int64 {
	return min(max(d.Microseconds(), 1), longest.Microseconds())
}
