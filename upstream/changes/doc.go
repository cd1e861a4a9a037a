// Package changes is the second door: what others change in the database comes in by it, as transactions
// in commit order, and is marked in a cache.ChangeLog.
//
//	wal     Postgres's own log through logical decoding: whose rows, in which transaction, at which position
//	notify  triggers that NOTIFY: which tables, in which transaction; for where the log cannot be had
//	off     nobody's changes: the log knows this process's own writes alone
//
// In mode auto a feed is off for as long as the server does not let it follow, and wal from then on: what was once
// known to be current and is not any more is lost, also if a right was taken away.
//
// # The life of a feed
//
//	          server reachable,           slot made,            first heartbeat
//	          allowed to follow           snapshot read         has come round
//	starting ───────────────────> joining ──────────> following ──────────────> live
//	   ^                             │                    │                       │
//	   └──────── backoff ────────────┴── any connection breaks, or lies ──────────┘
//
// A session (session.go) has three connections: the replication connection, one for heartbeats and one
// for the catalogue. When one of them ends the session ends, and with it the epoch: a server that crashed
// may have taken back commits that readers saw and have given their ids to others, and nothing but an
// unbroken connection proves that it did not. The next session purges everything with its new epoch
// before the feed is live again.
//
// # What is promised
//
// "As of t" is never overstated. A heartbeat notes the time t, then asks the primary for its insert
// position: everything visible to anyone at t lies before it. When the stream's position has reached it,
// all of that is marked (heartbeat.go). A stream that is alive and does not advance shows as lag.
//
// What is not covered is said: each relation that somebody depends on and whose changes do not arrive has
// its reason, with what to do (reasons.go). Nothing is published that would break its owner's writes.
//
// # How a relation comes to be followed
//
//	catalogue: attributes changes to it, its ancestors and its watched columns    (attribution.go)
//	catalogue: ALTER PUBLICATION adds it                                          (publication.go)
//	catalogue: asks who holds it for writing, and for the log's position          (coverage.go)
//	catalogue: tells the log that it is covered: for fills that asked from that position on, in whose
//	           snapshot these writers have ended. What was stored before is outdated by that
//
// In this order, or a transaction that wrote before and becomes visible after is in no fill and no mark.
// To stop following is the reverse: first the log is told, then what depended on it is purged.
//
// # Memory
//
// A transaction is collapsed as it arrives (transaction.go): per relation the rows are told apart up to
// Config.MaxRows, from there on it is the whole relation. Savepoints are kept apart up to a number.
package changes
