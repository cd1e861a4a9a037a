// Package load sends HTTP requests at a server and measures what becomes of them, from outside.
//
// A stream is a number of connections that ask for what a function draws for them. An open stream has a
// constant arrival rate: each of its connections is a user with a timetable, and a latency counts from the
// moment the timetable says, not from when the request could be sent. A server that stalls is thus charged
// for everybody who had to wait meanwhile (no coordinated omission); what was due and could not even be sent
// before the end is counted as unserved. A closed stream sends the next request when the last was answered:
// it measures throughput, and its latencies are only those of a server that is never asked for too much.
//
// Everything drawn comes from a seed, so two runs ask for the same things in the same order per connection.
package load
