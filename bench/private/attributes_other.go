//go:build !linux

package private

import (
	"os/exec"
	"syscall"
)

// childAttributes puts the child into a group of its own, so that Ctrl-C reaches it only through us.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func startCommand(cmd *exec.Cmd, done chan struct{}) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	return nil
}
