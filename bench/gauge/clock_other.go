//go:build !linux

package gauge

import (
	"errors"
	"time"
)

// processTime is only known on Linux.
func processTime(int) (time.Duration, error) {
	return 0, errors.New("the CPU time of other processes is read on Linux only")
}
