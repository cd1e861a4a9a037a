package memory

import (
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"forebay/cache"
)

// Handle leads to one response for as long as the store has it, without a lookup: in a large store that waits for
// memory four times over, for the key's bytes, the table, the node and what the node points to. A response has one
// handle at most. The zero value leads nowhere. Safe for concurrent use.
type Handle struct {
	response atomic.Pointer[cache.StoredResponse]
}

// Response returns what the handle leads to, or nil. It leaves no trace of having been asked.
func (h *Handle) Response() *cache.StoredResponse { return h.response.Load() }

// handles knows which handle leads to what, so that none keeps what the store let go.
type handles struct {
	mu sync.Mutex
	to map[*cache.StoredResponse]*Handle
}

// Attach has the handle lead to the response, if that is stored under the key: whoever deletes or replaces it
// takes it from the handle before anybody can see that it was. Another handle to it leads nowhere then.
func (s *Store) Attach(h *Handle, key string, r *cache.StoredResponse) {
	s.entries.Compute(key, func(present *cache.StoredResponse, found bool) (*cache.StoredResponse, otter.ComputeOp) {
		if found && present == r { // and stays for as long as this runs: deletions of the key wait for it
			s.handles.attach(h, r)
		}
		return nil, otter.CancelOp
	})
}

// Detach has the handle lead nowhere.
func (s *Store) Detach(h *Handle) { s.handles.attach(h, nil) }

func (t *handles) attach(h *Handle, r *cache.StoredResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := h.response.Swap(r); old != nil && old != r {
		delete(t.to, old)
	}
	if r == nil {
		return
	}
	if other := t.to[r]; other != nil && other != h {
		other.response.Store(nil)
	}
	if t.to == nil {
		t.to = make(map[*cache.StoredResponse]*Handle)
	}
	t.to[r] = h
}

// gone takes a response that the store lets go from its handle.
func (t *handles) gone(r *cache.StoredResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.to[r]; h != nil {
		h.response.Store(nil)
		delete(t.to, r)
	}
}
