// Package gauge reads what the system and the servers say about themselves: CPU time and memory of
// processes, the machine, the pool of connections, and the time that Postgres spent on statements.
package gauge
