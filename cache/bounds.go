package cache

// bounds are what a log remembers at most. Beyond them it forgets: a refill, never a guess.
type bounds struct {
	nodes        int // dependencies told apart, beside rows, before the rest share one node
	marksPerNode int // changes of a dependency remembered one by one before its floor rises
	marksPerRow  int // the same of a row that is held: there are many rows
	marksPerRing int // row changes of a relation remembered one by one before its floor rises
	marksOfRings int // the same of all relations together; beyond it a ring grows no more
	rings        int // relations with a ring of their own; the rest share one
}

// defaultBounds let a table take ten thousand commits a second with a heartbeat each 100 ms, and a
// transaction collapse before it empties a ring of what other fills in flight need.
func defaultBounds() bounds {
	return bounds{nodes: 1 << 16, marksPerNode: 1024, marksPerRow: 256, marksPerRing: 4096, marksOfRings: 1 << 20, rings: 1 << 12}
}

// fewMarks is the share of its marks at which a history begins to forget: as long as what it remembers is
// not known to be visible to everybody, it doubles that until it has all of them.
const fewMarks = 16
