package scenario

import "syscall"

// What makes a process hang, and go on.
const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
)
