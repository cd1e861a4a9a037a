package cache

import (
	"math/rand/v2"
	"slices"
)

// The database of the oracle: what of Postgres bears on freshness, and nothing else. Transactions write their
// commit record, are flushed, become visible and are streamed in steps of their own; a standby replays in
// the order of the log; a crash takes back what was not flushed and hands out its xids again.
const (
	fakeTables   = 3
	fakeRows     = 8
	fakeStatuses = 3
)

// fakeRow is a row of which every write has a stamp of its own, and later writes of it a greater one.
type fakeRow struct {
	stamp    uint64
	status   uint8
	affected [fakeStatuses]uint64 // the last write that concerns the list of each status
}

type fakeState [fakeTables][fakeRows]fakeRow

func (s *fakeState) apply(w *fakeWrite) {
	r := &s[w.table][w.row]
	r.stamp, r.status = w.stamp, w.status
	r.affected[w.old], r.affected[w.status] = w.stamp, w.stamp
}

type fakeWrite struct {
	table, row  int
	old, status uint8
	stamp       uint64
	published   bool // the table was published when it was written
	applied     bool // the log has been told of it
}

type fakeTx struct {
	xid     uint64
	lsn     uint64 // of its commit record; 0: still running
	writes  []fakeWrite
	async   bool // becomes visible before it is flushed
	own     bool // made through the cache
	applied bool // its writer has told the log of it
	visible bool
	coarse  bool // told of as a whole: many rows, or a TRUNCATE
}

type fakeDatabase struct {
	rng    *rand.Rand
	next   uint64 // xid
	stamps uint64

	primary, durable, standby fakeState
	locks                     [fakeTables][fakeRows]*fakeTx
	procs                     []*fakeTx // in the order of their xids: what snapshots list as running

	wal              []*fakeTx // committed, in the order of the log
	base             uint64    // LSN before wal[0]
	lsn              uint64    // of the end
	flushed          uint64
	replayed         uint64
	flushedXid       uint64 // the greatest
	replayedXid      uint64
	published        [fakeTables]bool
	crashes, commits int
}

func newFakeDatabase(rng *rand.Rand) *fakeDatabase {
	d := &fakeDatabase{rng: rng, next: 3}
	for t := range fakeTables {
		d.published[t] = true
	}
	return d
}

func (d *fakeDatabase) snapshot() Snapshot {
	s := Snapshot{Xmin: d.next, Xmax: d.next}
	for _, tx := range d.procs {
		s.Xip = append(s.Xip, tx.xid)
	}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

// exported is what a slot made now exports: all whose commit record is written, visible already or not.
func (d *fakeDatabase) exported() Snapshot {
	s := Snapshot{Xmin: d.next, Xmax: d.next, Replayed: d.lsn}
	for _, tx := range d.procs {
		if tx.lsn == 0 {
			s.Xip = append(s.Xip, tx.xid)
		}
	}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

func (d *fakeDatabase) begin() *fakeTx {
	tx := &fakeTx{xid: d.next, async: d.rng.IntN(3) == 0, own: d.rng.IntN(4) == 0}
	d.next++
	d.procs = append(d.procs, tx)
	return tx
}

// write writes a row unless another transaction holds it.
func (d *fakeDatabase) write(tx *fakeTx, table, row int) {
	if d.locks[table][row] != nil {
		return
	}
	d.locks[table][row] = tx
	d.stamps++
	tx.writes = append(tx.writes, fakeWrite{
		table: table, row: row, old: d.primary[table][row].status, status: uint8(d.rng.IntN(fakeStatuses)),
		stamp: d.stamps, published: d.published[table],
	})
}

// writeAll writes what it can of a table: so many rows that they are not told apart.
func (d *fakeDatabase) writeAll(tx *fakeTx, table int) {
	tx.coarse = true
	for row := range fakeRows {
		d.write(tx, table, row)
	}
}

// commit writes the commit record.
func (d *fakeDatabase) commit(tx *fakeTx) {
	d.lsn++
	tx.lsn = d.lsn
	d.wal = append(d.wal, tx)
	d.commits++
}

func (d *fakeDatabase) flushTo(lsn uint64) {
	for ; d.flushed < lsn; d.flushed++ {
		tx := d.wal[d.flushed-d.base]
		for i := range tx.writes {
			d.durable.apply(&tx.writes[i])
		}
		d.flushedXid = max(d.flushedXid, tx.xid)
	}
}

func (d *fakeDatabase) replayOne() {
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

// mayBecomeVisible reports whether the transaction may leave the running ones.
func (d *fakeDatabase) mayBecomeVisible(tx *fakeTx) bool {
	return tx.lsn != 0 && (tx.async || tx.lsn <= d.flushed)
}

// end takes the transaction out of the running ones: visible if it committed, aborted if not.
func (d *fakeDatabase) end(tx *fakeTx) {
	d.procs = slices.DeleteFunc(d.procs, func(p *fakeTx) bool { return p == tx })
	tx.visible = tx.lsn != 0
	for i := range tx.writes {
		w := &tx.writes[i]
		d.locks[w.table][w.row] = nil
		if tx.visible {
			d.primary.apply(w)
		}
	}
}

// crash loses what is beyond the last LSN that survives. With promotion that is what the standby replayed,
// and the standby is the primary from now on.
func (d *fakeDatabase) crash(promoted bool) {
	d.crashes++
	if promoted {
		d.durable, d.flushed, d.flushedXid = d.standby, d.replayed, d.replayedXid
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
	d.procs, d.locks = nil, [fakeTables][fakeRows]*fakeTx{}
	d.lsn, d.next = d.flushed, d.flushedXid+1
}

// takeBack gives what survives of a row a stamp after that of the write that was lost, as if recovery had
// written it: what was read before lacks that.
func (d *fakeDatabase) takeBack(w *fakeWrite) {
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
func (d *fakeDatabase) prune(lsn uint64) {
	lsn = min(lsn, d.replayed, d.flushed)
	for len(d.wal) > 0 && d.base < lsn && d.wal[0].visible {
		d.wal, d.base = d.wal[1:], d.base+1
	}
}
