package cache

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Traits is what many stored responses of a rule have alike, so that it is in memory once. It is immutable
// from when its response is handed to a Store on. Safe for concurrent use.
type Traits struct {
	Status      int
	ContentType []byte
	Header      []Field // the other end-to-end fields, in the order received; none that the server itself writes (Content-Length, Date, Age, Connection …)

	// Reuse beyond the lifetime (RFC 5861), each counted from its end; zero forbids it.
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration

	Rule       string     // the name of the rule that made it
	Directives Directives // of its Cache-Control, for responses of an HTTP upstream
	Vary       []string   // lower-case names of the request fields it was selected by; of an index: those to key on
	Kind       Kind
	// Compressible says that the body is worth compressing for clients that ask for it; set before it is stored.
	Compressible bool
	TTLOnly      bool // changes do not concern it: other instances, and this one after a restart, may use it

	// Head is what whoever serves the responses made of the fields above, to be written as it is; nil: nothing.
	Head *Head

	shared atomic.Bool // by another response than the one it was made for
}

// Head is the part of a header that is the same for all responses with the same Traits: as the name of a field, for it
// is everything before the value of the last one. Immutable.
type Head struct {
	Server  []byte // the field that servers write first; nil: the server's own
	Name    []byte // for clients that are offered no encodings
	Offered []byte // and for those that are
}

// equal reports whether both say the same.
func (c *Traits) equal(o *Traits) bool {
	return c.Status == o.Status && c.Kind == o.Kind && c.Compressible == o.Compressible && c.TTLOnly == o.TTLOnly &&
		c.StaleWhileRevalidate == o.StaleWhileRevalidate && c.StaleIfError == o.StaleIfError &&
		c.Rule == o.Rule && c.Directives == o.Directives && slices.Equal(c.Vary, o.Vary) &&
		(c.ContentType == nil) == (o.ContentType == nil) && bytes.Equal(c.ContentType, o.ContentType) &&
		slices.EqualFunc(c.Header, o.Header, func(a, b Field) bool {
			return bytes.Equal(a.Name, b.Name) && bytes.Equal(a.Value, b.Value)
		})
}

// hash is equal for those that are equal.
func (c *Traits) hash(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	maphash.WriteComparable(&h, c.Status)
	_, _ = h.WriteString(c.Rule)
	_, _ = h.Write(c.ContentType)
	for _, f := range c.Header {
		_, _ = h.Write(f.Value)
	}
	return h.Sum64()
}

// size returns the bytes that it occupies for the response that brought it; for all others it is there anyway.
func (c *Traits) size() int {
	if c == nil || c.shared.Load() {
		return 0
	}
	n := 240 + len(c.ContentType)
	for _, f := range c.Header {
		n += 48 + len(f.Name) + len(f.Value)
	}
	for _, v := range c.Vary {
		n += 16 + len(v)
	}
	if c.Head != nil {
		n += 48 + len(c.Head.Name) + len(c.Head.Offered)
	}
	return n
}

// KnownTraits finds one value for all responses that have the same Traits. It knows a bounded number of them: what is
// asked for beside these stays as it is, and takes the place of another. Safe for concurrent use.
type KnownTraits struct {
	seed  maphash.Seed
	slots [256]atomic.Pointer[Traits]
}

// NewKnownTraits makes one that knows none.
func NewKnownTraits() *KnownTraits { return &KnownTraits{seed: maphash.MakeSeed()} }

// Share has the response use what it has in common with others. The response must be the caller's alone; made
// completes what nobody else has yet, and is called before anybody else sees it.
func (s *KnownTraits) Share(r *StoredResponse, made func(*Traits)) {
	slot := &s.slots[r.Traits.hash(s.seed)%uint64(len(s.slots))]
	if known := slot.Load(); known != nil && known.equal(r.Traits) {
		r.Traits = known
		if !known.shared.Load() {
			known.shared.Store(true)
		}
		return
	}
	c := r.clone()
	made(c)
	r.Traits = c
	slot.Store(c)
}

// clone returns a copy that has its bytes to itself: what they are part of may be much larger, and go sooner.
func (c *Traits) clone() *Traits {
	d := &Traits{
		Status: c.Status, ContentType: bytes.Clone(c.ContentType), StaleWhileRevalidate: c.StaleWhileRevalidate, StaleIfError: c.StaleIfError,
		Rule: strings.Clone(c.Rule), Directives: c.Directives, Kind: c.Kind, Compressible: c.Compressible, TTLOnly: c.TTLOnly,
	}
	for _, f := range c.Header {
		d.Header = append(d.Header, Field{Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)})
	}
	for _, name := range c.Vary {
		d.Vary = append(d.Vary, strings.Clone(name))
	}
	return d
}
