package memory_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"forebay/cache/memory"
)

const rssChild = "FOREBAY_TEST_RSS_CHILD"

// TestAMillionDistinctKeysStayWithinTheBound measures a process of its own, so that nothing else is counted: a scan of a
// million URLs, each with a body of 1 KiB, against a bound of 64 MiB.
func TestAMillionDistinctKeysStayWithinTheBound(t *testing.T) {
	const limit, allowance = 64 << 20, 96 << 20
	if os.Getenv(rssChild) != "" {
		fillAMillion(t, limit)
		return
	}
	if raceEnabled {
		t.Log("the race detector's own memory is not what is measured here")
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), rssChild+"=1")
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	var peak, bytes, entries int
	for line := range strings.Lines(string(out)) {
		_, _ = fmt.Sscanf(strings.TrimSpace(line), "peak %d bytes %d entries %d", &peak, &bytes, &entries)
	}
	t.Logf("peak RSS %d MiB, %d entries of %d MiB in all", peak>>20, entries, bytes>>20)
	if peak == 0 || peak > limit+allowance {
		t.Errorf("peak RSS %d MiB, want at most %d MiB", peak>>20, (limit+allowance)>>20)
	}
	if entries < limit/2/2048 {
		t.Errorf("only %d entries fit", entries)
	}
}

func fillAMillion(t *testing.T, limit int) {
	debug.SetMemoryLimit(memory.SuggestedMemoryLimit(limit))
	f := open(t, limit)
	for i := range 1_000_000 {
		key := fmt.Sprintf("GET /api/v1/clients?page=%d&limit=20&status=active", i)
		f.put(t, key, f.response(key, 1024))
	}
	st := f.Stats()
	fmt.Printf("peak %d bytes %d entries %d\n", peakRSS(t), st.Bytes, st.Entries)
}

// peakRSS returns the most memory that this process has had resident.
func peakRSS(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM in /proc/self/status")
	return 0
}
