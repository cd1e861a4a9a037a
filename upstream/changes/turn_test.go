package changes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"forebay/cache"
)

// The stream carries the lower 32 bits of transaction ids. Shortly before these turn to zero, transactions
// from before and after are under way at once.
func TestTheCounterOfTransactionsMayTurn(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t, "autovacuum = off")
	admin := open(t, pg.URL("postgres"))
	mustExec(t, admin, "vacuum freeze")
	_ = admin.Close(t.Context())
	pg.Shutdown()
	const next = 0xFFFFFFE0
	reset := pg.Command("pg_resetwal", "--epoch=2", fmt.Sprintf("--next-transaction-id=%d", uint32(next)), fmt.Sprintf("--oldest-transaction-id=%d", uint32(next-1000)), "-D", ".")
	if out, err := reset.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// The status of transactions that never were: two bits each, in files of 2^20 transactions.
	status := filepath.Join(reset.Dir, "pg_xact", "0FFF")
	if err := os.WriteFile(status, make([]byte, 1<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	if owner := reset.SysProcAttr.Credential; owner != nil {
		if err := os.Chown(status, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := pg.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := newWorldOn(t, pg.URL("postgres"), clientsTable)
	clients := w.oid("clients")
	p := w.follow(map[uint32][]int16{clients: {1}})
	old := w.another()
	old.exec(`begin; update clients set name = 'old' where id = 1000`)
	before := old.number(`select pg_current_xact_id()`)
	for i := range 60 {
		row := p.store(w, cache.Row(clients, 1, fmt.Sprint(i+1)), cache.Whole(clients))
		w.exec(fmt.Sprintf(`update clients set name = 'x' where id = %d`, i+1))
		row.outdated("an update")
		p.caught(w)
		again := p.store(w, cache.Row(clients, 1, fmt.Sprint(i+1)), cache.Whole(clients))
		again.current("an update that it saw")
	}
	last := p.store(w, cache.Row(clients, 1, "1000"), cache.Whole(clients))
	after := w.number(`select pg_current_xact_id()`)
	if before>>32 != 2 || after>>32 != 3 {
		t.Fatalf("transactions went from %d to %d; want the lower 32 bits to turn", before, after)
	}
	old.exec(`commit`)
	last.outdated("a transaction from before the turn")
	if got := last.Cause().Xid; got != before {
		t.Errorf("xid %d; want %d", got, before)
	}
}
