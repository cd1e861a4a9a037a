package redis

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"

	"forebay/cache"
)

// Reasons why bytes found in Redis are not a value of ours.
var (
	errGarbage  = errors.New("not a value of forebay")
	errVersion  = errors.New("value of another version")
	errLength   = errors.New("value cut short or too long")
	errChecksum = errors.New("value damaged")
	errFields   = errors.New("value with impossible fields")
)

const (
	valueMagic   = "FBAY"
	valueVersion = 1
	fixedSize    = 184 // bytes before the first field of variable length

	noTime = math.MinInt64 // stands for the zero time.Time
)

// The flags of a value.
const (
	flagTTLOnly uint32 = 1 << iota
	flagSoftened
	flagPresent
	flagNoStore
	flagNoCache
	flagPrivate
	flagPublic
	flagMustRevalidate
	flagProxyRevalidate
	flagMustUnderstand
	flagImmutable
	flagCompressible
	flagChained
	flagEnd
)

// stamp is what a value says of the moment and the place in which it was written.
type stamp struct {
	instance    uint64        // whose positions and xids it speaks of
	written     int64         // microseconds on the log server's clock: never later than it was
	age         time.Duration // the response's age then
	incarnation uint64        // of the shared log
	shared      cache.SharedPosition

	chain    uint64 // of changes, in which the response was found current; 0: none
	position uint64 // up to which WAL position
}

// value is what the bytes under a key mean.
type value struct {
	stamp
	response     *cache.StoredResponse // without standing and place on this process's clock
	key          string
	epoch        string
	asked        cache.Position
	softened     bool
	snapshot     cache.Snapshot
	dependencies []cache.Dependency
}

// appendValue appends the response as it is written to Redis. It must have a standing.
func appendValue(dst []byte, key []byte, r *cache.StoredResponse, at stamp) []byte {
	start := len(dst)
	le, s := binary.LittleEndian, r.Standing
	dst = append(dst, valueMagic...)
	dst = append(dst, valueVersion, byte(r.Kind))
	dst = le.AppendUint16(dst, uint16(r.Status))
	dst = append(dst, make([]byte, 8)...) // the checksum, when the rest is known
	flags := flagsOf(r)
	if at.chain != 0 {
		flags |= flagChained
	}
	dst = le.AppendUint32(dst, flags)
	dst = append(dst, make([]byte, 4)...) // the length, likewise
	for _, n := range [...]int64{
		at.written, int64(at.age), int64(r.Lifetime), int64(r.StaleWhileRevalidate), int64(r.StaleIfError), int64(r.InitialAge),
		nanos(r.RequestTime), nanos(r.ResponseTime), nanos(r.Date),
		int64(s.Asked()), int64(at.incarnation), int64(at.shared), int64(s.Snapshot().Xmin), int64(s.Snapshot().Xmax),
		int64(r.Directives.MaxAge), int64(r.Directives.SMaxAge), int64(r.Directives.StaleWhileRevalidate), int64(r.Directives.StaleIfError),
		int64(at.instance), int64(s.Snapshot().Replayed),
	} {
		dst = le.AppendUint64(dst, uint64(n))
	}
	dst = appendBytes(dst, key)
	dst = appendBytes(dst, s.Epoch())
	dst = appendBytes(dst, r.Rule)
	dst = appendBytes(dst, r.ContentType)
	dst = appendBytes(dst, r.ETag)
	dst = appendBytes(dst, r.Body)
	dst = appendLists(dst, r, s)
	if at.chain != 0 {
		dst = le.AppendUint64(le.AppendUint64(dst, at.chain), at.position)
	}

	le.PutUint32(dst[start+20:], uint32(len(dst)-start))
	le.PutUint64(dst[start+8:], checksum(dst[start:]))
	return dst
}

// appendLists appends the fields that there may be several of.
func appendLists(dst []byte, r *cache.StoredResponse, s *cache.Standing) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, uint32(len(s.Snapshot().Xip)))
	for _, xid := range s.Snapshot().Xip {
		dst = le.AppendUint64(dst, xid)
	}
	dst = le.AppendUint32(dst, uint32(len(s.Dependencies())))
	for _, d := range s.Dependencies() {
		dst = appendBytes(dst, d)
	}
	dst = le.AppendUint32(dst, uint32(len(r.Header)))
	for _, f := range r.Header {
		dst = appendBytes(appendBytes(dst, f.Name), f.Value)
	}
	dst = le.AppendUint32(dst, uint32(len(r.Encodings.All())))
	for _, e := range r.Encodings.All() {
		dst = appendBytes(appendBytes(appendBytes(dst, e.Coding), e.ETag), e.Body)
	}
	dst = le.AppendUint32(dst, uint32(len(r.Vary)))
	for _, name := range r.Vary {
		dst = appendBytes(dst, name)
	}
	return dst
}

// parse reads what appendValue wrote. The value's bytes and strings are views of b, which must not
// be written again. It never panics, and allocates no more than a small multiple of b's length.
func (v *value) parse(b []byte) error {
	le := binary.LittleEndian
	switch {
	case len(b) < 8 || string(b[:4]) != valueMagic:
		return errGarbage
	case b[4] != valueVersion:
		return errVersion
	case len(b) < fixedSize || uint64(le.Uint32(b[20:])) != uint64(len(b)):
		return errLength
	case le.Uint64(b[8:]) != checksum(b):
		return errChecksum
	}
	flags := le.Uint32(b[16:])
	if flags >= flagEnd || b[5] > byte(cache.Uncacheable) {
		return errFields
	}
	i64 := func(offset int) int64 { return int64(le.Uint64(b[offset:])) }
	r := &cache.StoredResponse{
		Traits: &cache.Traits{
			Kind: cache.Kind(b[5]), Status: int(le.Uint16(b[6:])), TTLOnly: flags&flagTTLOnly != 0, Compressible: flags&flagCompressible != 0,
			StaleWhileRevalidate: time.Duration(i64(48)), StaleIfError: time.Duration(i64(56)),
		},
		Lifetime: time.Duration(i64(40)), InitialAge: time.Duration(i64(64)), RequestTime: wall(i64(72)), ResponseTime: wall(i64(80)), Date: wall(i64(88)),
	}
	setFlags(&r.Directives, flags)
	r.Directives.MaxAge, r.Directives.SMaxAge = time.Duration(i64(136)), time.Duration(i64(144))
	r.Directives.StaleWhileRevalidate, r.Directives.StaleIfError = time.Duration(i64(152)), time.Duration(i64(160))
	*v = value{
		stamp:    stamp{instance: le.Uint64(b[168:]), written: i64(24), age: time.Duration(i64(32)), incarnation: le.Uint64(b[104:]), shared: cache.SharedPosition(le.Uint64(b[112:]))},
		response: r, asked: cache.Position(le.Uint64(b[96:])), softened: flags&flagSoftened != 0,
		snapshot: cache.Snapshot{Xmin: le.Uint64(b[120:]), Xmax: le.Uint64(b[128:]), Replayed: le.Uint64(b[176:])},
	}
	rest := cursor{rest: b[fixedSize:]}
	v.key, v.epoch, r.Rule = rest.text(), rest.text(), rest.text()
	r.ContentType, r.ETag, r.Body = rest.bytes(), rest.text(), rest.bytes()
	rest.lists(v)
	if flags&flagChained != 0 {
		v.chain, v.position = rest.uint64(), rest.uint64()
	}
	if rest.failed || len(rest.rest) != 0 || !v.plausible() {
		return errFields
	}
	return nil
}

// plausible reports whether the times could have been written by forebay. Reckoning with those that it
// would not have written could overflow, and a negative age would make a response younger.
func (v *value) plausible() bool {
	const most = 100 * 365 * 24 * time.Hour
	r := v.response
	for _, d := range [...]time.Duration{v.age, r.Lifetime, r.StaleWhileRevalidate, r.StaleIfError, r.InitialAge} {
		if d < 0 || d > most {
			return false
		}
	}
	return v.written >= 0 && v.age >= r.InitialAge
}

// lists reads what appendLists wrote.
func (c *cursor) lists(v *value) {
	r := v.response
	if n := c.count(8); n > 0 {
		v.snapshot.Xip = make([]uint64, n)
		for i := range v.snapshot.Xip {
			v.snapshot.Xip[i] = c.uint64()
		}
	}
	if n := c.count(4); n > 0 {
		v.dependencies = make([]cache.Dependency, n)
		for i := range v.dependencies {
			v.dependencies[i] = cache.Dependency(c.text())
		}
	}
	if n := c.count(8); n > 0 {
		r.Header = make([]cache.Field, n)
		for i := range r.Header {
			r.Header[i] = cache.Field{Name: c.bytes(), Value: c.bytes()}
		}
	}
	if n := c.count(12); n > 0 {
		encodings := make(cache.Encodings, n)
		r.Encodings = &encodings
		for i := range encodings {
			encodings[i] = cache.Encoding{Coding: c.text(), ETag: c.text(), Body: c.bytes()}
		}
	}
	if n := c.count(4); n > 0 {
		r.Vary = make([]string, n)
		for i := range r.Vary {
			r.Vary[i] = c.text()
		}
	}
}

// checksum covers all of a value but the checksum itself.
func checksum(b []byte) uint64 {
	return xxh3.HashSeed(b[16:], binary.LittleEndian.Uint64(b))
}

func appendBytes[T ~string | ~[]byte](dst []byte, b T) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// cursor reads fields off the front of rest; once one does not fit it has failed for good. Not safe for
// concurrent use.
type cursor struct {
	rest   []byte
	failed bool
}

// take returns the next n bytes.
func (c *cursor) take(n uint64) []byte {
	if c.failed || n > uint64(len(c.rest)) {
		c.failed = true
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// bytes reads a length and as many bytes; nil when there are none.
func (c *cursor) bytes() []byte {
	if b := c.take(uint64(c.uint32())); len(b) > 0 {
		return b
	}
	return nil
}

// text is bytes as a string that shares them.
func (c *cursor) text() string {
	b := c.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// count reads how many elements follow, each of least bytes at the least: a number that cannot be true
// must not be allocated for.
func (c *cursor) count(least uint64) int {
	n := uint64(c.uint32())
	if c.failed || n*least > uint64(len(c.rest)) {
		c.failed = true
		return 0
	}
	return int(n)
}

func nanos(m cache.Moment) int64 {
	if m == 0 {
		return noTime
	}
	return int64(m)
}

func wall(n int64) cache.Moment {
	if n == noTime {
		return 0
	}
	return cache.Moment(max(n, 1))
}

func flagsOf(r *cache.StoredResponse) uint32 {
	d, flags := &r.Directives, uint32(0)
	for i, set := range [...]bool{
		r.TTLOnly, r.Standing.Softened(), d.Present, d.NoStore, d.NoCache, d.Private, d.Public,
		d.MustRevalidate, d.ProxyRevalidate, d.MustUnderstand, d.Immutable, r.Compressible,
	} {
		if set {
			flags |= 1 << i
		}
	}
	return flags
}

func setFlags(d *cache.Directives, flags uint32) {
	d.Present, d.NoStore, d.NoCache = flags&flagPresent != 0, flags&flagNoStore != 0, flags&flagNoCache != 0
	d.Private, d.Public = flags&flagPrivate != 0, flags&flagPublic != 0
	d.MustRevalidate, d.ProxyRevalidate = flags&flagMustRevalidate != 0, flags&flagProxyRevalidate != 0
	d.MustUnderstand, d.Immutable = flags&flagMustUnderstand != 0, flags&flagImmutable != 0
}
