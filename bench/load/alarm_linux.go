package load

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes one connection at its times. The runtime's own timers are rounded up to whole milliseconds
// while a process is otherwise idle, which is more than a hit takes; a timerfd fires when it says. Not safe for
// concurrent use.
type alarm struct {
	file *os.File
	read [8]byte
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	return &alarm{file: os.NewFile(uintptr(fd), "alarm")}, nil
}

// wait sleeps for the duration, which is more than 0.
func (a *alarm) wait(d time.Duration) {
	conn, err := a.file.SyscallConn()
	if err == nil {
		_ = conn.Control(func(fd uintptr) {
			err = unix.TimerfdSettime(int(fd), 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}, nil)
		})
	}
	if err == nil {
		_, err = a.file.Read(a.read[:])
	}
	if err != nil {
		time.Sleep(d)
	}
}

func (a *alarm) close() { _ = a.file.Close() }
