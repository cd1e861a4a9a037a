package main

import "testing"

func TestTheHeapGrowsByAShareOfWhatIsLookedInto(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, c := range []struct{ live, opaque, want int }{
		{0, 0, 160},
		{4 * mib, 0, 160},
		{10 * mib, 0, 160}, // the least room
		{20 * mib, 0, 80},
		{64 * mib, 60 * mib, 25},
		{160 * mib, 40 * mib, 19},       // 30 MiB
		{1400 * mib, 1000 * mib, 7},     // 100 MiB
		{1400 * mib, 0, 25},             // nothing but pointers
		{100 * 1024 * mib, 1 << 60, 1},  // never nothing
		{1400 * mib, 2000 * mib, 1},     // reckoned while it changes
		{100 * mib, 100*mib + 1000, 16}, // likewise
	} {
		if got := gcShare(c.live, c.opaque); got != c.want {
			t.Errorf("%d MiB, of which %d are not looked into: %d %%, want %d", c.live/mib, c.opaque/mib, got, c.want)
		}
	}
}
