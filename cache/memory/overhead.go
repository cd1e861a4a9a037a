package memory

// Overheads that the weigher adds to a response's own size, measured by TestAMillionDistinctKeys.
const (
	// entryOverhead is the cache's own per entry: its node (112 bytes), the hash table's slot at its
	// usual load, and the frequency sketch.
	entryOverhead = 176

	// roundingShare: allocations are rounded up to size classes, by an eighth at most and a sixteenth in the mean.
	roundingShare = 16
)

// SuggestedMemoryLimit returns what debug.SetMemoryLimit should be told when the memory tier may hold
// maxBytes and GOMEMLIMIT is not set: room for the tier, for requests under way and for some garbage.
// Without a limit the collector lets the heap grow to twice of what lives.
func SuggestedMemoryLimit(maxBytes int) int64 {
	return int64(maxBytes) + max(int64(maxBytes)/4, 72<<20)
}
