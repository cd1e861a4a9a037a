package postgres

import (
	"testing"
	"time"
)

func TestOneFillOfSeveralTakesTheNextSnapshotWhileOthersShareTheLast(t *testing.T) {
	t.Parallel()
	const others, alone = true, false
	var s taken
	f := func(age time.Duration, several, want bool) {
		t.Helper()
		if got := s.lasts(age, several); got != want {
			t.Errorf("a snapshot of %s, several: %v: lasts: %v", age, several, got)
		}
	}
	f(0, others, true)
	f(followAfter-1, others, true)
	f(followAfter, alone, true)   // it would be asked for no sooner
	f(followAfter, others, false) // this fill takes the next one
	f(followAfter, others, true)  // and these share while it does
	f(shareFor-1, others, true)
	f(shareFor, others, false) // whatever became of the next one
	f(shareFor, alone, false)
}
