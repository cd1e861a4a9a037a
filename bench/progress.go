package bench

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress tells what is being done: on a terminal as one line that changes, elsewhere as a line for each
// step. Safe for concurrent use.
type progress struct {
	w        io.Writer
	terminal bool
	start    time.Time

	mu    sync.Mutex // guards the rest
	count int
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, start: time.Now()}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			p.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return p
}

// step says what comes now.
func (p *progress) step(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	took := time.Since(p.start).Round(time.Second)
	if p.terminal {
		// Erase the line, and leave the cursor at its end.
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%6s  %s …", took, fmt.Sprintf(format, args...))
		return
	}
	_, _ = fmt.Fprintf(p.w, "%6s  %s\n", took, fmt.Sprintf(format, args...))
}

// end leaves the line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && p.count > 0 {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
