package redis

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
)

// The fields of an entry of the chain, beside those that the shared log has, too.
const (
	fieldChain = "c"
	fieldTime  = "t" // read by the scripts alone
)

// What an entry of the chain says.
const (
	chainVersion = 1

	chainBegin    = 0 // nothing is known of before
	chainChange   = 1
	chainPosition = 2
	chainCoverage = 3
	chainEnd      = 4 // the owner will write no more
)

// maxChangeSize bounds the body of a change. Of what is larger the tables are named and not the rows, and of
// what is larger still everything.
const maxChangeSize = 256 << 10

// chainEntry is what one entry of the chain says.
type chainEntry struct {
	id          streamID // ms is a WAL position: every change whose commit record ends there or before is in the chain
	predecessor streamID
	chain       uint64
	kind        byte

	xid          uint64             // of a change
	dependencies []cache.Dependency // of a change
	answers      []uint64           // of a position: questions that the owner had read before it asked for the position
	server       string             // of a coverage
	covered      map[uint32]chainCover
}

// chainCover says that all changes to a relation whose commit records end after since are in the chain, and by
// which columns their rows are told apart.
type chainCover struct {
	since   uint64
	columns []int16
}

func chainHead(kind byte) []byte { return []byte{chainVersion, kind, 0, 0} }

// changeBody returns the body of a change.
func changeBody(c *cache.Change) []byte {
	if b := dependenciesBody(c.Xid, c.Dependencies); len(b) <= maxChangeSize {
		return b
	}
	if b := dependenciesBody(c.Xid, tablesOf(c.Dependencies)); len(b) <= maxChangeSize {
		return b
	}
	return dependenciesBody(c.Xid, []cache.Dependency{cache.Everything})
}

func dependenciesBody(xid uint64, dependencies []cache.Dependency) []byte {
	b := binary.LittleEndian.AppendUint64(chainHead(chainChange), xid)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(dependencies)))
	for _, d := range dependencies {
		b = appendBytes(b, d)
	}
	return b
}

// tablesOf returns dependencies that concern whatever the given ones do, without rows.
func tablesOf(dependencies []cache.Dependency) []cache.Dependency {
	set := make(map[cache.Dependency]struct{})
	for _, d := range dependencies {
		oid, ok := d.Table()
		if !ok {
			set[d] = struct{}{}
			continue
		}
		set[cache.Relation(oid)], set[cache.Whole(oid)] = struct{}{}, struct{}{}
	}
	return slices.Sorted(maps.Keys(set))
}

func positionBody(answers []uint64) []byte {
	b := binary.LittleEndian.AppendUint32(chainHead(chainPosition), uint32(len(answers)))
	for _, q := range answers {
		b = binary.LittleEndian.AppendUint64(b, q)
	}
	return b
}

// coverageBody returns the body that says what the feed brings.
func coverageBody(f *cache.Feed) []byte {
	le := binary.LittleEndian
	b := appendBytes(chainHead(chainCoverage), f.Server)
	b = le.AppendUint32(b, uint32(len(f.Covered)))
	for _, oid := range slices.Sorted(maps.Keys(f.Covered)) {
		c := f.Covered[oid]
		b = le.AppendUint64(le.AppendUint32(b, oid), c.Replayed)
		b = le.AppendUint32(b, uint32(len(c.Columns)))
		for _, n := range c.Columns {
			b = le.AppendUint16(b, uint16(n))
		}
	}
	return b
}

// parseChainEntry reads an entry. What it cannot read ends the chain for whoever reads it.
func parseChainEntry(m goredis.XMessage) (e chainEntry, err error) {
	if e.id, e.chain, err = parseChainHead(m); err != nil {
		return e, err
	}
	predecessor, _ := m.Values[fieldPredecessor].(string)
	body, _ := m.Values[fieldBody].(string)
	if e.predecessor, err = parseStreamID(predecessor); err != nil {
		return e, errEntry
	}
	return e, e.parseBody([]byte(body))
}

// parseChainHead reads of an entry where it is and of which chain.
func parseChainHead(m goredis.XMessage) (id streamID, chain uint64, err error) {
	if id, err = parseStreamID(m.ID); err != nil {
		return id, 0, err
	}
	text, _ := m.Values[fieldChain].(string)
	if chain, err = strconv.ParseUint(text, 16, 64); err != nil || chain == 0 {
		return id, 0, errEntry
	}
	return id, chain, nil
}

func (e *chainEntry) parseBody(b []byte) error {
	c := cursor{rest: b}
	head := c.take(4)
	if head == nil || head[0] != chainVersion || head[1] > chainEnd || head[2] != 0 || head[3] != 0 {
		return errEntry
	}
	e.kind = head[1]
	switch e.kind {
	case chainChange:
		e.xid = c.uint64()
		for range c.count(4) {
			e.dependencies = append(e.dependencies, cache.Dependency(c.text()))
		}
	case chainPosition:
		for range c.count(8) {
			e.answers = append(e.answers, c.uint64())
		}
	case chainCoverage:
		e.server = strings.Clone(c.text())
		e.covered = make(map[uint32]chainCover)
		for range c.count(16) {
			oid := c.uint32()
			cover := chainCover{since: c.uint64()}
			for range c.count(2) {
				cover.columns = append(cover.columns, c.int16())
			}
			e.covered[oid] = cover
		}
	}
	if c.failed || len(c.rest) != 0 {
		return errEntry
	}
	return nil
}

func (c *cursor) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.LittleEndian.Uint16(b))
	}
	return 0
}
