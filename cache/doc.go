// Package cache is forebay's model of what may be kept and when it may be served: the vocabulary of
// RFC 9111 and of Postgres, and nothing that does I/O.
//
// # Glossary, in the order of a response's life
//
//   - Key: the bytes that stand for one meaning: rule, typed parameters, identity partition, variant.
//   - Fill: what a source brought home for a key: a response, the snapshot it was read in, its dependencies.
//   - Dependency: a thing whose change concerns a response: a relation, rows of one, a tag, a rule, everything.
//   - Snapshot: what a statement saw, as pg_current_snapshot() says it: xmin, xmax, and the xids in between
//     that were still running; of a standby, what it had replayed.
//   - Change: a transaction, by its 64-bit top-level xid, and the dependencies it touched.
//   - Feed: how far the log hears of the changes that others make, and of which relations.
//   - Admission: that a fill saw all that the feed does not bring. Without it nothing is stored.
//   - Position: a place in this process's ChangeLog. A fill remembers the position at which it asked.
//   - Standing: what ties a stored response to its dependencies; compared at lookup.
//   - Cause: what outdated it.
//   - StoredResponse: an immutable response with its times, its standing and its encodings.
//   - Store: a tier that keeps stored responses: memory, Redis.
//
// # The rule
//
// A stored response is current if and only if every change to its dependencies is visible in its
// snapshot. Where something is not known, it errs on the old side: a snapshot may be older than the
// body, never newer; dependencies may be too many, never too few; an unknown is a change.
//
// Expired and outdated are two things. Expired is a matter of time (RFC 9111 s.4.2) and may be served
// under stale-while-revalidate. Outdated is a matter of changes and may be served only while the source
// fails, under stale-if-error, labelled as such.
//
// # How a change reaches a lookup
//
//	Commit(change) ── position+1 ──> node(clients).marks = [… {position, xid}]      O(dependencies of the change)
//	                                       ▲
//	StoredResponse ── Standing ── nodes ───┘        Check: log.position == verified?  → current, one comparison
//	                  snapshot, asked, verified            else node.marked ≤ verified?  → untouched
//	                                                       else is each later mark's xid visible in snapshot?
//
// A mark may come before snapshots see its transaction: decoding is sometimes ahead of visibility. So a
// response is compared with all marks that are remembered when it is made to stand, those from before it
// was asked for included, and a mark is seen only if the snapshot says so or if the transaction was known
// to be visible to everybody when the response was asked for (Change.Visible, ChangeLog.Settle).
//
// A heartbeat of the feed (Advance) is no mark: it moves the log's end for those who ask and leaves lookups
// alone. It says what has become visible to everybody, and as of when the log is complete.
//
// # Rows
//
// A response that depends on rows depends on each Row and on the relation's Whole, which stands for changes
// that nobody can tell apart; one that depends on the table depends on its Relation, which every change marks.
//
//	Commit(change of row 42) ──> node(relation), and node(row 42) if a response holds it
//	                     └─────> ring of the relation's newest row changes, whether anybody holds them or not
//	Stand(on row 42) ──────────> node(row 42), made from the ring if nobody held it
//
// A row's node is held by the responses alone and goes with the last of them, so there are as many as are
// needed: some 90 bytes each. What had to be forgotten of the ring is in the floors of the nodes made later.
//
// # Standbys
//
// A standby's xids say nothing. What was read there saw a change if and only if the end of its commit record
// is known and had been replayed before, whatever was visible to whom on the primary.
//
// # Purges
//
// Purges are marks, too. A purge by key is compared with the key that the response stands under, at the
// next lookup of whatever it may concern: what a fill stores a moment after the purge is found out as well.
//
// Nothing is searched and nothing is deleted when a change arrives. Marks that no longer fit are
// forgotten by raising the node's floor: a response that cannot prove it saw what was forgotten is
// outdated. So memory is bounded under any load, and the price is a refill, never a guess.
package cache
