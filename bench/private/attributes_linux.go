package private

import (
	"os/exec"
	"runtime"
	"syscall"
)

// childAttributes makes the kernel end the child when this process dies, however it dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT, Setpgid: true}
}

// startCommand starts the command from a thread that lives as long as the child: Pdeathsig is tied to
// the thread that forked, not to the process (golang.org/issue/27505).
func startCommand(cmd *exec.Cmd, done chan struct{}) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(done)
		}
	}()
	return <-started
}
