package redis

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"forebay/cache"
)

// parseValue is value.parse for a value of its own.
func parseValue(b []byte) (*value, error) {
	v := new(value)
	if err := v.parse(b); err != nil {
		return nil, err
	}
	return v, nil
}

// exampleStamp and example are a value with something in every field.
var exampleStamp = stamp{instance: 0x1122334455667789, written: 1_790_000_000_123_456, age: 7 * time.Second, incarnation: 0xaabbccddeeff0011, shared: 0x0102030405060708}

func example() *cache.StoredResponse {
	wall := time.Unix(1_790_000_000, 5).UTC()
	log := cache.NewChangeLog("epoch")
	return &cache.StoredResponse{
		Traits: &cache.Traits{
			Status: 200, ContentType: []byte("application/json"), Header: []cache.Field{{Name: []byte("X-A"), Value: []byte("1")}, {Name: []byte("X-B")}},
			StaleWhileRevalidate: time.Second, StaleIfError: time.Hour, Rule: "GET /a", Vary: []string{"accept"}, TTLOnly: true, Compressible: true,
			Directives: cache.Directives{Present: true, Immutable: true, MaxAge: time.Minute, SMaxAge: -1, StaleWhileRevalidate: -1, StaleIfError: -1},
		},
		ETag: `"e"`, Body: []byte("{}"),
		Encodings:   &cache.Encodings{{Coding: "gzip", ETag: `"g"`, Body: []byte{0x1f, 0x8b}}},
		RequestTime: cache.MomentOf(wall), ResponseTime: cache.MomentOf(wall.Add(time.Second)), InitialAge: 5 * time.Second, Lifetime: time.Minute,
		Standing: log.Stand([]byte("key"), 3, cache.Snapshot{Xmin: 90, Xmax: 100, Xip: []uint64{90, 95}, Replayed: 0x16b3748}, []cache.Dependency{"relation:1", "tag:t"}),
	}
}

// TestTheFormatIsTheDocumentedOne holds the bytes still: who changes them changes valueVersion, the table in
// doc.go and this file.
func TestTheFormatIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/value-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	got := appendValue(nil, []byte("key"), example(), exampleStamp)
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the format changed; it was\n%sand is\n%s", hex.Dump(want), hex.Dump(got))
	}
	if _, err := parseValue(want); err != nil {
		t.Errorf("parse: %v", err)
	}
}

func TestEveryDamageIsNoticed(t *testing.T) {
	t.Parallel()
	good := appendValue(nil, []byte("key"), example(), exampleStamp)
	for at := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[at] ^= 1 << bit
			if v, err := parseValue(b); err == nil {
				t.Fatalf("bit %d of byte %d: %+v", bit, at, v)
			}
		}
		if v, err := parseValue(good[:at]); err == nil {
			t.Fatalf("cut after %d bytes: %+v", at, v)
		}
	}
}

func TestImpossibleTimesAreRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*cache.StoredResponse, *stamp){
		"negative age":      func(_ *cache.StoredResponse, s *stamp) { s.age = -1 },
		"younger than born": func(r *cache.StoredResponse, s *stamp) { s.age = r.InitialAge - 1 },
		"negative lifetime": func(r *cache.StoredResponse, _ *stamp) { r.Lifetime = -1 },
		"endless":           func(r *cache.StoredResponse, _ *stamp) { r.StaleIfError = 1 << 62 },
		"before all time":   func(_ *cache.StoredResponse, s *stamp) { s.written = -1 },
	} {
		r, s := example(), exampleStamp
		spoil(r, &s)
		if _, err := parseValue(appendValue(nil, []byte("key"), r, s)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// seal makes damaged bytes look whole, so that what lies behind the checksum is reached.
func seal(b []byte) {
	if len(b) < fixedSize {
		return
	}
	copy(b, valueMagic)
	b[4] = valueVersion
	binary.LittleEndian.PutUint32(b[20:], uint32(len(b)))
	binary.LittleEndian.PutUint64(b[8:], checksum(b))
}

// FuzzParseValue feeds the reader bytes, as they are and sealed. What it takes must be what forebay would
// write for the same response, byte for byte: then nothing of it was ignored or guessed.
func FuzzParseValue(f *testing.F) {
	f.Add(appendValue(nil, []byte("key"), example(), exampleStamp))
	plain := example()
	plain.Header, plain.Encodings, plain.Vary, plain.TTLOnly, plain.Kind = nil, nil, nil, false, cache.Uncacheable
	f.Add(appendValue(nil, nil, plain, stamp{age: plain.InitialAge}))
	f.Add([]byte(valueMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseValue(b)
		b = bytes.Clone(b)
		seal(b)
		v, err := parseValue(b)
		if err != nil {
			return
		}
		r := v.response
		r.Standing = cache.NewChangeLog(v.epoch).Stand([]byte(v.key), v.asked, v.snapshot, v.dependencies)
		if v.softened {
			r.Standing.Soften()
		}
		if again := appendValue(nil, []byte(v.key), r, v.stamp); !bytes.Equal(again, b) {
			t.Errorf("read\n%sand would have written\n%s", hex.Dump(b), hex.Dump(again))
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	for _, e := range []entry{
		{kind: entryStart, instance: 1},
		{kind: entryPurge, number: 2, purge: cache.Purge{Dependencies: []cache.Dependency{"tag:a", ""}, KeyPrefixes: [][]byte{[]byte("k")}, Soft: true}},
		{kind: entryChange, purge: cache.Purge{Dependencies: []cache.Dependency{cache.Everything}}},
	} {
		f.Add(e.appendBody(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e entry
		if e.parseBody(b) != nil {
			return
		}
		if again := e.appendBody(nil); !bytes.Equal(again, b) {
			t.Errorf("read\n%sand would have written\n%s", hex.Dump(b), hex.Dump(again))
		}
	})
}
