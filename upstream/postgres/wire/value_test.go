package wire

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// schema holds the types of the tests that are not built in.
const schema = `
create extension hstore;
create extension citext;
create extension ltree;
create extension cube;
create type mood as enum ('', 'so so', 'null', 'NULL', '"quoted"', E'back\\slash', '{a,b}', '(x)', '=1+1', 'ünï');
create domain positive as int check (value > 0);
create domain label as text;
create domain label_of_label as label;
create domain labels as text[];
create domain day as date;
create type pair as (number numeric, "the text" text);
create type empty as ();
create domain named_pair as pair;
create type deep as (p pair, ps pair[], at timestamptz, days day[], raw bytea, ls labels, flag bool, doc json, h hstore, r tstzrange, e empty);
create table altered (gone int, a text, gone_too text, "b""\c" named_pair);
alter table altered drop column gone, drop column gone_too, add column later uuid[];
create type float_range as range (subtype = float8);
create type text_range as range (subtype = text);
create type temperature as (degrees float8);
create function temperature_to_json(temperature) returns json language sql immutable as $$ select '"ignored"'::json $$;
create cast (temperature as json) with function temperature_to_json(temperature);
create function mood_to_json(mood) returns json language sql immutable as $$ select json_build_object('mood', $1::text) $$;
`

// sample makes SQL expressions of one type.
type sample struct {
	name string // of the type, as SQL writes it
	expr func(t *rapid.T) string
}

// quoted writes a literal. Postgres has no text with NUL.
func quoted(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// anyText makes texts with everything that could upset an escape, among them what containers quote.
func anyText(t *rapid.T) string {
	special := rapid.SampledFrom([]string{
		"", " ", `"`, `\`, `\\"`, ",", "{}", "(", ")", "NULL", "null", "\t", "\n", "\r", "\b", "\f", "\v", "\x01", "\x1f", "\x7f",
		"<&>", "\u2028", "é", "日本", "\U0001F600", "'", "=1", "[0:1]={1}", "a=>b", ";", "/",
	})
	pieces := rapid.SliceOfN(rapid.OneOf(special, rapid.StringN(0, 12, -1)), 0, 5).Draw(t, "text")
	s := strings.ToValidUTF8(strings.ReplaceAll(strings.Join(pieces, ""), "\x00", ""), "")
	if !utf8.ValidString(s) {
		t.Fatalf("BUG: not UTF-8: %q", s)
	}
	return s
}

func text(t *rapid.T) string { return quoted(anyText(t)) }

// oneOf draws one of these literals, or what other makes.
func oneOf(other func(*rapid.T) string, literals ...string) func(*rapid.T) string {
	return func(t *rapid.T) string {
		if i := rapid.IntRange(0, 3*len(literals)).Draw(t, "literal"); i < len(literals) {
			return "'" + literals[i] + "'"
		}
		return other(t)
	}
}

func integer(lowest, highest int64) func(*rapid.T) string {
	return func(t *rapid.T) string {
		return fmt.Sprintf("'%d'", rapid.Int64Range(lowest, highest).Draw(t, "integer"))
	}
}

func float(bits int) func(*rapid.T) string {
	return func(t *rapid.T) string {
		f := rapid.Float64().Draw(t, "float")
		if bits == 32 {
			f = float64(rapid.Float32().Draw(t, "float"))
		}
		return "'" + strconv.FormatFloat(f, 'g', -1, bits) + "'"
	}
}

func decimal(t *rapid.T) string {
	sign := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign")
	whole := rapid.StringMatching(`[0-9]{1,40}`).Draw(t, "whole")
	fraction := rapid.StringMatching(`(\.[0-9]{1,40})?`).Draw(t, "fraction")
	exponent := rapid.SampledFrom([]string{"", "e30", "e-30", "e200"}).Draw(t, "exponent")
	return "'" + sign + whole + fraction + exponent + "'"
}

func hexBytes(lengths ...int) func(*rapid.T) string {
	return func(t *rapid.T) string {
		b := rapid.SliceOfN(rapid.Byte(), lengths[0], lengths[len(lengths)-1]).Draw(t, "bytes")
		return fmt.Sprintf("%x", b)
	}
}

func daysSince(t *rapid.T) string {
	return fmt.Sprintf("(date '2000-01-01' + (%d))", oneInt(t, -2_451_545, 2_000_000, 2_145_031_948))
}

// oneInt draws mostly from below middle, sometimes from up to highest.
func oneInt(t *rapid.T, lowest, middle, highest int64) int64 {
	if rapid.IntRange(0, 4).Draw(t, "far") == 0 {
		return rapid.Int64Range(middle, highest).Draw(t, "n")
	}
	return rapid.Int64Range(lowest, middle).Draw(t, "n")
}

func clock(t *rapid.T) string {
	micros := rapid.SampledFrom([]string{"", "", ".5", ".123456", ".000001", ".1200"}).Draw(t, "micros")
	return fmt.Sprintf("%02d:%02d:%02d%s", rapid.IntRange(0, 23).Draw(t, "h"), rapid.IntRange(0, 59).Draw(t, "m"),
		rapid.IntRange(0, 59).Draw(t, "s"), micros)
}

func moment(t *rapid.T) string {
	year := oneInt(t, 1, 3000, 290_000)
	era := rapid.SampledFrom([]string{"", "", "", " BC"}).Draw(t, "era")
	if era != "" {
		year = year%4000 + 1
	}
	return fmt.Sprintf("'%04d-%02d-%02d %s%s'", year, rapid.IntRange(1, 12).Draw(t, "month"),
		rapid.IntRange(1, 28).Draw(t, "day"), clock(t), era)
}

func span(t *rapid.T) string {
	n := func(limit int) int { return rapid.IntRange(-limit, limit).Draw(t, "n") }
	return fmt.Sprintf("'%d years %d months %d days %d hours %d seconds %d microseconds'", n(100), n(20), n(400), n(50), n(5000), n(1_000_000))
}

func point(t *rapid.T) string {
	c := rapid.Float64Range(-1e6, 1e6)
	return fmt.Sprintf("(%v,%v)", c.Draw(t, "x"), c.Draw(t, "y"))
}

// document makes JSON with blanks as people write it.
func document(t *rapid.T) string {
	s := anyText(t)
	value := string(AppendJSONString(nil, []byte(s)))
	return quoted(rapid.SampledFrom([]string{
		`null`, ` true`, `-0`, `1E+400`, `12345678901234567890.10`, `[]`, ` {"a" : 1, "a":2 }`, `[1, "x",` + "\n" + `{}]`,
		value, `{` + value + `: [` + value + `, null]}`,
	}).Draw(t, "document"))
}

// between makes a range of two values in the right order, or a special one.
func between(name string, bound func(*rapid.T) string, of string) func(*rapid.T) string {
	return func(t *rapid.T) string {
		a, b := bound(t)+"::"+of, bound(t)+"::"+of
		bounds := rapid.SampledFrom([]string{"[)", "[]", "()", "(]"}).Draw(t, "bounds")
		return rapid.SampledFrom([]string{
			fmt.Sprintf("%s(least(%s,%s),greatest(%s,%s),'%s')", name, a, b, a, b, bounds),
			fmt.Sprintf("%s(null,%s)", name, a), fmt.Sprintf("%s(%s,null)", name, a), "'empty'",
		}).Draw(t, "range")
	}
}

func multi(one func(*rapid.T) string, name string) func(*rapid.T) string {
	return func(t *rapid.T) string {
		return fmt.Sprintf("%s(%s,%s)", strings.Replace(name, "range", "multirange", 1), cast(one(t), name), cast(one(t), name))
	}
}

func cast(expr, name string) string { return "(" + expr + ")::" + name }

func hstorePairs(t *rapid.T) string {
	expr := "''::hstore"
	for range rapid.IntRange(0, 3).Draw(t, "pairs") {
		value := "null"
		if rapid.Bool().Draw(t, "has value") {
			value = text(t)
		}
		expr += fmt.Sprintf(" || hstore(%s, %s)", text(t), value)
	}
	return expr
}
