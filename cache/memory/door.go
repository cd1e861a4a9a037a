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

// room is what the store knows of its own: before it is half full nobody has to make way for anybody. Safe for
// concurrent use.
type room struct {
	sets   atomic.Uint64
	scarce atomic.Bool // when last looked at
}

func (r *room) look(s *Store) {
	if r.sets.Add(1)%roomLook == 0 {
		r.scarce.Store(2*s.entries.WeightedSize() > uint64(s.max))
	}
}

// TraceOneIn returns how seldom those who need no Lookup need one all the same, so that the store knows what is
// asked for: more often when it will have to choose what to keep. What is asked for over and over need not say so
// each time.
func (s *Store) TraceOneIn() uint {
	if s.room.scarce.Load() {
		return traceMany
	}
	return traceFew
}

// door keeps those out of a full tier who come once: what is to be had from the next tier at the price of a round
// trip is worth another's place only if it is asked for again. Safe for concurrent use.
type door struct {
	offers atomic.Uint64
	full   atomic.Bool // when last looked at

	once sync.Once
	seen []atomic.Uint32 // the last key that fell on each slot, in 32 bits; made when the tier is full for the first time
}

// Wants reports whether a response found in another tier is worth storing here: while there is hardly any
// room, only if it was asked for not long ago.
func (s *Store) Wants(key []byte) bool {
	d := &s.door
	if d.offers.Add(1)%doorLook == 0 {
		d.full.Store(8*s.entries.WeightedSize() > 7*uint64(s.max))
	}
	if !d.full.Load() {
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
