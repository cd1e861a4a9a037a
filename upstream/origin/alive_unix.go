//go:build unix

package origin

import "syscall"

// alive reports whether the idle connection is open and silent. What arrives on one that nobody has asked
// anything is the service's goodbye, or an answer that belongs to no request.
func (c *connection) alive() bool {
	if c.raw == nil {
		return true
	}
	silent := false
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		silent = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true
	})
	return err == nil && silent
}
