package bench_test

import (
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"forebay/bench"
	"forebay/bench/report"
)

// TestQuickRunIsComplete runs the whole harness on a tiny data set and looks at what it says, not at how fast
// anything was.
func TestQuickRunIsComplete(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "forebay")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/forebay").CombinedOutput(); err != nil {
		t.Fatalf("build forebay: %v: %s", err, out)
	}
	r, err := bench.Run(t.Context(), bench.Config{
		Binary: binary, Version: "test", Command: "forebay bench", Clients: 1000, Seed: 1, Quick: true, Limit: 4 * time.Minute,
		Parts: []bench.Part{bench.Scenarios, bench.Paths, bench.Failures, bench.Peers, bench.Scale}, Progress: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	figures := map[string]report.Figure{}
	for _, f := range r.Figures() {
		if _, twice := figures[f.ID]; twice && f.Goal != nil {
			t.Errorf("the figure %s is there twice", f.ID)
		}
		figures[f.ID] = f
	}
	for _, id := range []string{
		"misses.dashboard.after", "misses.search.after", "misses.analytics.after",
		"dashboard.w0.before.p99", "dashboard.w0.after.p99", "search.w0.after.p99", "analytics.w0.after.p99", "batch.w0.after.p99",
		"dashboard.w1.less", "batch.w1.less", "sustained.w1.hits", "mixed.w1.hits", "mixed.w1.database_time_saved", "mixed.w1.database_calls_saved",
		"pool.p99", "users.timeouts", "users.errors", "bounded.dashboard.p99", "fresh.p50", "fresh.p99", "fresh.async.p50", "fresh.async.p99", "stampede.statements", "stampede.errors",
		"slow-clients.p99", "slow-clients.errors", "redis-down.errors", "redis-down.p99", "postgres-down.answered", "postgres-down.refused", "postgres-down.back",
		"paths.row.cpu", "paths.list.throughput", "paths.dependants", "paths.export", "paths.redis.cpu",
		"flood.rss", "peers.worst", "scale.stored", "scale.memory", "scale.rules", "scale.idle", "scale.start.1",
	} {
		if _, ok := figures[id]; !ok {
			t.Errorf("the report lacks the figure %s", id)
		}
	}
	// What does not depend on speed holds in a quick run, too.
	for _, id := range []string{"users.errors", "stampede.statements", "stampede.errors", "postgres-down.answered", "flood.errors"} {
		if f := figures[id]; f.Verdict() != report.Met {
			t.Errorf("%s: %s, goal %s", f.Name, f.Text(), f.GoalText())
		}
	}
	dir := t.TempDir()
	if err := r.WriteJSON(filepath.Join(dir, "r.json")); err != nil {
		t.Fatal(err)
	}
	if back, err := report.Read(filepath.Join(dir, "r.json")); err != nil || len(back.Sections) != len(r.Sections) || !back.Complete {
		t.Errorf("the JSON does not come back whole: %v", err)
	}
	if err := r.WriteHTML(filepath.Join(dir, "r.html")); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteText(io.Discard); err != nil {
		t.Fatal(err)
	}
}
