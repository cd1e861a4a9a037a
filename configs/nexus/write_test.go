package nexus_test

import (
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

const (
	createRoute = "POST /api/v1/clients"
	updateRoute = "PUT /api/v1/clients/{id}"
	deleteRoute = "DELETE /api/v1/clients/{id}"
	batchRoute  = "POST /api/v1/optimized/clients/batch"
)

func create(t *testing.T, conn *pgx.Conn, args arguments) client {
	t.Helper()
	var created []client
	find(t, createRoute, "rows").rows(t, conn, args, &created)
	return created[0]
}

func TestCreatedClientsHaveTheDefaults(t *testing.T) {
	t.Parallel()
	conn := connect(t, newDatabase(t, nil))
	c := create(t, conn, arguments{"name": "Ann Lee", "email": "Ann@Example.com", "program_type": "PRIME"})
	if c.Status != "trial" || c.Notes != "" || string(c.Metadata) != "{}" || c.Phone != nil || c.IsActive || c.Days != 0 {
		t.Errorf("created %+v, want the defaults", c)
	}
	if c.Email != "Ann@Example.com" {
		t.Errorf("email = %q, want it as given", c.Email)
	}
	var batch []client
	find(t, batchRoute, "rows").rows(t, conn, arguments{
		"name": "B", "email": "b@example.com", "program_type": "HYBRID", "status": "active", "phone": "+1", "notes": "n", "metadata": `{"a": 1}`,
	}, &batch)
	if b := batch[0]; !b.IsActive || *b.Phone != "+1" || b.Notes != "n" || string(b.Metadata) != `{"a": 1}` {
		t.Errorf("created %+v, want what was given", b)
	}
}

func TestUpdatesChangeOnlyTheFieldsGiven(t *testing.T) {
	t.Parallel()
	conn := connect(t, newDatabase(t, nil))
	update := find(t, updateRoute, "rows")
	created := create(t, conn, arguments{"name": "Ann Lee", "email": "a@example.com", "program_type": "PRIME", "phone": "+1 555", "notes": "old"})
	change := func(args arguments) client {
		t.Helper()
		var rows []client
		args["id"] = created.ID
		update.rows(t, conn, args, &rows)
		return rows[0]
	}
	want := created
	want.Status, want.IsActive = "active", true
	got := change(arguments{"body": `{"status":"active"}`, "status": "active"})
	if !got.UpdatedAt.After(created.UpdatedAt) {
		t.Error("updated_at did not move with a change")
	}
	want.UpdatedAt = got.UpdatedAt
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("after a new status (-want +got):\n%s", d)
	}
	if again := change(arguments{"body": `{"status":"active"}`, "status": "active"}); !again.UpdatedAt.Equal(got.UpdatedAt) {
		t.Error("updated_at moved without a change")
	}
	if nothing := change(arguments{"body": `{}`}); !nothing.UpdatedAt.Equal(got.UpdatedAt) {
		t.Error("updated_at moved though no field was given")
	}
	if got = change(arguments{"body": `{"phone":null}`}); got.Phone != nil || got.Notes != "old" {
		t.Errorf("after a null phone: %+v", got)
	}
	if got = change(arguments{"body": `{"name":"Bo","metadata":{"k":2}}`, "name": "Bo", "metadata": `{"k":2}`}); got.Name != "Bo" || string(got.Metadata) != `{"k": 2}` {
		t.Errorf("after a new name and metadata: %+v", got)
	}
	var none []client
	update.rows(t, conn, arguments{"id": "00000000-0000-4000-8000-000000000000", "body": `{"name":"X"}`, "name": "X"}, &none)
	if len(none) != 0 {
		t.Errorf("an unknown id was updated: %+v", none)
	}
}

func TestTheTableRefusesWhatMayNotBe(t *testing.T) {
	t.Parallel()
	conn := connect(t, newDatabase(t, nil))
	first := create(t, conn, arguments{"name": "Ann", "email": "a@example.com", "program_type": "PRIME"})
	f := func(want, route string, args arguments) {
		t.Helper()
		var rows []client
		if got := state(find(t, route, "rows").run(t.Context(), conn, args, &rows)); got != want {
			t.Errorf("%s %v: %q, want %q", route, args, got, want)
		}
	}
	with := func(field, value string) arguments {
		args := arguments{"name": "N", "email": "n@example.com", "program_type": "PRIME"}
		args[field] = value
		return args
	}
	f("23505 clients_email_key", createRoute, with("email", "a@example.com"))
	f("23514 clients_name_check", createRoute, with("name", ""))
	f("23514 clients_name_check", createRoute, with("name", "two\nlines"))
	f("23514 clients_name_check", createRoute, with("name", strings.Repeat("é", 201)))
	f("23514 clients_email_check", createRoute, with("email", strings.Repeat("e", 321)))
	f("23514 clients_phone_check", createRoute, with("phone", strings.Repeat("5", 41)))
	f("23514 clients_program_type_check", createRoute, with("program_type", "prime"))
	f("23514 clients_status_check", createRoute, with("status", "gone"))
	f("23514 clients_notes_check", createRoute, with("notes", strings.Repeat("n", 10_001)))
	f("23514 clients_metadata_check", createRoute, with("metadata", "[]"))
	for _, field := range []string{"name", "email", "program_type", "status", "notes", "metadata"} {
		f("23502 "+field, updateRoute, arguments{"id": first.ID, "body": `{"` + field + `":null}`})
	}
}

func TestDeletingAClientTakesAllOfItAlong(t *testing.T) {
	t.Parallel()
	conn := connect(t, filled(t))
	id := one[string](t, conn, `select client_id::text from client_progress join training_sessions using (client_id) limit 1`)
	remove := find(t, deleteRoute, "rows")
	var rows []struct{ ID string }
	remove.rows(t, conn, arguments{"id": id}, &rows)
	if len(rows) != 1 || rows[0].ID != id {
		t.Fatalf("deleted %v, want %s", rows, id)
	}
	for _, table := range []string{"clients where id", "training_programs where client_id", "training_sessions where client_id", "client_progress where client_id"} {
		if n := one[int](t, conn, "select count(*) from "+table+" = $1", id); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	if remove.rows(t, conn, arguments{"id": id}, &rows); len(rows) != 0 {
		t.Error("the second delete found the client again")
	}
}

func TestUpdatedAtIsTheTransactionsTime(t *testing.T) {
	t.Parallel()
	tx := begin(t, filled(t))
	exec(t, tx.Conn(), "update clients set name = name || '!', updated_at = 'infinity' where id = (select id from clients limit 1)")
	if n := one[int](t, tx.Conn(), "select count(*) from clients where updated_at = now()"); n != 1 {
		t.Errorf("%d clients have the transaction's time, want 1", n)
	}
	if now, newest := one[time.Time](t, tx.Conn(), "select now()"), one[time.Time](t, tx.Conn(), "select max(updated_at) from clients"); !now.Equal(newest) {
		t.Errorf("the newest update is of %v, want %v", newest, now)
	}
}
