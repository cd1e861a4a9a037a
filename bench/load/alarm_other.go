//go:build !linux

package load

import "time"

// alarm wakes one connection at its times, as exactly as the runtime can.
type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

// wait sleeps for the duration.
func (*alarm) wait(d time.Duration) { time.Sleep(d) }

func (*alarm) close() {}
