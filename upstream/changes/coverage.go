package changes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"forebay/cache"
)

// cover is since when the changes to one relation arrive. Owned by the goroutine of the catalogue.
type cover struct {
	relation *relation // as it is attributed; another one makes another cover
	coverage cache.Coverage
}

// writersQuery lists who holds relations for writing: their ids and those of their subtransactions, and
// where ids stand. A prepared transaction has no process and its locks all the same.
const writersQuery = `select l.relation, coalesce(x.transactionid::text, ''),
  pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text
from pg_catalog.pg_locks l
join pg_catalog.pg_locks x on x.virtualtransaction = l.virtualtransaction and x.locktype = 'transactionid'
  and x.granted and x.mode = 'ExclusiveLock'
where l.locktype = 'relation' and l.granted and l.relation = any ($1::pg_catalog.oid[])
  and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
  and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`

// writers returns which transactions hold each of the relations for writing.
func writers(ctx context.Context, conn *pgx.Conn, oids []uint32) (map[uint32][]uint64, error) {
	rows, err := conn.Query(ctx, writersQuery, oids)
	if err != nil {
		return nil, fmt.Errorf("ask who writes: %w", err)
	}
	found := make(map[uint32][]uint64)
	var oid uint32
	var xid, near string
	_, err = pgx.ForEachRow(rows, []any{&oid, &xid, &near}, func() error {
		var narrow uint32
		var wide uint64
		if _, err := fmt.Sscan(xid, &narrow); err != nil {
			return err
		}
		if _, err := fmt.Sscan(near, &wide); err != nil {
			return err
		}
		found[oid] = append(found[oid], cache.Widen(narrow, wide))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask who writes: %w", err)
	}
	return found, nil
}

// settle lets go of writers that had ended in the snapshot of a heartbeat: who asks from now on sees them.
// Replayed is what a standby must have replayed to see them, too.
func (c *cover) settle(b *beat, now cache.Position, replayed uint64) {
	if len(c.coverage.Writers) == 0 {
		return
	}
	if slices.ContainsFunc(c.coverage.Writers, func(xid uint64) bool { return !b.snapshot.Sees(xid) }) {
		return
	}
	c.coverage.Writers, c.coverage.After, c.coverage.Replayed = nil, now, replayed
}

// coverages returns what of the wanted is covered, what is not and why, and what is not for the moment.
// Covers are those of what is published; why says why another is not.
func (c *catalogue) coverages(wanted map[uint32][]int16, covers map[uint32]*cover, why func(*entry) *refusal) (covered map[uint32]cache.Coverage, uncovered, pending []Uncovered) {
	covered = make(map[uint32]cache.Coverage)
	for _, oid := range slices.Sorted(maps.Keys(c.relations)) {
		e := c.relations[oid]
		coverage, reason := c.coverage(e, covers, why)
		if reason != nil {
			u := Uncovered{Oid: oid, Name: e.quoted, Reason: reason.reason, Fix: reason.fix}
			if reason.soon {
				pending = append(pending, u)
			} else {
				uncovered = append(uncovered, u)
			}
			continue
		}
		covered[oid] = coverage
		for _, number := range wanted[oid] {
			if !slices.Contains(coverage.Columns, number) {
				uncovered = append(uncovered, c.untold(e, number))
			}
		}
	}
	for _, oid := range slices.Sorted(maps.Keys(wanted)) {
		if c.relations[oid] == nil {
			uncovered = append(uncovered, Uncovered{Oid: oid, Name: fmt.Sprintf("relation %d", oid), Reason: "it is not there (any more)"})
		}
	}
	slices.SortStableFunc(uncovered, func(a, b Uncovered) int { return cmp.Compare(a.Oid, b.Oid) })
	return covered, uncovered, pending
}

// coverage of a relation is that of all below it together: the youngest, and the columns they share.
func (c *catalogue) coverage(e *entry, covers map[uint32]*cover, why func(*entry) *refusal) (cache.Coverage, *refusal) {
	var sum cache.Coverage
	for i, leaf := range c.below(e.oid) {
		cover := covers[leaf.oid]
		if cover == nil {
			return sum, why(leaf)
		}
		one := cover.coverage
		one.Columns = cover.columnsOf(e.oid)
		if i == 0 {
			sum = one
			continue
		}
		sum.After = max(sum.After, one.After)
		sum.Writers = slices.Concat(sum.Writers, one.Writers)
		sum.Columns = slices.DeleteFunc(slices.Clone(sum.Columns), func(n int16) bool { return !slices.Contains(one.Columns, n) })
		if one.Replayed == 0 || sum.Replayed == 0 {
			sum.Replayed = 0
		} else {
			sum.Replayed = max(sum.Replayed, one.Replayed)
		}
	}
	return sum, nil
}

// columnsOf returns the columns of the target by which the relation's changes are told apart.
func (c *cover) columnsOf(oid uint32) []int16 {
	if c.relation == nil {
		return nil
	}
	for i := range c.relation.targets {
		if t := &c.relation.targets[i]; t.oid == oid {
			var list []int16
			for _, f := range t.columns {
				list = append(list, f.number)
			}
			return list
		}
	}
	return nil
}

// untold says why rows are not told apart by a column that somebody wants to tell them apart by.
func (c *catalogue) untold(e *entry, number int16) Uncovered {
	u := Uncovered{Oid: e.oid, Name: fmt.Sprintf("%s, column %d", e.quoted, number), Rows: true}
	at := slices.IndexFunc(e.attributes, func(a attribute) bool { return a.number == number })
	switch {
	case at < 0:
		u.Reason = "the column is generated, or not there"
	case !e.attributes[at].exact:
		u.Name = e.quoted + "." + e.attributes[at].name
		u.Reason = "equal values of its type may be written in several ways"
	default:
		u.Name = e.quoted + "." + e.attributes[at].name
		u.Reason = "the column is not of the replica identity, so that an UPDATE or DELETE does not tell its old value"
		u.Fix = fmt.Sprintf("run ALTER TABLE %s REPLICA IDENTITY FULL; if more WAL per write is worth it", e.quoted)
	}
	return u
}
