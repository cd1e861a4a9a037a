package postgres_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"forebay/cache"
	"forebay/upstream/postgres"
)

// spelled are the types by whose values rows are told apart, each with ways to write values of it: good ones and
// bad ones, few enough that two of a handful are often the same value, written in other ways.
var spelled = map[string]struct {
	good string
	any  *rapid.Generator[string]
}{
	"bool":        {"t", rapid.SampledFrom([]string{"true", "t", "false", "f", "TRUE", "yes", "off", "1", "0", " t"})},
	"smallint":    {"1", rapid.SampledFrom([]string{"1", "-0", "0", "007", "7", "+7", " 7", "-7", "32767", "-32768", "32768", "1.0"})},
	"int":         {"1", rapid.OneOf(rapid.SampledFrom([]string{"1", "-0", "0", "007", "7", "+7", " 7", "-7", "2147483647"}), rapid.StringMatching(`-?[0-9]{1,11}`))},
	"bigint":      {"1", rapid.OneOf(rapid.SampledFrom([]string{"1", "-0", "0", "007", "7", "+7", " 7", "-7"}), rapid.StringMatching(`-?[0-9]{1,20}`))},
	"oid":         {"1", rapid.OneOf(rapid.SampledFrom([]string{"1", "0", "-0", "007", "7", "+7", " 7", "-1", "4294967295", "-7", "4294967289"}), rapid.StringMatching(`[0-9]{1,11}`))},
	"uuid":        {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", rapid.SampledFrom([]string{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g"})},
	"mood":        {"good", rapid.SampledFrom([]string{"good", "bad'", `so "so"`, "Good", " good", ""})},
	"text":        {"a", rapid.OneOf(rapid.SampledFrom([]string{"a", "A", "a ", "", "ä", "é", "e\u0301"}), rapid.StringMatching(`[ -~äöü€\t:]{0,6}`))},
	"varchar":     {"a", rapid.OneOf(rapid.SampledFrom([]string{"a", "A", "a ", "", "ä"}), rapid.StringMatching(`[ -~äöü€\t:]{0,6}`))},
	"bytea":       {"a", rapid.OneOf(rapid.SampledFrom([]string{`\x`, "", `\x61`, "a", `\141`, `\x6162`, "ab", `\x61 62`, `a\142`, `\\`, `\x5c`, `\x5C`, `\X61`, `\x6`, `\400`, `\1`, "ä", `\303\244`, `\xC3A4`, `\000`}), rapid.StringMatching(`\\x([0-9a-fA-F]{2}){0,4}`))},
	"date":        {"2026-01-31", rapid.OneOf(rapid.Custom(spellDate), rapid.SampledFrom(oddTimes))},
	"timestamp":   {"2026-01-31T12:00:00", rapid.OneOf(rapid.Custom(spellTime), rapid.Custom(spellTime), rapid.SampledFrom(oddTimes))},
	"timestamptz": {"2026-01-31T12:00:00Z", rapid.OneOf(rapid.Custom(spellTime), rapid.Custom(spellTime), rapid.SampledFrom(oddTimes))},
}

// oddTimes are written as few people would.
var oddTimes = []string{
	"infinity", "-infinity", "Infinity", "epoch", "today", "1970-01-01", "1970-01-01 00:00:00", "1970-01-01T00:00:00Z", "0000-01-01", "2026-1-3", "20260131",
	"2026-01-31 24:00:00", "2026-01-31 23:59:60Z", "2026-02-29", "Jan 31 2026", "31.01.2026", "2026-01-31 12:00 PM", "2026-01-31 12:00:00 Europe/Berlin",
	"2026-01-31 12:00:00 +02", "2026-01-31t12:00:00z", "2026-01-31 12:00:00+16:00", "2026-01-31 12:00:00.", "2026-01-31 12:00Z", "2026-01-31+02", "2026-01-31Z",
	"4713-11-24 BC", "0001-01-01 00:00:00+05 BC", "0001-12-31 23:00:00-05 BC", "0001-01-01 00:00:00+05", "294276-12-31 23:59:59.999999Z", "99999-12-31",
}

func spellDate(r *rapid.T) string {
	text := rapid.SampledFrom([]string{"0001", "0004", "0005", "0044", "1900", "1999", "2000", "2026", "9999", "10000", "123456"}).Draw(r, "year") +
		"-" + rapid.SampledFrom([]string{"01", "02", "03", "12", "13"}).Draw(r, "month") +
		"-" + rapid.SampledFrom([]string{"01", "28", "29", "30", "31", "00"}).Draw(r, "day")
	return text + rapid.SampledFrom([]string{"", "", " BC"}).Draw(r, "era")
}

func spellTime(r *rapid.T) string {
	date, bc := strings.CutSuffix(spellDate(r), " BC")
	text := date + rapid.SampledFrom([]string{"T", " "}).Draw(r, "separator") +
		rapid.SampledFrom([]string{"00:00:00", "12:00:00", "23:59:59", "07:30:00"}).Draw(r, "clock") +
		rapid.SampledFrom([]string{"", "", ".0", ".5", ".500000", ".123456", ".000001", ".1234565", ".99999999", ".5000000"}).Draw(r, "fraction") +
		rapid.SampledFrom([]string{"", "Z", "+00", "-05", "+05:30", "+0530", "-12:00", "+15:59"}).Draw(r, "offset")
	if bc {
		text += " BC"
	}
	return text
}

// spelledSite has a table for each type, and a rule that reads the rows with a value. The database writes values
// in ways of its own, which is no concern of anybody here.
func spelledSite(t testing.TB, open func(t testing.TB, schema, routes string) *site) *site {
	t.Helper()
	schema := `create type mood as enum ('good', 'bad''', 'so "so"');
		do $$ begin
			execute format('alter database %I set timezone = ''Asia/Kathmandu''', current_database());
			execute format('alter database %I set datestyle = ''SQL, DMY''', current_database());
			execute format('alter database %I set bytea_output = ''escape''', current_database());
		end $$;`
	routes := ""
	for kind := range spelled {
		schema += fmt.Sprintf("create table %[1]ss (id int generated always as identity primary key, v %[1]s); alter table %[1]ss replica identity full;", kind)
		routes += fmt.Sprintf("- route: GET /%[1]s\n  ttl: 60s\n  params: {x: text}\n  query: select id from %[1]ss where v = @x\n", kind)
		routes += fmt.Sprintf("- route: GET /%[1]s/list\n  ttl: 60s\n  params: {x: {type: text, list: true}}\n  query: select id from %[1]ss where v = any(@x)\n", kind)
	}
	s := open(t, schema, routes)
	if err := s.Survey(t.Context(), s.rules.Rules()); err != nil {
		t.Fatal(err)
	}
	return s
}

// spellAll is the call that asks for values as they are written.
func (s *site) spellAll(t testing.TB, kind string, texts []string) postgres.Call {
	call := s.call(t, "GET /"+kind+"/list?x=1", "")
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
	}
	call.Input.Arguments[0].Text = []byte("{" + strings.Join(quoted, ",") + "}")
	return call
}

// spell is the call that asks for a value as it is written.
func (s *site) spell(t testing.TB, kind, text string) postgres.Call {
	call := s.call(t, "GET /"+kind+"?x=1", "")
	call.Input.Arguments[0].Text = []byte(text)
	return call
}

// The text by which a row is known here is the one that Postgres has for the value, or the table is depended
// on: whichever way the argument was written.
func TestRowValuesAreAsPostgresWritesThem(t *testing.T) {
	t.Parallel()
	s := spelledSite(t, func(t testing.TB, schema, routes string) *site { return newSite(t, schema, routes) })
	conn := connect(t, s.url)
	script(t, conn, "set timezone = 'UTC'; set datestyle = 'ISO'; set bytea_output = 'hex'")
	for _, kind := range slices.Sorted(maps.Keys(spelled)) {
		tried, told := 0, 0
		rapid.Check(t, func(r *rapid.T) {
			text := spelled[kind].any.Draw(r, kind)
			var want string
			if err := conn.QueryRow(t.Context(), "select format('%s', $1::text::"+kind+")", text).Scan(&want); err != nil {
				return // not a value of the type
			}
			tried++
			values, ok := postgres.RowsOf(s.Database, s.spell(t, kind, text))
			if !ok {
				return // the table
			}
			told++
			if len(values) != 1 || values[0] != want {
				r.Fatalf("%s %q is known as %q; Postgres writes %q", kind, text, values, want)
			}
		})
		if told < tried/4 {
			t.Errorf("of %d values of type %s only %d were told apart", tried, kind, told)
		}
	}
}

// A row that comes in by the stream outdates the responses that were asked for by its value, in whichever way,
// and those alone.
func TestValuesThatTheStreamBrings(t *testing.T) {
	t.Parallel()
	s := spelledSite(t, newFollowed)
	conn := connect(t, s.url)
	script(t, conn, "set timezone = 'UTC'; set datestyle = 'ISO, MDY'")
	for _, kind := range slices.Sorted(maps.Keys(spelled)) {
		s.stored(t, "GET /"+kind+"?x="+spelled[kind].good)
		s.stored(t, "GET /"+kind+"/list?x="+spelled[kind].good)
		spared := 0
		rapid.Check(t, func(r *rapid.T) {
			texts := rapid.SliceOfN(spelled[kind].any, 2, 5).Draw(r, "texts")
			calls := []postgres.Call{s.spellAll(t, kind, texts[1:])}
			for _, text := range texts {
				calls = append(calls, s.spell(t, kind, text))
			}
			standing := make([]*cache.Standing, len(calls))
			for i, call := range calls {
				if f, err := s.Fill(t.Context(), call); err == nil && f.Refused == cache.Storable {
					standing[i] = s.stand(f)
				}
			}
			if standing[1] == nil {
				return // not a value of the type
			}
			if _, err := conn.Exec(t.Context(), "insert into "+kind+"s (v) values ($1::text::"+kind+")", texts[0]); err != nil {
				r.Fatal(err)
			}
			eventually(t, fmt.Sprintf("the response of %s %q is outdated", kind, texts[0]), func() bool { return standing[1].Check() == cache.Outdated })
			listed := false
			for i := 1; i < len(calls); i++ {
				if standing[i] == nil {
					continue
				}
				var same bool
				if err := conn.QueryRow(t.Context(), "select $1::text::"+kind+" = $2::text::"+kind, texts[i-1], texts[0]).Scan(&same); err != nil {
					r.Fatal(err)
				}
				listed = listed || i > 1 && same
				spared += s.judged(r, standing[i], calls[i], same)
			}
			if standing[0] != nil {
				spared += s.judged(r, standing[0], calls[0], listed)
			}
		})
		if spared < 5 {
			t.Errorf("only %d responses of %s outlived a row with another value", spared, kind)
		}
	}
}

// judged compares what a change did to a response with whether it concerned it, and returns 1 for one that it left.
func (s *site) judged(r *rapid.T, standing *cache.Standing, call postgres.Call, concerned bool) int {
	_, byRow := postgres.RowsOf(s.Database, call)
	outdated := standing.Check() == cache.Outdated
	if concerned && !outdated || byRow && !concerned && outdated {
		r.Fatalf("the response of %s is outdated: %t; it was concerned: %t; told apart: %t", call.Input.Arguments[0].Text, outdated, concerned, byRow)
	}
	if outdated {
		return 0
	}
	return 1
}
