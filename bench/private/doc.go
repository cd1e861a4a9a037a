// Package private starts servers that belong to their caller alone: a Postgres and a Redis on free
// loopback ports, in directories of their own, which end with the caller and leave nothing behind. It
// never touches a server that already runs.
package private
