package redis

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
)

// The fields of an entry of the shared log.
const (
	fieldIncarnation = "i"
	fieldPredecessor = "p"
	fieldBody        = "b"
)

// What an entry's body says.
const (
	entryVersion = 1

	entryStart  = 0 // an incarnation begins; nothing happened
	entryPurge  = 1
	entryChange = 2
	entryDoubt  = 3 // as a purge, of the values of exact rules alone

	entrySoft = 1 // flag
)

// maxEntrySize bounds an entry's body. What does not fit is said as a purge of everything.
const maxEntrySize = 1 << 20

// streamID is the place of an entry in its stream. The zero value is before every entry.
type streamID struct{ ms, seq uint64 }

// entry is what one entry of the shared log says.
type entry struct {
	id          streamID
	predecessor streamID
	incarnation uint64
	kind        byte
	instance    uint64 // who wrote it
	number      uint64 // the writer's own count
	purge       cache.Purge
}

// parseStreamID reads an id as Redis prints it.
func parseStreamID(text string) (streamID, error) {
	ms, seq, found := strings.Cut(text, "-")
	if !found {
		return streamID{}, fmt.Errorf("parse stream id %q: want milliseconds-sequence", text)
	}
	var id streamID
	var err error
	if id.ms, err = strconv.ParseUint(ms, 10, 64); err != nil {
		return streamID{}, fmt.Errorf("parse stream id %q: %w", text, err)
	}
	if id.seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return streamID{}, fmt.Errorf("parse stream id %q: %w", text, err)
	}
	return id, nil
}

// String returns the id as Redis prints it.
func (id streamID) String() string {
	return strconv.FormatUint(id.ms, 10) + "-" + strconv.FormatUint(id.seq, 10)
}

func (id streamID) less(other streamID) bool {
	return id.ms < other.ms || id.ms == other.ms && id.seq < other.seq
}

const (
	sequenceBits = 22
	maxSequence  = 1<<sequenceBits - 1
	maxMillis    = 1<<(64-sequenceBits) - 1
)

// position packs the id so that the order stays. The second result is false for ids that do not fit:
// four million entries in a millisecond, or a server in the year 2109.
func (id streamID) position() (cache.SharedPosition, bool) {
	return cache.SharedPosition(min(id.ms, maxMillis)<<sequenceBits | min(id.seq, maxSequence)), id.ms <= maxMillis && id.seq <= maxSequence
}

// errEntry is an entry that this version of forebay cannot read. It may say anything.
var errEntry = errors.New("entry of another version, or damaged")

// parseEntry reads an entry. With errEntry the id is valid, and the rest as far as it could be read.
func parseEntry(m goredis.XMessage) (entry, error) {
	var e entry
	var err error
	if e.id, err = parseStreamID(m.ID); err != nil {
		return e, err
	}
	incarnation, _ := m.Values[fieldIncarnation].(string)
	predecessor, _ := m.Values[fieldPredecessor].(string)
	body, _ := m.Values[fieldBody].(string)
	if e.incarnation, err = strconv.ParseUint(incarnation, 16, 64); err != nil {
		return e, errEntry
	}
	if e.predecessor, err = parseStreamID(predecessor); err != nil {
		return e, errEntry
	}
	if _, fits := e.id.position(); !fits {
		return e, errEntry
	}
	return e, e.parseBody([]byte(body))
}

// appendBody appends the part of the entry that its writer knows.
func (e *entry) appendBody(dst []byte) []byte {
	flags := byte(0)
	if e.purge.Soft {
		flags = entrySoft
	}
	dst = append(dst, entryVersion, e.kind, flags, 0)
	dst = binary.LittleEndian.AppendUint64(dst, e.instance)
	dst = binary.LittleEndian.AppendUint64(dst, e.number)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.purge.Dependencies)))
	for _, d := range e.purge.Dependencies {
		dst = appendBytes(dst, d)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.purge.KeyPrefixes)))
	for _, prefix := range e.purge.KeyPrefixes {
		dst = appendBytes(dst, prefix)
	}
	return dst
}

// parseBody reads what appendBody wrote.
func (e *entry) parseBody(b []byte) error {
	c := cursor{rest: b}
	head := c.take(4)
	if head == nil || head[0] != entryVersion || head[1] > entryDoubt || head[2] > entrySoft || head[3] != 0 {
		return errEntry
	}
	e.kind, e.purge.Soft = head[1], head[2] == entrySoft
	e.instance, e.number = c.uint64(), c.uint64()
	for range c.count(4) {
		e.purge.Dependencies = append(e.purge.Dependencies, cache.Dependency(c.text()))
	}
	for range c.count(4) {
		e.purge.KeyPrefixes = append(e.purge.KeyPrefixes, c.bytes())
	}
	if c.failed || len(c.rest) != 0 {
		return errEntry
	}
	return nil
}
