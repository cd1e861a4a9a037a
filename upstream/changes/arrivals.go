package changes

import (
	"context"
	"sync"
)

const maxArrivals = 1 << 14 // transactions remembered for those who ask late

// arrivals knows which transactions came in lately, and who waits for one. Safe for concurrent use.
type arrivals struct {
	mu      sync.Mutex // guards all below
	open    bool       // false: nothing arrives
	known   map[uint64]struct{}
	ring    []uint64 // the known, oldest at next
	next    int
	waiters map[uint64]*waiter
}

// waiter is closed when the transaction came in, or when no more will. Came is written before.
type waiter struct {
	done chan struct{}
	came bool
	many int // who wait
}

// reset begins anew: with a new epoch, or at its end.
func (a *arrivals) reset(open bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open, a.next, a.ring = open, 0, a.ring[:0]
	a.known = make(map[uint64]struct{})
	for _, w := range a.waiters {
		close(w.done)
	}
	a.waiters = make(map[uint64]*waiter)
}

// add notes that the transaction came in and is marked.
func (a *arrivals) add(xid uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open {
		return
	}
	if len(a.ring) < maxArrivals {
		a.ring = append(a.ring, xid)
	} else {
		delete(a.known, a.ring[a.next])
		a.ring[a.next] = xid
		a.next = (a.next + 1) % maxArrivals
	}
	a.known[xid] = struct{}{}
	if w := a.waiters[xid]; w != nil {
		w.came = true
		close(w.done)
		delete(a.waiters, xid)
	}
}

// wait returns true when the transaction came in, and false when ctx ended or nothing arrives any more.
func (a *arrivals) wait(ctx context.Context, xid uint64) bool {
	a.mu.Lock()
	if _, ok := a.known[xid]; ok || !a.open {
		a.mu.Unlock()
		return ok
	}
	w := a.waiters[xid]
	if w == nil {
		w = &waiter{done: make(chan struct{})}
		a.waiters[xid] = w
	}
	w.many++
	a.mu.Unlock()
	select {
	case <-w.done:
		return w.came
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.many--; w.many == 0 && a.waiters[xid] == w {
		delete(a.waiters, xid)
	}
	return w.came
}
