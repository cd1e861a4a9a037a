// Package scale measures what should not grow: the cost of a hit with what is stored and with the number of
// rules, the memory of a stored response and of an idle connection, and the time to start.
package scale
