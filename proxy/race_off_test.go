//go:build !race

package proxy_test

// raceEnabled tells whether the race detector is on: it makes sync.Pool drop what it is given at random.
const raceEnabled = false
