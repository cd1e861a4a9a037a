package cache

// Change is a transaction that touched dependencies. It may be applied before its commit is visible,
// or before it is known whether it commits: a mark too many is a refill.
//
// Every change to a table names its Relation. If it can be told which rows it touched it names the Row of
// each watched column, of the old value and the new; if it cannot, Whole: a collapsed transaction, a
// TRUNCATE, an old value that is not known, a write that only its locks tell of.
type Change struct {
	// Xid is top-level and 64-bit. 0 is one that is not known, or not comparable with this log's: all that
	// was asked for before the change was applied is outdated by it, and nothing that was asked for after. So
	// it must be visible by then: of one that may still become visible the xid must be known.
	Xid uint64
	// Epoch is that of the log before Xid was asked for; "" if Xid is known to be of the present one. In a later
	// one Xid means nothing, and may be another transaction's.
	Epoch        string
	LSN          uint64 // the end of its commit record; 0: not known, and then no standby is known to have replayed it
	Dependencies []Dependency

	// Visible says that every snapshot asked for on the primary from now on sees the transaction, because its
	// COMMIT was acknowledged. Leave it unset in doubt: then only a snapshot can show that the change was seen.
	Visible bool

	Applied Instant // when this process learned of it
	Touched []Touch // for people; kept as it is, and not to be written any more
}

// Touch says what a change did to one table. It is for people, and nothing is judged by it.
type Touch struct {
	Relation  uint32
	Operation string // INSERT, UPDATE, DELETE or TRUNCATE, or several of them with + between
	Rows      int
}

// Purge is an operator's word that stored responses must not be served any more.
type Purge struct {
	// Dependencies concern every response that depends on one of them. A Relation is purged with all its
	// rows, and a Row with all rows of its relation.
	Dependencies []Dependency
	KeyPrefixes  [][]byte       // every response whose key begins with one of them
	Soft         bool           // expired rather than outdated: stale-while-revalidate may still serve it
	At           SharedPosition // its place in the shared log; 0 for a purge that is not there (yet)
}
