// Package paths compares forebay's ways to a response with the same done directly: a miss with its statement
// straight through pgx, a list of rows with json_agg, an export with COPY, a hit in Redis with one GET.
package paths
