package nexus_test

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// fingerprint is the content of all tables.
func fingerprint(t *testing.T, database string) map[string]string {
	t.Helper()
	conn := connect(t, database)
	prints := make(map[string]string)
	for _, table := range []string{"clients", "training_programs", "training_sessions", "client_progress"} {
		prints[table] = one[string](t, conn, "select count(*) || ' ' || md5(string_agg(r::text, ';' order by id)) from "+table+" as r")
	}
	return prints
}

func TestTheSameSettingsMakeTheSameRows(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"nexus.clients": "300", "nexus.today": "2026-02-28"}
	first := fingerprint(t, newDatabase(t, settings))
	if d := gocmp.Diff(first, fingerprint(t, newDatabase(t, settings))); d != "" {
		t.Errorf("the second time (-first +second):\n%s", d)
	}
	settings["nexus.today"] = "2026-03-01"
	if gocmp.Equal(first, fingerprint(t, newDatabase(t, settings))) {
		t.Error("another day makes the same rows; want the dates to move with it")
	}
}

// definitions are the indexes and constraints.
func definitions(t *testing.T, database string) []string {
	t.Helper()
	rows, err := connect(t, database).Query(t.Context(), `select indexdef from pg_indexes where schemaname = 'public'
		union all select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || convalidated from pg_constraint
			where connamespace = 'public'::regnamespace
		order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestLoadingPutsBackWhatItSetAside(t *testing.T) {
	t.Parallel()
	if d := gocmp.Diff(definitions(t, newDatabase(t, nil)), definitions(t, filled(t))); d != "" {
		t.Errorf("indexes and constraints (-before +after):\n%s", d)
	}
}

func TestTheDataIsBelievable(t *testing.T) {
	t.Parallel()
	conn := connect(t, filled(t))
	// Each is a question whose answer is true of such a platform.
	for question, sql := range map[string]string{
		"as many clients as asked for":              "select count(*) = 2000 from clients",
		"most are active, few on trial":             "select count(*) filter (where status = 'active') > count(*) / 2 and count(*) filter (where status = 'trial') < count(*) / 5 from clients",
		"every status and program occurs":           "select count(distinct status) = 5 and count(distinct program_type) = 3 from clients",
		"PRIME leads, HYBRID is small":              "select count(*) filter (where program_type = 'PRIME') > 3 * count(*) filter (where program_type = 'HYBRID') from clients",
		"two years of arrivals":                     "select min(created_at) < now() - interval '700 days' and max(created_at) > now() - interval '4 days' from clients",
		"nothing is from the future":                "select max(greatest(created_at, updated_at)) <= now() from clients",
		"each of the last months has arrivals":      "select count(distinct date_trunc('month', created_at)) >= 24 from clients",
		"more arrive than a year ago":               "select count(*) filter (where created_at > now() - interval '1 year') > 0.55 * count(*) from clients",
		"updates come after creation":               "select bool_and(updated_at >= created_at) from clients",
		"e-mails are ASCII with one @":              `select bool_and(email ~ '^[a-z0-9._-]+@[a-z0-9.-]+\.[a-z]+$') from clients`,
		"domains belong to nobody":                  `select bool_and(email ~ '(\.example|@example\.(com|net|org))$') from clients`,
		"names are of many scripts' accents":        "select count(*) filter (where name ~ '[^ -~]') between 50 and 1000 from clients",
		"some have no phone, most do":               "select count(phone) between 1500 and 1900 from clients",
		"names repeat, as names do":                 "select count(distinct name) between 1500 and 1999 from clients",
		"programs belong to their sessions' client": "select not exists (select from training_sessions s join training_programs p on p.id = program_id where p.client_id <> s.client_id)",
		"more than five sessions for each client":   "select (select count(*) from training_sessions) > 5 * count(*) from clients",
		"progress in every way of measuring":        "select count(distinct progress_type) = 9 and count(*) > 4000 from client_progress",
		"what is planned is not completed":          "select not exists (select from training_sessions where completed_at > now())",
	} {
		if !one[bool](t, conn, sql) {
			t.Errorf("not so: %s", question)
		}
	}
}
