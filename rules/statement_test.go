package rules

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// knownNames are the parameters of the statements in these tests, with their indexes.
func knownNames(name string) (int, bool) {
	i := slices.Index([]string{"id", "name", "limit", "ids", "_x1"}, name)
	return i, i >= 0
}

func TestParametersAreNumberedAndTheRestIsLeftAlone(t *testing.T) {
	f := func(text, want string, params ...int) {
		t.Helper()
		sql, got, unknown, err := ScanSQL(text, knownNames)
		if err != nil || len(unknown) > 0 {
			t.Errorf("%s: %v, unknown %v", text, err, unknown)
			return
		}
		if sql != want || !slices.Equal(got, params) {
			t.Errorf("%s\n  became %s %v\n  want   %s %v", text, sql, got, want, params)
		}
	}
	// Parameters, next to whatever may stand next to them.
	f("select @id", "select $1", 0)
	f("select @id, @name, @id", "select $1, $2, $1", 0, 1)
	f("select @limit::int+@id::int", "select $1::int+$2::int", 2, 0)
	f("select f(@id,@name)", "select f($1,$2)", 0, 1)
	f("where id=@id and n<>@limit or n>=@limit", "where id=$1 and n<>$2 or n>=$2", 0, 2)
	f("select 'a'||@name||'b'", "select 'a'||$1||'b'", 1)
	f("select x->@name, x->>@name, x#>@ids, x?@name", "select x->$1, x->>$1, x#>$2, x?$1", 1, 3)
	f("select -@id, @_x1", "select -$1, $2", 0, 4)
	f("select array[@id]::uuid[] @> @ids", "select array[$1]::uuid[] @> $2", 0, 3)
	f("select a @>@ids", "select a @>$1", 3)
	f("select @id;", "select $1", 0)
	f("select @id ; -- the end\n /* really */ ;", "select $1  -- the end\n /* really */ ", 0)

	// Strings and quoted identifiers.
	f("select 'it''s @name', @id", "select 'it''s @name', $1", 0)
	f(`select '\', @id, ' @name'`, `select '\', $1, ' @name'`, 0)
	f(`select E'\'@name', @id`, `select E'\'@name', $1`, 0)
	f(`select e'\\', @id`, `select e'\\', $1`, 0)
	f(`select E'a''\'@name', @id`, `select E'a''\'@name', $1`, 0)
	f("select E'a'\n  '\\'@name', @id", "select E'a'\n  '\\'@name', $1", 0)
	f("select E'a' -- so\n  '\\'@name', @id", "select E'a' -- so\n  '\\'@name', $1", 0)
	f(`select E'a', '\', @id`, `select E'a', '\', $1`, 0)
	f(`select name'\', @id`, `select name'\', $1`, 0) // an identifier that ends in e is no prefix
	f(`select U&'d\0061t@name', @id`, `select U&'d\0061t@name', $1`, 0)
	f(`select U&"d\0061t@name", @id`, `select U&"d\0061t@name", $1`, 0)
	f(`select "a""@name", @id`, `select "a""@name", $1`, 0)
	f(`select "@name".x, @id`, `select "@name".x, $1`, 0)
	f(`select b'01', x'@name', n'@name', @id`, `select b'01', x'@name', n'@name', $1`, 0)

	// Dollar quotes.
	f("select $$@name 'x$$, @id", "select $$@name 'x$$, $1", 0)
	f("select $a$ @name $$ @name $b$ $a$, @id", "select $a$ @name $$ @name $b$ $a$, $1", 0)
	f("select a$b$, @id, c$b$", "select a$b$, $1, c$b$", 0) // dollars within identifiers
	f("select é$1, $é$@name$é$, @id", "select é$1, $é$@name$é$, $1", 0)

	// Comments.
	f("select @id -- @name isn't here\n, @name", "select $1 -- @name isn't here\n, $2", 0, 1)
	f("select /* @name /* it's nested */ @name */ @id", "select /* @name /* it's nested */ @name */ $1", 0)
	f("select 1+--@name\n@id", "select 1+--@name\n$1", 0)
	f("select 1+/*@name*/@id", "select 1+/*@name*/$1", 0)

	// Operators with an @.
	f("select a @> b, a <@ b, a @@ b, a @@@ b, a |@ b, a @? b", "select a @> b, a <@ b, a @@ b, a @@@ b, a |@ b, a @? b")
	f("select a<@b, a@@to_tsquery(@name), a@>b, t^@pre", "select a<@b, a@@to_tsquery($1), a@>b, t^@pre", 1)
	f("select @ -5, @-5, @5, @(1), a @-@ b", "select @ -5, @-5, @5, @(1), a @-@ b")
	f("select a @@ plainto_tsquery('x') and b = @id", "select a @@ plainto_tsquery('x') and b = $1", 0)
}

func TestNamesThatAreNoParametersAreReportedWhereTheyStand(t *testing.T) {
	sql, params, unknown, err := ScanSQL("select @id,\n  @nmae, 'x @nmae'\n -- @nmae\n, é @nmae", knownNames)
	if err != nil {
		t.Fatal(err)
	}
	if want := []SQLMark{{"nmae", 2, 3}, {"nmae", 4, 6}}; !slices.Equal(unknown, want) {
		t.Errorf("unknown names at %v, want %v", unknown, want)
	}
	if !strings.Contains(sql, "@nmae") || !slices.Equal(params, []int{0}) {
		t.Errorf("became %s %v", sql, params)
	}
}

func TestTextsThatAreNoStatementAreRefusedWhereTheyFail(t *testing.T) {
	f := func(text string, line, column int, message string) {
		t.Helper()
		_, _, _, err := ScanSQL(text, knownNames)
		var wrong *SQLError
		if !errors.As(err, &wrong) {
			t.Errorf("%q: got %v", text, err)
			return
		}
		if wrong.Line != line || wrong.Column != column || !strings.Contains(wrong.Message, message) {
			t.Errorf("%q: got %d:%d %s, want %d:%d %s", text, wrong.Line, wrong.Column, wrong.Message, line, column, message)
		}
	}
	f("select\n 'it''s", 2, 2, "never closed")
	f(`select E'\'`, 1, 9, "never closed")
	f(`select "x`, 1, 8, "never closed")
	f("select $$x$a$", 1, 8, "never closed")
	f("select 1 /* a /* b */", 1, 10, "never closed")
	f("select *\nfrom a where b = $1", 2, 18, "declare a parameter")
	f("select 1; select 2", 1, 11, "second statement")
	f("", 1, 1, "empty")
	f(" -- nothing\n;", 1, 1, "empty")
	f("select a <@ids", 1, 11, "put a space")
	f("select @idé", 1, 8, "other characters")
}

func TestTheFirstWordTellsWhatAStatementDoes(t *testing.T) {
	f := func(sql, want string) {
		t.Helper()
		if got := firstWord(sql); got != want {
			t.Errorf("firstWord(%q) = %q, want %q", sql, got, want)
		}
	}
	f("select 1", "select")
	f(" -- delete\n/* update /* x */ */ (WITH a as (select 1) select 1)", "with")
	f("INSERT into a values (1)", "insert")
	f("/* open", "")
	f("", "")
}

// Tokens that keep their meaning whatever stands beside them can be put together in any order: the result
// is that of each token by itself.
func TestTokensAreScannedAloneAsTheyAreTogether(t *testing.T) {
	opaque := []string{"'@id'", "'it''s @id'", `E'\'@id'`, `"@id"`, "$$@id$$", "$t$ @id $t$", "-- @id '\n", "/* @id /* ' */ */", "a <@ b", "a @@ b", "x::int", "1.5e3", "a$1", "(", ")", ",", "select"}
	rapid.Check(t, func(t *rapid.T) {
		var text, want strings.Builder
		var names []string
		text.WriteString("select ")
		want.WriteString("select ")
		for range rapid.IntRange(1, 12).Draw(t, "tokens") {
			if rapid.Bool().Draw(t, "parameter") {
				name := rapid.SampledFrom([]string{"id", "name", "limit"}).Draw(t, "name")
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
				text.WriteString("@" + name + " ")
				want.WriteString("$" + string(rune('1'+slices.Index(names, name))) + " ")
				continue
			}
			token := rapid.SampledFrom(opaque).Draw(t, "token")
			text.WriteString(token + " ")
			want.WriteString(token + " ")
		}
		sql, params, unknown, err := ScanSQL(text.String(), knownNames)
		if err != nil || len(unknown) > 0 || len(params) != len(names) {
			t.Fatalf("%s: params %v, unknown %v, %v", text.String(), params, unknown, err)
		}
		if diff := cmp.Diff(want.String(), sql); diff != "" {
			t.Fatalf("(-want +got) %s", diff)
		}
	})
}

func FuzzScanSQL(f *testing.F) {
	for _, seed := range []string{
		"select @id", "select 'a''b', E'\\'', U&\"x\"", "select $$a$$, $t$b$t$", "-- c\n/* /* */ */ select 1;",
		"a::b @> c <@ d @@ e |@ f", "select $1", "select '", "é@é$é$",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sql, params, unknown, err := ScanSQL(text, knownNames)
		if err != nil {
			var wrong *SQLError
			if !errors.As(err, &wrong) || wrong.Line < 1 || wrong.Column < 1 {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		for _, mark := range unknown {
			lines := strings.Split(text, "\n")
			if !strings.HasPrefix(lines[mark.Line-1][mark.Column-1:], "@"+mark.Name) {
				t.Fatalf("@%s is not at %d:%d", mark.Name, mark.Line, mark.Column)
			}
		}
		// Without parameters and semicolons nothing is changed.
		if len(params) == 0 && !strings.Contains(text, ";") && sql != text {
			t.Fatalf("%q became %q", text, sql)
		}
		if len(params) > 5 {
			t.Fatalf("a name has two numbers: %v", params)
		}
	})
}
