package performance

import (
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// event is one query in 64 bits, ordered by its duration:
//
//	63 … 32  duration in µs, at least 1, saturating
//	31 … 16  milliseconds into its minute
//	15 … 1   index of its rule
//	0        answered from the cache
//
// Zero is no event.
type event uint64

func newEvent(d, intoMinute time.Duration, rule uint16, hit bool) event {
	micros := min(max(d.Microseconds(), 1), math.MaxUint32)
	e := event(micros)<<32 | event(uint16(intoMinute.Milliseconds()))<<16 | event(rule&0x7fff)<<1
	if hit {
		e |= 1
	}
	return e
}

func (e event) duration() time.Duration   { return time.Duration(e>>32) * time.Microsecond }
func (e event) intoMinute() time.Duration { return time.Duration(uint16(e>>16)) * time.Millisecond }
func (e event) rule() int                 { return int(e>>1) & 0x7fff }
func (e event) hit() bool                 { return e&1 == 1 }

// floor is at most the smallest event of the slots it stands for: what is not above it need not be offered.
type floor struct{ atomic.Uint64 }

// offer puts e in the place of the smallest event, if e is above it. It takes no lock: slots only ever
// grow, so a smallest value that was read a while ago is never above the present one, and a floor that is
// too low only costs another look.
func (f *floor) offer(slots []atomic.Uint64, e event) {
	for uint64(e) > f.Load() {
		at, smallest := smallestOf(slots)
		if uint64(e) <= smallest {
			f.Store(smallest)
			return
		}
		if slots[at].CompareAndSwap(smallest, uint64(e)) {
			_, smallest = smallestOf(slots)
			f.Store(smallest)
			return
		}
	}
}

func (f *floor) clear(slots []atomic.Uint64) {
	f.Store(0)
	for i := range slots {
		slots[i].Store(0)
	}
}

func smallestOf(slots []atomic.Uint64) (at int, smallest uint64) {
	smallest = math.MaxUint64
	for i := range slots {
		if v := slots[i].Load(); v < smallest {
			at, smallest = i, v
		}
	}
	return at, smallest
}

// keptSlowest is how many of the slowest queries are kept for each minute, over all rules.
const keptSlowest = 20

// minuteSlowest holds the slowest queries of one minute. Safe for concurrent use, by the protocol of stamp.
type minuteSlowest struct {
	stamp  stamp
	floor  floor
	events [keptSlowest]atomic.Uint64
}

func (m *minuteSlowest) clear() { m.floor.clear(m.events[:]) }

// listed is an event with its minute, as an answer lists it.
type listed struct {
	event  event
	minute uint32
}

// slowestFirst sorts by duration, the newest first among equals, drops duplicates and keeps at most limit.
func slowestFirst(events []listed, limit int) []listed {
	slices.SortFunc(events, func(a, b listed) int {
		switch {
		case a.event>>32 != b.event>>32:
			return compareDescending(uint64(a.event>>32), uint64(b.event>>32))
		case a.minute != b.minute:
			return compareDescending(uint64(a.minute), uint64(b.minute))
		}
		return compareDescending(uint64(a.event), uint64(b.event))
	})
	return events[:min(limit, len(events))]
}

func compareDescending(a, b uint64) int {
	if a > b {
		return -1
	}
	if a < b {
		return 1
	}
	return 0
}
