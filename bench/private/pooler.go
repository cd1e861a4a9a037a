package private

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// StartPooler starts a PgBouncer in transaction mode before the database of the URL, and returns it and the
// URL that leads through it, as the user postgres. Settings are further lines of its [pgbouncer] section. The
// error is exec.ErrNotFound where PgBouncer is not installed. The caller ends it with Stop.
func StartPooler(ctx context.Context, database string, settings ...string) (pooler *Program, pooled string, err error) {
	u, err := url.Parse(database)
	if err != nil {
		return nil, "", fmt.Errorf("read the database's URL: %w", err)
	}
	ini := []string{
		"[databases]",
		fmt.Sprintf("* = host=%s port=%s user=postgres", u.Hostname(), u.Port()),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1",
		"listen_port = %PORT%",
		"unix_socket_dir =",
		"auth_type = any", // the client's name is passed on
		"auth_file = %DIR%/users.txt",
		"pool_mode = transaction",
	}
	pooler, err = NewProgram(Plan{
		Name:    "pgbouncer",
		Command: []string{"pgbouncer", "%DIR%/pgbouncer.ini"},
		Files:   map[string]string{"pgbouncer.ini": strings.Join(append(ini, settings...), "\n") + "\n", "users.txt": ""},
		As:      "nobody", // it refuses to run as root
	})
	if err != nil {
		return nil, "", err
	}
	if err := pooler.Start(ctx); err != nil {
		pooler.Stop()
		return nil, "", err
	}
	u.Host, u.User = pooler.Address(), url.User("postgres")
	return pooler, u.String(), nil
}
