package redis

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
	"unsafe"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
)

const (
	// fewTrips is how many round trips are begun as soon as there is somebody who asks, and mostTrips how many
	// there are at most. Between the two, one is begun if none was for pace: what answers quickly is asked for
	// much at once, and what is far away is not waited for in line.
	fewTrips  = 2
	mostTrips = 16
	pace      = time.Millisecond

	tripGets   = 128     // Gets in one round trip, at most
	tripBytes  = 1 << 20 // and about so many bytes: the last one's answer must come within the budget, too
	mostQueued = 4096    // Gets that wait for a round trip; more are refused at once
)

var (
	errBusy   = errors.New("too many wait for Redis already")
	errBroken = errors.New("BUG: a round trip ended without an answer")
)

// line is where Gets for one node wait for a round trip. Whoever comes while few are under way takes along all
// who wait, and when it is back makes the first of those who came meanwhile do the same. So nobody waits for a
// timer, and no goroutine stands between a caller and its answer. Safe for concurrent use.
type line struct {
	store *Store
	node  goredis.Cmdable
	spare sync.Pool     // of *waiter
	idle  chan struct{} // closed when nothing is under way and nothing will be

	mu      sync.Mutex // guards all below
	waiting []*waiter
	under   int           // round trips under way
	began   cache.Instant // when the last of them did
	size    int           // bytes of a value, about
	closed  bool
}

// waiter is one Get. It belongs to its caller but between being put in line and told.
type waiter struct {
	key    string // of room
	room   []byte
	args   [2]any // of cmd: the name and &key, so that a key costs no allocation of its own
	cmd    *goredis.StringCmd
	asked  cache.Instant
	leaves bool      // its caller may leave before it is told
	told   chan bool // true: go for all who wait; false: cmd has the answer
	err    error
}

// newLine makes a line of Gets for the node.
func newLine(s *Store, node goredis.Cmdable) *line {
	l := &line{store: s, node: node, idle: make(chan struct{})}
	l.spare.New = func() any {
		w := &waiter{told: make(chan bool, 1)}
		w.args = [2]any{"get", &w.key}
		w.cmd = goredis.NewStringCmd(context.Background(), w.args[:]...)
		return w
	}
	return l
}

// close refuses what comes from now on.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.under == 0 {
		close(l.idle)
	}
}

// get returns the bytes under the key, within the budget. It ends with ctx.
//
// A caller that may leave before goes for nobody, or it could not leave: a goroutine does it in its place.
// So whoever is told to go is there to hear it.
func (l *line) get(ctx context.Context, key []byte, now cache.Instant) ([]byte, error) {
	w := l.spare.Get().(*waiter)
	w.room = append(w.room[:0], key...)
	w.key = unsafe.String(unsafe.SliceData(w.room), len(w.room)) // not written again before w is spare
	w.asked, w.leaves, w.err = now, ctx.Done() != nil, nil
	w.cmd.SetErr(nil)
	lead, err := l.join(w)
	if err != nil {
		l.spare.Put(w)
		return nil, err
	}
	if lead {
		l.trip(w)
	}
	select {
	case lead = <-w.told:
		if lead {
			l.trip(w)
			<-w.told
		}
	case <-ctx.Done():
		return nil, ctx.Err() // the round trip still has the waiter
	}
	err = w.err
	b, _ := w.cmd.Bytes()
	w.cmd.SetVal("")
	l.spare.Put(w)
	return b, err
}

// join puts the waiter in line, unless it is to go itself.
func (l *line) join(w *waiter) (lead bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return false, goredis.ErrClosed
	case l.under < fewTrips, l.under < mostTrips && w.asked.Sub(l.began) > pace:
		l.under++
		l.began = w.asked
		if w.leaves {
			go l.trip(w)
			return false, nil
		}
		return true, nil
	case len(l.waiting) >= mostQueued:
		return false, errBusy
	}
	l.waiting = append(l.waiting, w)
	return false, nil
}

// trip asks for what the waiter and those in line want, tells them, and sees that somebody goes for those who
// came meanwhile.
func (l *line) trip(w *waiter) {
	runtime.Gosched() // who can run now gets in line first
	batch := l.take(w)
	defer l.next()
	defer tell(batch)
	l.ask(batch)
}

// take returns the waiter and those in line who fit into its round trip.
func (l *line) take(w *waiter) []*waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.waiting), tripGets-1, tripBytes/max(l.size, 1))
	batch := make([]*waiter, 0, n+1)
	batch = append(append(batch, w), l.waiting[:n]...)
	rest := copy(l.waiting, l.waiting[n:])
	clear(l.waiting[rest:])
	l.waiting = l.waiting[:rest]
	return batch
}

// next hands on to the first in line.
func (l *line) next() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.under--
		if l.closed && l.under == 0 {
			close(l.idle)
		}
		return
	}
	w := l.waiting[0]
	copy(l.waiting, l.waiting[1:])
	l.waiting[len(l.waiting)-1] = nil
	l.waiting = l.waiting[:len(l.waiting)-1]
	l.began = l.store.clock.Now()
	if w.leaves {
		go l.trip(w)
		return
	}
	w.told <- true
}

// tell lets go of those whose answer is there.
func tell(batch []*waiter) {
	for _, w := range batch {
		w.told <- false
	}
}

// ask makes one round trip of the batch, on behalf of the breaker.
func (l *line) ask(batch []*waiter) {
	for _, w := range batch {
		w.err = errBroken
	}
	done, err := l.store.breaker.Allow()
	if err != nil {
		for _, w := range batch {
			w.err = err
		}
		return
	}
	left := l.store.cfg.Budget - l.store.clock.Now().Sub(oldest(batch))
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	cmds := make([]goredis.Cmder, len(batch))
	for i, w := range batch {
		cmds[i] = w.cmd
	}
	pipe := l.node.Pipeline()
	_ = pipe.BatchProcess(ctx, cmds...)
	_, err = pipe.Exec(ctx)
	l.settle(ctx, batch, err)
	l.account(batch, done)
}

// settle gives each its own outcome.
func (l *line) settle(ctx context.Context, batch []*waiter, failure error) {
	size := 0
	for _, w := range batch {
		w.err = w.cmd.Err()
		switch {
		case w.err == nil && w.cmd.Val() == "" && failure != nil && !answered(failure):
			w.err = inTime(ctx, failure)
		case w.err != nil && !answered(w.err):
			w.err = inTime(ctx, w.err)
		}
		size = max(size, len(w.cmd.Val()))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = max(size, l.size-l.size/8)
}

// account tells the breaker what the round trip brought: answers once, and failures as often as there were.
func (l *line) account(batch []*waiter, done func(error)) {
	var failure error
	failures := 0
	for _, w := range batch {
		if !answered(w.err) && !elsewhere(w.err) {
			failure = w.err
			failures++
		}
	}
	if failures < len(batch) {
		done(nil)
	} else {
		done(failure)
		failures--
	}
	if failure == nil {
		return
	}
	l.store.health.callFailed(failure)
	if c := l.store.gets.cluster; c != nil {
		c.ReloadState(context.Background()) // the node may be one no longer
	}
	for range failures {
		done, err := l.store.breaker.Allow()
		if err != nil {
			return
		}
		done(failure)
	}
}

// oldest returns when the first of them asked.
func oldest(batch []*waiter) cache.Instant {
	at := batch[0].asked
	for _, w := range batch[1:] {
		at = min(at, w.asked)
	}
	return at
}
