package memory

// Overheads that the weigher adds to a response's own size. TestWhatIsCountedIsWhatIsHeld holds them to
// the heap, and TestAMillionDistinctKeysStayWithinTheBound the whole to what the process has resident.
const (
	// entryOverhead is the cache's own per entry: its node, the hash table's slot and the sketch's counters.
	entryOverhead = 112

	// roundingShare: allocations are rounded up to size classes, by an eighth at most, half that in the mean.
	roundingShare = 16
)

// SuggestedMemoryLimit returns what debug.SetMemoryLimit should be told when the memory tier may hold
// maxBytes and GOMEMLIMIT is not set: room for the tier, for requests under way and for some garbage.
// Without a limit the collector lets the heap grow to twice of what lives.
func SuggestedMemoryLimit(maxBytes int) int64 {
	return int64(maxBytes) + max(int64(maxBytes)/4, 72<<20)
}
