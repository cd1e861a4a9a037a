// Package redis is the tier that instances share: stored responses, and the log of purges between them, in
// one Redis (or Valkey): a single server, one behind Sentinel, or a cluster.
//
// # URLs
//
//	redis://[user:password@]host[:6379][/db]              one server; rediss:// for TLS
//	redis+sentinel://[user:password@]host[:26379],…/master[?db=0&sentinel_username=…&sentinel_password=…]
//	redis+cluster://[user:password@]host[:6379],…         any of its nodes; rediss+… for TLS, as with Sentinel
//
// # What is there
//
// Every key begins with Config.Prefix; forebay never looks for keys, so others may live beside it.
//
//	<prefix>r1:<base64url of the first 16 bytes of SHA-256(cache key)>   a value, with PEXPIRE
//	<prefix>log                                                          the shared log, a stream
//	<prefix>chain                                                        the chain of changes, a stream; with Config.ShareExact
//	<prefix>asked                                                        questions to its owner, a hash; likewise
//
// The cache key itself is in the value and compared, so a collision is a miss. "r1" goes with the version of
// the value: versions that cannot read each other do not overwrite each other. Keep maxmemory-policy at
// volatile-lru or volatile-ttl: what is evicted is refilled, and the log, which does not expire, is kept.
// Whoever can write to this Redis can put words into forebay's mouth: the checksum tells damage from a value,
// not a forger from forebay. Keep it as private as the database.
//
// # A value, version 1
//
// Integers are little-endian and, unless they are called unsigned, signed; durations and wall-clock times are
// in nanoseconds, times since 1970, and math.MinInt64 where there is none. bytes is an unsigned 32-bit length
// and as many bytes. A change of anything here is a new version; testdata/value-v1.hex holds it.
//
//	  0   4  "FBAY"
//	  4   1  version, 1
//	  5   1  kind: 0 ordinary, 1 index of variants, 2 memo that the key is uncacheable
//	  6   2  status, unsigned
//	  8   8  XXH3 of all from byte 16 on, seeded with bytes 0 to 7, unsigned
//	 16   4  flags, from the lowest bit: TTL only, softened, and of Cache-Control: present, no-store, no-cache,
//	         private, public, must-revalidate, proxy-revalidate, must-understand, immutable; then: worth compressing,
//	         chained; the rest are zero
//	 20   4  length of the whole value, unsigned
//	 24   8  when it was written, in microseconds on the server's clock, and never later than it was
//	 32   8  the response's age then
//	 40   8  lifetime
//	 48   8  stale-while-revalidate
//	 56   8  stale-if-error
//	 64   8  corrected initial age (RFC 9111 s.4.2.3)
//	 72   8  time of the request
//	 80   8  time of the response
//	 88   8  its Date
//	 96   8  position of the writer's change log before the snapshot was asked for, unsigned
//	104   8  incarnation of the shared log, unsigned; 0: the writer did not know it
//	112   8  place in the shared log up to which the writer had read: milliseconds << 22 | sequence, unsigned
//	120   8  xmin of the snapshot, unsigned
//	128   8  xmax, unsigned
//	136   8  Cache-Control: max-age, -1 when absent
//	144   8  s-maxage, likewise
//	152   8  stale-while-revalidate, likewise
//	160   8  stale-if-error, likewise
//	168   8  the process that wrote it, a random number, unsigned
//	176   8  WAL position that a standby had replayed, unsigned; 0: the snapshot is of the primary
//	184      bytes: cache key, epoch, rule, content type, ETag, body; then, each an unsigned 32-bit count and its
//	         elements: xids in progress (8, unsigned), dependencies (bytes), fields (bytes name, bytes value),
//	         encodings (bytes coding, bytes ETag, bytes body), Vary (bytes); of a chained one
//	         then the chain (8, unsigned) and the WAL position (8, unsigned) up to which it was found current
//
// What does not fit this to the last byte is a miss and counted as garbage, never an error.
//
// # The shared log
//
// Each entry of the stream has three fields: i, the incarnation in 16 hexadecimal digits; p, the id of the
// entry before it; b, the body:
//
//	0   1  version, 1
//	1   1  kind: 0 the incarnation begins, 1 purge, 2 change, 3 doubt: a purge, of the values of exact rules alone
//	2   1  1: soft
//	3   1  zero
//	4   8  the process that wrote it, unsigned
//	12  8  that process's own count, unsigned
//	20     an unsigned 32-bit count and as many bytes: dependencies; then likewise key prefixes
//
// A Lua script appends, so that every entry names its true predecessor whoever writes beside it. An entry
// that does not follow the last one read, or cannot be read, purges everything. A log that ends before what
// was read, or is not there, begins a new incarnation: no value from before it is believed, and what was
// purged in the last ten minutes is said again. So neither trimming, nor FLUSHALL, nor a restart, nor an old
// copy of the data, nor a failover that lost the newest entries can bring back what was purged, once an
// instance that knew of it has looked: within half a second of reaching the server. (An instance that starts
// on a server which lost the purge, before any other has reached it, cannot know.)
//
// # The chain of changes
//
// Written only with Config.ShareExact, by one instance at a time that has a live feed from the write-ahead log:
// the owner. The id of an entry is a WAL position, as the milliseconds, and a count from 1 on among the entries
// of that position: every commit that ends at the position or before it is in the chain. Each entry has four
// fields: c, the chain in 16 hexadecimal digits, a random number for each time that an instance begins to own;
// p, the id of the entry before it, 0-0 for the first; t, the server's time in milliseconds, 0 when the chain
// ends; b, the body. Integers are little-endian and unsigned but for columns:
//
//	0   1  version, 1
//	1   1  kind
//	2   2  zero
//	4      by kind:
//	       0 begin      nothing: nothing is known of before
//	       1 change     8 xid; a 32-bit count of dependencies (bytes)
//	       2 position   a 32-bit count of questions (8) that the owner had read before it asked for the position
//	       3 coverage   bytes: the server; a 32-bit count of relations: 4 oid, 8 the WAL position since which its
//	                    changes are here (0: not known), a 32-bit count of columns (2, signed) that tell rows apart
//	       4 end        nothing: the owner writes no more
//
// Coverage is said whole, when it changes and every 1024 entries; some 65536 entries are kept. One Lua script
// appends, and only behind the entry that the owner wrote last. An append that is refused, fails or may have
// failed ends the chain: the next one has another number and takes the place of all that is there. Whose entry
// is older than three seconds may be replaced by another instance; that two take each other for gone costs
// refills, for neither can append to the other's chain.
//
// A reader forgets the chain, and believes nothing that was stored under it, when an entry does not name the one
// read before it, cannot be read, or ends the chain; when the head is another chain's, is not there, or is behind
// what was read (then this chain is never believed again). Nobody's clock is believed, nor that what Redis shows
// is the newest that there is: with each look a reader puts a random number under its own in the hash, both in 16
// hexadecimal digits. That the chain is the newest is known as of that, once a position has come that answers it
// (chain.confirm), in this process's present epoch; and for Config.MaxLag from there on.
//
// What an instance doubts, as after DDL that it noticed, goes through the shared log and is held against exact
// values of all; a doubt of everything, against what that instance wrote. So DDL reaches an instance that began
// after it within the second of another's poll and the way of the shared log.
//
// # Who may use a value
//
// The process that wrote it, in the epoch in which it did, gets it back standing in its own change log, as
// it was. Another gets one of an exact rule if it is chained, the chain is held without a gap from its position
// on and covers its dependencies, no change there is unseen by its snapshot, the shared log holds no purge or
// doubt of it, and the instance's own feed is live, of the same server, and brings all changes from where the
// chain ends on (Store.admitExact). Any other gets only what changes do not concern (TTL only), if the shared log is known from where
// the writer had read it up to no more than three seconds ago, and holds no purge of it. Ages go on by the
// server's clock, in which every doubt makes a response older.
//
// # How values are asked for
//
// Who asks while fewer than two round trips to a node are under way, or none was begun for a millisecond, goes at
// once, and takes along all who wait; when it is back, the first of those who came meanwhile goes for all of them. A round trip ends with the budget of
// the one of its callers who asked first. In a cluster each node has a line of its own.
//
// # What it costs when Redis fails
//
// A call ends with the caller's deadline or with Config.Budget, and no later if the caller leaves before. Five failures in a row open a breaker, and one
// call a second tries again. No room, and something else under a key, are answers and not failures. A purge
// that could not be written waits, and is held against everything found in the meantime.
package redis
