//go:build !(linux && amd64)

package main

import (
	"os/exec"
	"time"
)

// wallClock is that of a process which is started on one of its own; not on this platform.
type wallClock struct{}

// startOnClock starts the command, on the wall clock of everybody.
func startOnClock(cmd *exec.Cmd) (*wallClock, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return nil, errOneClock
}

func (*wallClock) jump(time.Duration) error { return errOneClock }
