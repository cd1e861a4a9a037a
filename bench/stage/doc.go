// Package stage sets up what scenarios play on: a private Postgres with the NEXUS data twice, once as the old
// service has it and once as forebay does, the old service, and forebay itself as a child process of the same
// binary, each on free loopback ports. It ends with its caller.
package stage
