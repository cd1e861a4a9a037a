package memory_test

import (
	"fmt"
	"testing"
)

func TestAFullTierWantsFromAnotherOnlyWhatIsAskedForAgain(t *testing.T) {
	t.Parallel()
	f := open(t, 64<<10)
	offer := func(n int) bool {
		key := fmt.Appendf(nil, "key %d", n)
		if !f.Wants(key) {
			return false
		}
		f.put(t, string(key), f.response(string(key), 1000))
		return true
	}
	for n := range 10 {
		if !offer(n) {
			t.Fatal("an empty tier wants nothing")
		}
	}
	for n := range 3000 { // until it is full, and that was noticed
		offer(n)
	}
	wanted := 0
	for n := 10_000; n < 10_500; n++ {
		if offer(n) {
			wanted++
		}
	}
	if wanted > 5 {
		t.Errorf("%d of 500 that came once took another's place", wanted)
	}
	if !f.Wants([]byte("key 10499")) {
		t.Error("what is asked for again is not wanted")
	}
	f.Clear()
	for n := range 5000 { // room again; nothing has to go
		offer(20_000 + n%20)
	}
	if !offer(30_000) {
		t.Error("a tier with room keeps out what comes once")
	}
}
