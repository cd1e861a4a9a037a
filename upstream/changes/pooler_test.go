package changes

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"forebay/bench/private"
	"forebay/rules"
)

// newPooler starts a PgBouncer before the database until the test ends, that takes these settings from
// clients and ignores them.
func newPooler(t *testing.T, database, ignored string) string {
	t.Helper()
	pooler, pooled, err := private.StartPooler(t.Context(), database, "ignore_startup_parameters = "+ignored)
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("pgbouncer is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pooler.Stop)
	return pooled
}

func TestAPoolerIsNamedAndNotTrusted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table t (id int primary key)`)
	for name, ignored := range map[string]string{
		"one that refuses settings": "extra_float_digits",
		"one that ignores settings": "extra_float_digits, bytea_output, search_path, statement_timeout, idle_session_timeout, lock_timeout",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pooled := rules.Secret(newPooler(t, w.url, ignored))
			p := newTap(t, Config{URL: pooled})
			p.Watch(w.oids())
			p.run()
			p.eventually("the pooler is named", func() bool {
				return strings.Contains(p.Status().Reason, "a connection pooler stands before the server")
			})
			found := false
			for _, f := range Examine(t.Context(), Config{URL: pooled}, nil, nil) {
				found = found || f.State == FindingFail && strings.Contains(f.Detail, "pooler") && strings.Contains(f.Fix, "URL of the server itself")
			}
			if !found {
				t.Error("the doctor does not name it")
			}
			p.stop()
		})
	}
}
