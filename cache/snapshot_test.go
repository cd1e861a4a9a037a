package cache_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"forebay/cache"
)

func TestSnapshotReadsWhatPostgresPrints(t *testing.T) {
	t.Parallel()
	f := func(text string, sees, misses []uint64) {
		t.Helper()
		s, err := cache.ParseSnapshot([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if s.String() != text {
			t.Errorf("%s printed as %s", text, s)
		}
		for _, xid := range sees {
			if !s.Sees(xid) {
				t.Errorf("%s does not see %d", text, xid)
			}
		}
		for _, xid := range misses {
			if s.Sees(xid) {
				t.Errorf("%s sees %d", text, xid)
			}
		}
	}
	f("10:10:", []uint64{1, 9}, []uint64{10, 11, 1 << 40})
	f("10:20:10,14,15", []uint64{3, 9, 11, 13, 16, 19}, []uint64{10, 14, 15, 20, 21})
	f("10:20:19", []uint64{10, 18}, []uint64{19, 20})
	// xids are 64-bit: these are beyond the first wraparound of the 32-bit counter
	f("4294967296:4294967300:4294967297", []uint64{5, 4294967295, 4294967296, 4294967299}, []uint64{4294967297, 4294967300})
	f("3:18446744073709551615:", []uint64{1 << 63}, []uint64{18446744073709551615})
}

func TestSnapshotRefusesWhatPostgresDoesNotPrint(t *testing.T) {
	t.Parallel()
	f := func(text string) {
		t.Helper()
		if s, err := cache.ParseSnapshot([]byte(text)); err == nil {
			t.Errorf("%q read as %+v", text, s)
		}
	}
	f("")
	f("10")
	f("10:20")
	f("0:20:")
	f("20:10:")
	f("a:20:")
	f("10:20:9")
	f("10:20:20")
	f("10:20:12,11")
	f("10:20:11,11")
	f("10:20:11,")
	f("10:20:,")
	f("-1:20:")
	f("10:18446744073709551616:")
	f(" 10:20:")
}

func TestSnapshotsThatSayNothingAndEverything(t *testing.T) {
	t.Parallel()
	var none cache.Snapshot
	if !none.IsZero() || none.Sees(0) || none.Sees(1) {
		t.Error("a missing snapshot sees something")
	}
	all := cache.AllSeeing()
	if all.IsZero() || !all.Sees(1) || !all.Sees(1<<63) {
		t.Error("the all-seeing snapshot misses something")
	}
	if all.Sees(0) || (cache.Snapshot{Xmin: 5, Xmax: 5}).Sees(0) {
		t.Error("0 is no transaction, and was seen")
	}
}

func TestSnapshotSeesAsItsDefinitionSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSnapshot(t)
		read, err := cache.ParseSnapshot([]byte(s.String()))
		if err != nil || !slices.Equal(read.Xip, s.Xip) || read.Xmin != s.Xmin || read.Xmax != s.Xmax {
			t.Fatalf("%v read back as %v, %v", s, read, err)
		}
		xid := rapid.Uint64Range(1, 60).Draw(t, "xid")
		want := xid < s.Xmin || xid < s.Xmax && !slices.Contains(s.Xip, xid)
		if s.Sees(xid) != want {
			t.Fatalf("%v sees %d: %t", s, xid, !want)
		}
	})
}

func drawSnapshot(t *rapid.T) cache.Snapshot {
	xmin := rapid.Uint64Range(1, 30).Draw(t, "xmin")
	xmax := xmin + rapid.Uint64Range(0, 20).Draw(t, "span")
	s := cache.Snapshot{Xmin: xmin, Xmax: xmax}
	for xid := xmin; xid < xmax; xid++ {
		if rapid.Bool().Draw(t, "running") {
			s.Xip = append(s.Xip, xid)
		}
	}
	return s
}

func FuzzParseSnapshot(f *testing.F) {
	for _, seed := range []string{"10:20:10,14,15", "3:3:", "1:2:1", "10:20:", "::", "4294967296:4294967300:4294967297", "9:1:"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := cache.ParseSnapshot(text)
		if err != nil {
			return
		}
		if s.Xmin == 0 || s.Xmax < s.Xmin || !slices.IsSorted(s.Xip) {
			t.Fatalf("%q read as the impossible %+v", text, s)
		}
		again, err := cache.ParseSnapshot(s.AppendText(nil))
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q printed as %s, which reads as %v, %v", text, s, again, err)
		}
		for _, xid := range s.Xip {
			if s.Sees(xid) {
				t.Fatalf("%s sees %d, which was running", s, xid)
			}
		}
	})
}
