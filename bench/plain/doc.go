// Package plain does what forebay does on a miss or on a hit in Redis, and nothing else: one statement straight
// through pgx, json_agg passed through as it is, one GET by go-redis. What forebay takes beyond that is what
// being forebay costs.
package plain
