package redis_test

import (
	"strings"
	"sync"
)

// lines is a log that a test reads. Safe for concurrent use.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

// Write takes a line in.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), message)
}
