package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// The two ways to break a foreign key are told apart in the languages that the server speaks.
func TestReferencesAreToldApartInEveryLanguage(t *testing.T) {
	t.Parallel()
	const missing, referred, either = "No row with this id exists.", "The row with this id is still referred to.",
		"A row that this one refers to does not exist, or the row is still referred to."
	for message, want := range map[string]string{
		`insert or update on table "b" violates foreign key constraint "fk"`:                                missing,
		`update or delete on table "a" violates foreign key constraint "fk" on table "b"`:                   referred,
		`Einfügen oder Aktualisieren in Tabelle »b« verletzt Fremdschlüssel-Constraint »fk«`:                missing,
		`Aktualisieren oder Löschen in Tabelle »a« verletzt Fremdschlüssel-Constraint »fk« von Tabelle »b«`: referred,
		`une instruction insert sur la table « b » viole la contrainte de clé étrangère « fk »`:             missing,
		`"a"x"" "fk" "b"`: either,
	} {
		pg := &pgconn.PgError{Routine: "ri_ReportViolation", TableName: "b", ConstraintName: "fk", Message: message}
		if got := referenceSentence(pg, "id"); got != want {
			t.Errorf("%s: %q; want %q", message, got, want)
		}
	}
	raised := &pgconn.PgError{Routine: "exec_stmt_raise", Message: `"b" "fk"`}
	if got := referenceSentence(raised, ""); got != either {
		t.Errorf("raised by a function: %q", got)
	}
}
