package scenario

import (
	"time"
)

// Settings are what all scenarios share.
type Settings struct {
	Quick bool // only shows that everything works
	Seed  uint64
	Users int           // connections, each with a request a second
	Keys  int           // clients that are asked for one by one
	Open  time.Duration // measured with users' timetables
	// Closed is measured with Workers connections that ask as fast as they are answered.
	Closed  time.Duration
	Workers int
	Timeout time.Duration // of a request: nobody waits longer
	Shares  []int         // percent of requests that write
	Step    func(format string, args ...any)
}

// Full are the settings that figures are quoted from.
func Full(seed uint64, step func(string, ...any)) Settings {
	return Settings{
		Seed: seed, Users: 200, Keys: 20_000, Open: 4 * time.Second, Closed: 3 * time.Second, Workers: 16,
		Timeout: 10 * time.Second, Shares: []int{0, 1, 10}, Step: step,
	}
}

// Quick are the settings that show in seconds that everything works.
func Quick(seed uint64, step func(string, ...any)) Settings {
	return Settings{
		Quick: true, Seed: seed, Users: 20, Keys: 300, Open: 300 * time.Millisecond, Closed: 100 * time.Millisecond, Workers: 4,
		Timeout: 3 * time.Second, Shares: []int{0, 1}, Step: step,
	}
}

// lasting returns the one duration for full runs and the other for quick ones.
func (s Settings) lasting(full, quick time.Duration) time.Duration {
	if s.Quick {
		return quick
	}
	return full
}

// times returns the one number for full runs and the other for quick ones.
func (s Settings) times(full, quick int) int {
	if s.Quick {
		return quick
	}
	return full
}
