// Package postgres is the source behind SQL rules: one pool of connections to one database, with a
// circuit breaker and retries, that runs a rule's statements and brings home what decides how long the
// answer may be reused.
//
//	Fill        a read: the response, its snapshot, what it depends on          one round trip
//	Write       a statement that changes: marked in the change log, committed   two round trips
//	WriteBatch  many items through one statement, each with its own outcome      two round trips, or four if one is refused
//	Export      any number of rows as a stream, in constant memory
//	Prepare     what is wrong with statements, without running them
//
// # What a fill asks
//
// The snapshot is taken in the same implicit transaction as the statement and just before it, or a moment
// before by another fill (taken.go), never after: it may be older than what the body read, never newer.
// Under READ COMMITTED each statement of a pipeline has a snapshot of its own, so a rule of several
// statements runs REPEATABLE READ, for them to agree. Connections are read-only by session setting; a write
// says READ WRITE.
//
// # What a fill depends on
//
// Found, not guessed: the relations that the transaction locked and, for functions that may have let go
// of their locks, those that it scanned (discovery.go). A statement of SQL alone locks everything in
// every branch, so it is looked at once per catalogue state and every ten seconds. One that reaches a
// function is looked at on every fill (reach.go tells which), unless plans show that the function's text has
// taken its place. What cannot be found is declared by the
// rule or leaves the rule on its TTL, with the reason.
//
// Of a table that every mention of limits to column = @parameter, the rows with that value alone matter
// (plan.go reads that off a plan, rows.go makes dependencies of it). Only what the feed tells apart so is
// depended on so; else it is the table. Partitions count as the table that they are of.
//
// The time of day is no table: a rule that asks for it, or reaches a view or function that does, is outdated
// by the changes under it and by its TTL (timed.go). It stays exact; what time alone does to it is only as
// new as its TTL.
//
// # How a write outdates
//
//	write:  BEGIN; statement; which xid, which relations are locked for writing
//	write:  marks the change           from here on a fill is current only if its snapshot sees the change
//	write:  COMMIT
//	write:  marks it as visible        whoever asks from here on sees it
//	write:  answers
//
// A connection that breaks while COMMIT is on its way leaves the first mark: only a snapshot can show
// that the transaction has ended, however it did. Until the server shows that it has, nothing of what it may
// have changed is stored (stray.go), for a mark lasts no longer than its epoch.
//
// Tables whose changes a feed brings are not marked so: the write waits for its own transaction to come in,
// which names the rows, and marks the tables if that takes too long.
//
// # How a batch is sent
//
// Twice at most. First for none to be refused: as one INSERT of many rows where nobody could tell (insertion.go
// reads the statement; bulk.go asks about the table, behind the INSERT and in its transaction), else as one
// statement for each item. If one is refused all is rolled back and sent again, each item behind a savepoint.
//
// # What the feed is told
//
// Survey plans every rule's statements without running them, so that the feed can follow their tables
// before the first fill; what fills find later is added (follow.go). A fill is stored only if the log
// admits it: if what its snapshot did not see has been or will be heard of.
//
// # Standbys
//
// Where there is one a fill asks it first, by a Database of its own (standby.go), and takes its answer only if that
// is as good as a stored response would be: it saw every change that the log knows of what it read. So a reader of
// a standby is no worse off than one who gets a hit. Everything else is the primary's.
//
// # Behind a transaction pooler
//
// With PreparedStatements off nothing outlives a transaction: statements are parsed each time, values
// travel as text, and the settings of a session become settings of each transaction. Nobody can tell which server
// connection answered, so a crash of the server, or another one in its place, would not be noticed: each snapshot
// and each write brings home in which life of the server it was (server.go), and so does the comparison of the
// catalogue, for when nothing is asked.
package postgres
