package changes

import (
	"fmt"
	"strings"
)

// Prefixes of the messages that pg_logical_emit_message brings.
const (
	prefixProbe = "forebay.probe" // a heartbeat's push, and nothing else
	prefixDDL   = "forebay.ddl"   // from the event triggers: a command's tag, then oids, or * for everything
)

// collector turns pgoutput's messages into committed transactions. Owned by the goroutine that receives.
type collector struct {
	attribution func() *attribution
	commit      func(t *transaction, end uint64) // called for each transaction that committed, in their order
	maxRows     int

	shapes   map[uint32]*shape
	current  *transaction            // between Begin and Commit
	streamed map[uint32]*transaction // that arrive in chunks before they commit
	chunk    *transaction            // between Stream Start and Stream Stop
	row      row
	rows     uint64 // rows that arrived
}

func newCollector(maxRows int, attribution func() *attribution, commit func(*transaction, uint64)) *collector {
	return &collector{
		attribution: attribution, commit: commit, maxRows: maxRows,
		shapes: make(map[uint32]*shape), streamed: make(map[uint32]*transaction),
	}
}

// take handles one message. An error means that the two sides do not understand each other: then nothing
// that follows may be believed.
func (c *collector) take(message []byte) error {
	r := &reader{rest: message}
	kind := r.uint8()
	var err error
	switch kind {
	case messageBegin, messageCommit, messageStreamStart, messageStreamStop, messageStreamCommit, messageStreamAbort:
		err = c.bracket(kind, r)
	case messageOrigin:
	default:
		err = c.content(kind, r)
	}
	if err == nil {
		err = r.err
	}
	if err != nil {
		return fmt.Errorf("read %q of the stream: %w", kind, err)
	}
	return nil
}

// bracket handles what begins or ends a transaction or a chunk of one.
func (c *collector) bracket(kind byte, r *reader) error {
	switch kind {
	case messageBegin:
		r.uint64() // where it will end
		r.uint64() // its time
		c.current = newTransaction(r.uint32())
	case messageCommit:
		r.take(1 + 8)
		end := r.uint64()
		if c.current == nil || r.err != nil {
			return errOutOfPlace(r)
		}
		c.commit(c.current, end)
		c.current = nil
	case messageStreamStart:
		xid := r.uint32()
		if c.current != nil || c.chunk != nil || r.err != nil {
			return errOutOfPlace(r)
		}
		if c.chunk = c.streamed[xid]; c.chunk == nil {
			c.chunk = newTransaction(xid)
			c.streamed[xid] = c.chunk
		}
	case messageStreamStop:
		if c.chunk == nil {
			return errOutOfPlace(r)
		}
		c.chunk = nil
	case messageStreamCommit:
		return c.streamCommit(r)
	case messageStreamAbort:
		c.streamAbort(r.uint32(), r.uint32())
	}
	return nil
}

func errOutOfPlace(r *reader) error {
	if r.err != nil {
		return r.err
	}
	return fmt.Errorf("message is out of place")
}

func (c *collector) streamCommit(r *reader) error {
	xid := r.uint32()
	r.take(1 + 8)
	end := r.uint64()
	t := c.streamed[xid]
	if t == nil || r.err != nil {
		return errOutOfPlace(r)
	}
	delete(c.streamed, xid)
	for oid, s := range t.shapes { // from here on the server takes them for known
		c.shapes[oid] = s
	}
	c.commit(t, end)
	return nil
}

// streamAbort drops a transaction or a subtransaction of it. One that sent nothing is not known.
func (c *collector) streamAbort(xid, sub uint32) {
	if xid == sub {
		delete(c.streamed, xid)
	} else if t := c.streamed[xid]; t != nil {
		t.rollback(sub)
	}
}

// content handles what happens within a transaction. In a chunk each message names its subtransaction.
func (c *collector) content(kind byte, r *reader) error {
	t := c.current
	var p *part
	if c.chunk != nil {
		t = c.chunk
		p = t.part(r.uint32())
	} else if t != nil {
		p = &t.main
	}
	switch kind {
	case messageRelation:
		if s := readShape(r); s != nil {
			c.keep(s)
		}
	case messageType:
	case messageInsert, messageUpdate, messageDelete:
		if p == nil {
			return errOutOfPlace(r)
		}
		c.takeRow(kind, r, t, p)
	case messageTruncate:
		if p == nil {
			return errOutOfPlace(r)
		}
		a := c.attribution()
		for _, oid := range readTruncate(r) {
			d := p.touch(oid, a)
			d.counts[truncate]++
			d.collapse()
		}
	case messageMessage:
		c.takeMessage(r, p)
	default:
		return fmt.Errorf("message is of an unknown kind")
	}
	return nil
}

// keep remembers a shape: for all, or for the streamed transaction that sent it, since it may be the only
// one in which the table looks so.
func (c *collector) keep(s *shape) {
	if c.chunk == nil {
		c.shapes[s.oid] = s
		return
	}
	if c.chunk.shapes == nil {
		c.chunk.shapes = make(map[uint32]*shape)
	}
	c.chunk.shapes[s.oid] = s
}

func (c *collector) takeRow(kind byte, r *reader, t *transaction, p *part) {
	c.rows++
	oid := r.uint32()
	if r.err != nil {
		return
	}
	a := c.attribution()
	d := p.touch(oid, a)
	d.counts[operationOf(kind)]++
	if d.whole {
		return // the rest is not even read
	}
	s := t.shapes[oid]
	if s == nil {
		s = c.shapes[oid]
	}
	c.row.read(kind, r)
	if r.err != nil {
		return
	}
	if a.relations[oid] != d.relation || !d.fits(s) || len(d.marks) >= c.maxRows ||
		!d.relation.attribute(&c.row, d.mark) {
		d.collapse()
	}
}

func operationOf(kind byte) int { return strings.IndexByte("IUD", kind) }

// takeMessage handles what somebody emitted. Only what takes part in a transaction is understood.
func (c *collector) takeMessage(r *reader, p *part) {
	transactional, prefix, content := readMessage(r)
	if r.err != nil || !transactional || p == nil || string(prefix) != prefixDDL {
		return
	}
	p.ddl = true
	oids, ok := readDDL(string(content))
	if !ok {
		p.everything = true
		return
	}
	a := c.attribution()
	for _, oid := range oids {
		p.touch(oid, a).collapse()
	}
}
