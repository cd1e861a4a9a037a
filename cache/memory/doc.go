// Package memory is the tier in this process: a cache bounded by bytes, which keeps what is likely to be
// asked for again (W-TinyLFU) and drops each response when nothing could be done with it any more.
//
// What counts against the bound is what an entry occupies: body, fields, key, the structures that hold
// them, and the cache's own bookkeeping, each rounded up as the allocator rounds it. What it cannot count
// is the garbage between two collections: SuggestedMemoryLimit gives the process a limit that keeps that
// within the same order.
package memory
