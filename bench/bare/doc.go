// Package bare holds the two servers that caches are measured against: an origin whose responses they store,
// and the bare handler, which writes the same bytes that a cache does and is nothing but an HTTP server. What
// a hit costs more than the bare handler is what the cache costs.
package bare
