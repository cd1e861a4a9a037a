package gauge

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// processTime reads the CPU clock of another process, in nanoseconds and with the threads that have ended.
// Its number is made as clock_getcpuclockid(3) makes it.
func processTime(pid int) (time.Duration, error) {
	const schedulerClock = 2
	id := ^pid<<3 | schedulerClock
	var t syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", pid, errno)
	}
	return time.Duration(t.Nano()), nil
}
