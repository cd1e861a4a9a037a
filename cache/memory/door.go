package memory

import (
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"
)

const (
	doorLook  = 1024    // keys between two looks at how full the tier is
	doorShare = 512     // bytes of the tier for which one key is remembered
	doorLeast = 1 << 10 // keys that are remembered
	doorMost  = 1 << 20
)

const (
	roomLook  = 64 // entries that are set between two looks at how much room there is
	traceMany = 4
	traceFew  = 64
)

// level is whether the store was fuller than some share of its bound when that was last looked at: one call in many
// looks, since that takes a lock. Safe for concurrent use.
type level struct {
	calls atomic.Uint64
	over  atomic.Bool
}

// look looks once in so many calls, whether more than of/in of the bound is taken.
func (l *level) look(s *Store, every, of, in uint64) {
	if l.calls.Add(1)%every == 0 {
		l.over.Store(in*s.entries.WeightedSize() > of*uint64(s.max))
	}
}

// TraceOneIn returns how seldom those who need no Lookup need one all the same, so that the store knows what is
// asked for: more often once it is half full, and will have to choose what to keep. What is asked for over and over
// need not say so each time.
func (s *Store) TraceOneIn() uint {
	if s.half.over.Load() {
		return traceMany
	}
	return traceFew
}

// door keeps those out of a full tier who come once: what is to be had from the next tier at the price of a round
// trip is worth another's place only if it is asked for again. Safe for concurrent use.
type door struct {
	full level // looked at by those who offer

	once sync.Once
	seen []atomic.Uint32 // the last key that fell on each slot, in 32 bits; made when the tier is full for the first time
}

// Wants reports whether a response found in another tier is worth storing here: while there is hardly any
// room, only if it was asked for not long ago.
func (s *Store) Wants(key []byte) bool {
	d := &s.door
	d.full.look(s, doorLook, 7, 8)
	if !d.full.over.Load() {
		return true
	}
	d.once.Do(func() {
		n := doorLeast
		for n < doorMost && n < s.max/doorShare {
			n *= 2
		}
		d.seen = make([]atomic.Uint32, n)
	})
	h := xxh3.Hash(key)
	slot, mark := &d.seen[h&uint64(len(d.seen)-1)], uint32(h>>32)
	return slot.Swap(mark) == mark
}
