package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/rules"
	"forebay/upstream/postgres/wire"
)

const lockNotAvailable = pgerrcode.LockNotAvailable

// explain turns whatever went wrong in an attempt that took so long into an *Error.
func (d *Database) explain(ctx context.Context, err error, took time.Duration) *Error {
	var e *Error
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &pg):
		return d.explainServer(ctx, pg, err, took)
	case errors.Is(ctx.Err(), context.Canceled):
		return &Error{Class: Canceled, Status: 499, Detail: "The request was given up.", Err: err}
	case ctx.Err() != nil && took > d.cfg.StatementTimeout+time.Second:
		return unavailable(err) // the server should have ended the statement itself: it does not answer at all
	case ctx.Err() != nil:
		return &Error{Class: Deadline, Status: 504, Detail: "The database did not answer within the time that this route allows.", Err: err}
	case errors.Is(err, wire.ErrNeedsToJSON), errors.Is(err, wire.ErrMismatch), errors.Is(err, errShapeChanged), errors.Is(err, errNoTable):
		return fault(err)
	}
	return absent(err)
}

// explainServer explains what the server said.
func (d *Database) explainServer(ctx context.Context, pg *pgconn.PgError, err error, took time.Duration) *Error {
	switch pg.Code {
	case pgerrcode.QueryCanceled:
		return d.explainCancel(ctx, err, took)
	case pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected, lockNotAvailable:
		return &Error{
			Class: Busy, Status: 503, Code: pg.Code, RetryAfter: time.Second, Err: err,
			Detail: "Others are changing the same data; the request may be tried again.",
		}
	case pgerrcode.ReadOnlySQLTransaction, pgerrcode.FeatureNotSupported:
		if d.primary == nil && d.server.facts().recovery {
			return unavailable(err)
		}
		return fault(err)
	case pgerrcode.InsufficientPrivilege:
		// Only row security's own check has this place in the server's source; its text is translated.
		if pg.Routine == "ExecWithCheckOptions" {
			return &Error{Class: Forbidden, Status: 403, Code: pg.Code, Err: err, Detail: "The database does not allow this row."}
		}
		return fault(err)
	case pgerrcode.RaiseException:
		return &Error{Class: Raised, Status: 400, Code: pg.Code, Hint: pg.Hint, Err: err, Detail: sentence(pg.Message)}
	}
	return explainClass(pg, err)
}

// explainCancel tells the three that Postgres reports alike apart: our deadline, its timeout, somebody
// else's pg_cancel_backend.
func (d *Database) explainCancel(ctx context.Context, err error, took time.Duration) *Error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &Error{Class: Canceled, Status: 499, Detail: "The request was given up.", Err: err}
	case took >= d.cfg.StatementTimeout*9/10:
		return &Error{Class: StatementTimeout, Status: 504, Code: pgerrcode.QueryCanceled, Err: err, Detail: "The database took too long for this request."}
	}
	return &Error{Class: Deadline, Status: 504, Detail: "The database gave the request up.", Err: err}
}

// explainClass goes by the SQLSTATE's class.
func explainClass(pg *pgconn.PgError, err error) *Error {
	class := pg.Code
	if len(class) > 2 {
		class = class[:2]
	}
	switch class {
	case "23":
		return explainConstraint(pg, err)
	case "22":
		return explainData(pg, err)
	case "P0":
		return fault(err)
	case "08", "53", "57", "58", "XX", "28", "3D":
		return absent(err)
	case "40":
		return &Error{Class: Busy, Status: 503, Code: pg.Code, RetryAfter: time.Second, Err: err, Detail: "Others are changing the same data; the request may be tried again."}
	}
	return fault(err)
}

// fault is an error that the sender can do nothing about and learns nothing of.
func fault(err error) *Error {
	return &Error{Class: Fault, Status: 500, Err: err, Detail: "The request could not be answered because the route does not fit its database."}
}

// explainConstraint says which field a constraint refused. Values never appear: they may be somebody
// else's.
func explainConstraint(pg *pgconn.PgError, err error) *Error {
	columns := keyColumns(pg.Detail)
	e := &Error{Class: Conflict, Status: 409, Code: pg.Code, Hint: pg.Hint, Field: columns, Err: err}
	if e.Field == "" {
		e.Field = pg.ColumnName
	}
	switch pg.Code {
	case pgerrcode.UniqueViolation:
		e.Detail = "A row with the same key already exists."
		if columns != "" {
			e.Detail = fmt.Sprintf("A row with this %s already exists.", spoken(columns))
		}
	case pgerrcode.ForeignKeyViolation, pgerrcode.RestrictViolation:
		e.Detail = referenceSentence(pg, columns)
	case pgerrcode.ExclusionViolation:
		e.Detail = "The row overlaps with another one."
	case pgerrcode.NotNullViolation:
		e.Class, e.Status, e.Detail = Invalid, 422, fmt.Sprintf("%s must not be null.", orRow(pg.ColumnName))
	case pgerrcode.CheckViolation:
		e.Class, e.Status = Invalid, 422
		e.Detail = checkSentence(pg)
	default:
		e.Detail = "The row breaks a rule of the database."
	}
	return e
}

// quotesPattern finds quotation marks, as the server's translations write them.
var quotesPattern = regexp.MustCompile("[\"«»„“”「」]")

// referenceSentence says what a foreign key refused: a row that refers to none, or the end of one that others refer to.
// In every language the message names the table and the constraint for the one, and two tables and the constraint for
// the other; the fields of the error are the same.
func referenceSentence(pg *pgconn.PgError, columns string) string {
	marks := 0
	if pg.Routine == "ri_ReportViolation" {
		marks = len(quotesPattern.FindAllString(strings.NewReplacer(pg.ConstraintName, "", pg.TableName, "").Replace(pg.Message), -1))
	}
	switch {
	case marks == 4 && columns != "":
		return fmt.Sprintf("No row with this %s exists.", spoken(columns))
	case marks == 4:
		return "A row that this one refers to does not exist."
	case marks == 6 && columns != "":
		return fmt.Sprintf("The row with this %s is still referred to.", spoken(columns))
	case marks == 6:
		return "The row is still referred to."
	}
	return "A row that this one refers to does not exist, or the row is still referred to."
}

// checkedQuery returns the column of a constraint that is on one only.
const checkedQuery = `select a.attname from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = k.conrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
where n.nspname = $1 and c.relname = $2 and k.conname = $3 and k.contype = 'c' and pg_catalog.cardinality(k.conkey) = 1`

// nameChecked adds to a violated check the parameter that is its only column's namesake, which the server does not say.
// The transaction is over. Whatever goes wrong, the error is told without.
func (s *session) nameChecked(ctx context.Context, e *Error) {
	var pg *pgconn.PgError
	var f *failure
	if !errors.As(e.Err, &pg) || !errors.As(e.Err, &f) {
		return
	}
	names := [][]byte{[]byte(pg.SchemaName), []byte(pg.TableName), []byte(pg.ConstraintName)}
	answer := s.pg.ExecParams(ctx, checkedQuery, names, nil, nil, nil).Read()
	if answer.Err != nil || len(answer.Rows) != 1 {
		return
	}
	column := string(answer.Rows[0][0])
	if i := slices.IndexFunc(f.statement.inputs, func(p rules.Param) bool { return p.Name == column }); i >= 0 {
		refused := f.statement.inputs[i].Refuse(-1, "")
		e.Field, e.In = refused.Fields[0].Field, refused.Fields[0].In
	}
}

// checkSentence says what a check refused. Without a constraint's name it was no constraint: a partitioned
// table that has no partition for the row, which only the place in Postgres tells in every language, or a
// function that raises the same SQLSTATE.
func checkSentence(pg *pgconn.PgError) string {
	switch {
	case pg.ConstraintName != "":
		return fmt.Sprintf("The values break the rule %q.", pg.ConstraintName)
	case pg.Routine == "ExecFindPartition" && pg.TableName != "":
		return fmt.Sprintf("No partition of %q takes the values.", pg.TableName)
	case pg.Routine == "ExecFindPartition":
		return "No partition takes the values."
	}
	return "The values break a rule of the database."
}

// keyPattern finds the columns in a message's detail, "Key (a, b)=(1, 2) …", in any language.
var keyPattern = regexp.MustCompile(`\(([^()]*(?:\([^()]*\)[^()]*)*)\)=\(`)

// keyColumns returns the columns of a violated key, without the values; "" if they are not named.
func keyColumns(detail string) string {
	m := keyPattern.FindStringSubmatch(detail)
	if m == nil {
		return ""
	}
	return expressionPattern.ReplaceAllString(strings.ReplaceAll(m[1], `"`, ""), "$1")
}

// expressionPattern finds the column in a key that is a function of it: lower(email::text).
var expressionPattern = regexp.MustCompile(`\b\w+\(\(?(\w+)\)?(?:::[\w ]+)?\)`)

// spoken joins column names as a sentence does.
func spoken(columns string) string {
	i := strings.LastIndex(columns, ", ")
	if i < 0 {
		return columns
	}
	return columns[:i] + " and " + columns[i+2:]
}

func orRow(column string) string {
	if column == "" {
		return "A field"
	}
	return column
}

// explainData says which parameter the database could not work with, where that can be told.
func explainData(pg *pgconn.PgError, err error) *Error {
	if pg.Code == pgerrcode.SequenceGeneratorLimitExceeded {
		return fault(err) // no value of the caller's
	}
	e := &Error{Class: Invalid, Status: 422, Code: pg.Code, Hint: pg.Hint, Field: pg.ColumnName, Err: err}
	var f *failure
	if e.Field == "" && errors.As(err, &f) {
		if p := f.blame(pg); p != nil {
			refused := p.Refuse(-1, "")
			e.Field, e.In = refused.Fields[0].Field, refused.Fields[0].In
		}
	}
	e.Detail = dataSentence(pg.Code, e.Field)
	return e
}

// dataSentence says what is wrong with a field; "" is one that is not known.
func dataSentence(code, field string) string {
	noun, wrong := "A value", "is one that the database cannot work with"
	switch code {
	case pgerrcode.StringDataRightTruncationDataException:
		noun, wrong = "A text", "is too long"
	case pgerrcode.NumericValueOutOfRange:
		noun, wrong = "A number", "is out of range"
	case pgerrcode.InvalidTextRepresentation, pgerrcode.InvalidBinaryRepresentation:
		wrong = "has the wrong form for its type"
	case pgerrcode.InvalidDatetimeFormat, pgerrcode.DatetimeFieldOverflow:
		noun, wrong = "A date or time", "is not valid"
	case pgerrcode.CharacterNotInRepertoire, pgerrcode.UntranslatableCharacter:
		noun, wrong = "A text", "holds a character that the database cannot store"
	case pgerrcode.DivisionByZero:
		return "The values lead to a division by zero."
	}
	if field == "" {
		return noun + " " + wrong + "; the database does not say which."
	}
	return field + " " + wrong + "."
}

// sentence ends a message with a full stop.
func sentence(message string) string {
	if message == "" || strings.ContainsAny(message[len(message)-1:], ".!?") {
		return message
	}
	return message + "."
}
