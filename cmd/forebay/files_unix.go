//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFiles returns how many files the process may open; 0: that is not known, or more than matters.
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > math.MaxInt32 {
		return 0
	}
	return int(limit.Cur)
}
