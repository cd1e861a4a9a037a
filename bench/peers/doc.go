// Package peers measures what a hit costs: in forebay, in the other caches that are installed, and in a bare
// HTTP handler that writes the same bytes, which is 1.00. All stand in front of the same origin and are asked
// for the same documents, in rounds that take turns, so that what the machine does to one it does to all.
//
// The figure to trust is CPU time per request: it does not depend on how fast the generator is. Each round
// gives a ratio to the bare handler of the same round; reported is the median of these with an interval that
// holds the true median with at least 95 % probability, whatever the ratios' distribution is.
package peers
