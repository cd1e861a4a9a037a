package changes

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"forebay/rules"
)

// newPooler starts a PgBouncer before the database until the test ends, that takes these settings from
// clients and ignores them.
func newPooler(t *testing.T, database, ignored string) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("pgbouncer is not installed")
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	_ = listener.Close()
	dir := t.TempDir()
	ini, users := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "users.txt")
	text := fmt.Sprintf("[databases]\n* = host=%s port=%s user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\nauth_file = %s\npool_mode = transaction\nignore_startup_parameters = %s\n",
		u.Hostname(), u.Port(), address.Port, users, ignored)
	for file, text := range map[string]string{ini: text, users: ""} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{ini}
	if os.Getuid() == 0 { // which it refuses to run as
		args = append([]string{"-u", "nobody"}, args...)
		for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
	})
	u.Host, u.User = address.String(), url.User("postgres")
	newTap(t, Config{Mode: ModeOff}).eventually("the pooler listens", func() bool {
		conn, err := net.Dial("tcp", u.Host)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return u.String()
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
