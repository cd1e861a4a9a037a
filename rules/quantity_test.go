package rules

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDurationsNeedAUnit(t *testing.T) {
	good := func(text string, want time.Duration) {
		t.Helper()
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	bad := func(text string) {
		t.Helper()
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	good("250ms", 250*time.Millisecond)
	good("30s", 30*time.Second)
	good("1h30m", 90*time.Minute)
	good("7d", 7*24*time.Hour)
	good("1d12h", 36*time.Hour)
	good("0s", 0)
	bad("0")
	bad("30")
	bad("1.5")
	bad("")
	bad("-1s")
	bad("1d-1h")
	bad("d")
	bad("1.5d")
	bad("1w")
	bad("1d5")
	bad("99999d999999h")
	bad("9999999999h")
}

func TestSizesNeedAUnitOfOneMeaning(t *testing.T) {
	good := func(text string, want int) {
		t.Helper()
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	bad := func(text string) {
		t.Helper()
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	good("64MiB", 64<<20)
	good("64MB", 64_000_000)
	good("1.5KiB", 1536)
	good("10B", 10)
	bad("64")
	bad("")
	bad("1.")
	bad("-1KiB")
	bad("64MiBs")
	bad("99999999999GiB")
}

func TestQuantitiesReadBackAsTheyArePrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(60000*time.Hour)).Draw(t, "d")).Round(time.Millisecond)
		if rapid.Bool().Draw(t, "round") {
			d = d.Round(time.Hour)
		}
		if got, err := parseDuration(duration(d).String()); err != nil || got != d {
			t.Fatalf("%v is printed %s and read as %v, %v", d, duration(d), got, err)
		}
		s := rapid.OneOf(rapid.IntRange(0, 1<<31), rapid.Map(rapid.IntRange(0, 5000), func(n int) int { return n << 10 }),
			rapid.Map(rapid.IntRange(0, 5000), func(n int) int { return n * 1_000_000 })).Draw(t, "s")
		if got, err := parseSize(size(s).String()); err != nil || got != s {
			t.Fatalf("%d is printed %s and read as %d, %v", s, size(s), got, err)
		}
	})
}
