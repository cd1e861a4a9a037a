package changes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The messages of pgoutput's protocol 2, by their first byte (PostgreSQL documentation, "Logical
// Replication Message Formats"). They are read here, not by pglogrepl, because a row of a collapsed
// transaction then costs no allocation: five million of them have to pass.
const (
	messageBegin        = 'B'
	messageCommit       = 'C'
	messageOrigin       = 'O'
	messageRelation     = 'R'
	messageType         = 'Y'
	messageInsert       = 'I'
	messageUpdate       = 'U'
	messageDelete       = 'D'
	messageTruncate     = 'T'
	messageMessage      = 'M'
	messageStreamStart  = 'S'
	messageStreamStop   = 'E'
	messageStreamCommit = 'c'
	messageStreamAbort  = 'A'
)

// errShort : a message ends before it should.
var errShort = errors.New("message is cut short")

// reader takes a message apart. The first failure sticks, and everything read after it is zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.rest) {
		r.err = errShort
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text reads up to a zero byte. The result is a view.
func (r *reader) text() []byte {
	i := bytes.IndexByte(r.rest, 0)
	if r.err != nil || i < 0 {
		r.err = errShort
		return nil
	}
	b := r.rest[:i]
	r.rest = r.rest[i+1:]
	return b
}

// shape is what a Relation message says of the rows that follow it. Immutable.
type shape struct {
	oid      uint32
	identity byte // pg_class.relreplident
	columns  []column
}

// column is one of a shape. Immutable.
type column struct {
	name string
	kind uint32 // oid of its type
	key  bool   // of the replica identity
}

func readShape(r *reader) *shape {
	s := &shape{oid: r.uint32()}
	r.text() // namespace
	r.text() // name
	s.identity = r.uint8()
	n := int(r.uint16())
	if n > len(r.rest)/10 { // the least a column takes
		r.err = errShort
		return nil
	}
	s.columns = make([]column, n)
	for i := range s.columns {
		c := &s.columns[i]
		c.key = r.uint8()&1 != 0
		c.name = string(r.text())
		c.kind = r.uint32()
		r.uint32() // type modifier
	}
	return s
}

// cell is a column's value in a row: kind 't' with its text, 'n' for null, 'u' for a value outside of the
// row that did not change. The text is a view.
type cell struct {
	kind byte
	text []byte
}

// row is an INSERT, UPDATE or DELETE. Its slices are used again for the next row.
type row struct {
	old, new []cell
	kind     byte // messageInsert, messageUpdate or messageDelete
	oldKind  byte // 'K': old has the replica identity's columns only; 'O': old has all; 0: there is no old
	hasNew   bool
}

func (w *row) inserted() bool { return w.kind == messageInsert }

// read reads what follows the relation's oid.
func (w *row) read(kind byte, r *reader) {
	w.kind, w.oldKind, w.hasNew = kind, 0, false
	w.old, w.new = w.old[:0], w.new[:0]
	tag := r.uint8()
	if tag == 'K' || tag == 'O' {
		w.oldKind = tag
		w.old = readCells(w.old, r)
		if kind == messageDelete {
			return
		}
		tag = r.uint8()
	}
	if tag != 'N' || kind == messageDelete {
		r.err = errors.Join(r.err, fmt.Errorf("row has an unknown part %q", tag))
		return
	}
	w.hasNew = true
	w.new = readCells(w.new, r)
}

func readCells(dst []cell, r *reader) []cell {
	for n := int(r.uint16()); n > 0 && r.err == nil; n-- {
		c := cell{kind: r.uint8()}
		switch c.kind {
		case 'n', 'u':
		case 't', 'b':
			c.text = r.take(int(int32(r.uint32())))
		default:
			r.err = errors.Join(r.err, fmt.Errorf("value has an unknown kind %q", c.kind))
		}
		dst = append(dst, c)
	}
	return dst
}

// readTruncate returns the oids of the truncated relations.
func readTruncate(r *reader) []uint32 {
	n := int(int32(r.uint32()))
	r.uint8() // CASCADE, RESTART IDENTITY
	if n < 0 || n > len(r.rest)/4 {
		r.err = errShort
		return nil
	}
	oids := make([]uint32, n)
	for i := range oids {
		oids[i] = r.uint32()
	}
	return oids
}

// readMessage returns what pg_logical_emit_message sent. Both are views.
func readMessage(r *reader) (transactional bool, prefix, content []byte) {
	transactional = r.uint8()&1 != 0
	r.uint64() // position
	prefix = r.text()
	content = r.take(int(int32(r.uint32())))
	return transactional, prefix, content
}
