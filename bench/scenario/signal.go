package scenario

import "syscall"

// stopSignal makes a process hang.
const stopSignal = syscall.SIGSTOP
