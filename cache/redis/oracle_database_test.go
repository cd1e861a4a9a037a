package redis

import (
	"math/rand/v2"
	"slices"

	"forebay/cache"
)

// The database of the oracle over the chain: what of Postgres bears on it. Transactions write their commit record,
// are flushed, become visible and are streamed in steps of their own; a standby replays; a crash takes back what
// was not flushed, and hands out its xids and its WAL positions again.
const (
	oracleTables   = 2
	oracleRows     = 8
	oracleStatuses = 2

	firstLSN = 1000
)

// oracleRow is a row of which every write has a stamp of its own, and later writes a greater one.
type oracleRow struct {
	stamp    uint64
	status   uint8
	affected [oracleStatuses]uint64 // the last write that concerns the list of each status
}

type oracleState [oracleTables][oracleRows]oracleRow

func (s *oracleState) apply(w *oracleWrite) {
	r := &s[w.table][w.row]
	r.stamp, r.status = w.stamp, w.status
	r.affected[w.old], r.affected[w.status] = w.stamp, w.stamp
}

type oracleWrite struct {
	table, row  int
	old, status uint8
	stamp       uint64
	published   uint // by which instances the table was published when it was written, a bit each
	applied     uint // whose logs know of it
}

type oracleTx struct {
	xid     uint64
	lsn     uint64 // at which its commit record ends; 0: still running
	writes  []oracleWrite
	async   bool // becomes visible before it is flushed
	visible bool
}

type oracleDatabase struct {
	rng     *rand.Rand
	next    uint64 // xid
	stamps  uint64
	started int // changes with each start that the server tells of

	primary, durable, standby oracleState
	locks                     [oracleTables][oracleRows]*oracleTx
	procs                     []*oracleTx // in the order of their xids: what snapshots list as running

	wal                     []*oracleTx // committed, in the order of the log
	base                    uint64      // where wal begins
	lsn                     uint64      // where it ends
	flushed, replayed       uint64
	flushedXid, replayedXid uint64 // the greatest
	commits, crashes        int
}

func newOracleDatabase(rng *rand.Rand) *oracleDatabase {
	return &oracleDatabase{rng: rng, next: 3, base: firstLSN, lsn: firstLSN, flushed: firstLSN, replayed: firstLSN}
}

// running returns a snapshot that sees all but those transactions.
func (d *oracleDatabase) running(still func(*oracleTx) bool) cache.Snapshot {
	s := cache.Snapshot{Xmin: d.next, Xmax: d.next}
	for _, tx := range d.procs {
		if still(tx) {
			s.Xip = append(s.Xip, tx.xid)
		}
	}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

func (d *oracleDatabase) snapshot() cache.Snapshot {
	return d.running(func(*oracleTx) bool { return true })
}

// exported is what a slot made now exports: all whose commit record is written, visible already or not.
func (d *oracleDatabase) exported() cache.Snapshot {
	s := d.running(func(tx *oracleTx) bool { return tx.lsn == 0 })
	s.Replayed = d.lsn
	return s
}

// write writes a row unless another transaction holds it.
func (d *oracleDatabase) write(tx *oracleTx, table, row int, published uint) {
	if d.locks[table][row] != nil {
		return
	}
	d.locks[table][row] = tx
	d.stamps++
	tx.writes = append(tx.writes, oracleWrite{
		table: table, row: row, old: d.primary[table][row].status, status: uint8(d.rng.IntN(oracleStatuses)), stamp: d.stamps, published: published,
	})
}

// commit writes the commit record.
func (d *oracleDatabase) commit(tx *oracleTx) {
	d.lsn++
	tx.lsn = d.lsn
	d.wal = append(d.wal, tx)
	d.commits++
}

func (d *oracleDatabase) flushTo(lsn uint64) {
	for ; d.flushed < lsn; d.flushed++ {
		tx := d.wal[d.flushed-d.base]
		for i := range tx.writes {
			d.durable.apply(&tx.writes[i])
		}
		d.flushedXid = max(d.flushedXid, tx.xid)
	}
}

func (d *oracleDatabase) replayOne() {
	if d.replayed >= d.flushed {
		return
	}
	tx := d.wal[d.replayed-d.base]
	for i := range tx.writes {
		d.standby.apply(&tx.writes[i])
	}
	d.replayed++
	d.replayedXid = max(d.replayedXid, tx.xid)
}

// end takes the transaction out of the running ones: visible if it committed, aborted if not.
func (d *oracleDatabase) end(tx *oracleTx) {
	d.procs = slices.DeleteFunc(d.procs, func(p *oracleTx) bool { return p == tx })
	tx.visible = tx.lsn != 0
	for i := range tx.writes {
		w := &tx.writes[i]
		d.locks[w.table][w.row] = nil
		if tx.visible {
			d.primary.apply(w)
		}
	}
}

// crash loses what was not flushed. A server that recovers by itself says of itself what it said before; after
// a restart or a promotion, which loses what the standby had not replayed, it says something else.
func (d *oracleDatabase) crash() {
	d.crashes++
	switch d.rng.IntN(4) {
	case 0:
		d.durable, d.flushed, d.flushedXid = d.standby, d.replayed, d.replayedXid
		d.started++
	case 1:
		d.started++
	}
	for _, tx := range d.wal[d.flushed-d.base:] {
		for i := range tx.writes {
			d.takeBack(&tx.writes[i])
		}
	}
	d.wal = d.wal[:d.flushed-d.base]
	for _, tx := range d.wal {
		tx.visible = true
	}
	d.primary = d.durable
	d.procs, d.locks = nil, [oracleTables][oracleRows]*oracleTx{}
	d.lsn, d.next = d.flushed, d.flushedXid+1
	d.next = max(d.next, 3)
}

// takeBack gives what survives of a row a stamp after that of the write that was lost, as if recovery had
// written it: what was read before lacks that.
func (d *oracleDatabase) takeBack(w *oracleWrite) {
	d.stamps++
	survivor := &d.durable[w.table][w.row]
	pending := false
	for _, tx := range d.wal[d.replayed-d.base : d.flushed-d.base] {
		for i := range tx.writes {
			if p := &tx.writes[i]; p.stamp == survivor.stamp {
				p.stamp, pending = d.stamps, true
			}
		}
	}
	survivor.stamp = d.stamps
	for s := range survivor.affected {
		survivor.affected[s] = d.stamps
	}
	if !pending {
		d.standby[w.table][w.row].stamp = d.stamps
	}
}

// prune forgets what everybody has read of the log up to lsn.
func (d *oracleDatabase) prune(lsn uint64) {
	lsn = min(lsn, d.replayed, d.flushed)
	for len(d.wal) > 0 && d.base < lsn && d.wal[0].visible {
		d.wal, d.base = d.wal[1:], d.base+1
	}
}
