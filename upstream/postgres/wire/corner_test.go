package wire

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// corner returns a check of one expression: we and the server both write it so.
func corner(t *testing.T) func(expr, want string) {
	s := newServer(t)
	return func(expr, want string) {
		t.Helper()
		if got := s.sameAsServer(t, "select "+expr+" as v"); got[0] != `{"v":`+want+`}` {
			t.Errorf("%s\ngot  %s\nwant {\"v\":%s}", expr, got[0], want)
		}
	}
}

func TestCornersOfNumbersAndText(t *testing.T) {
	f := corner(t)
	// Numbers that JSON has no number for become strings; scale and digits are kept.
	f(`'NaN'::float8`, `"NaN"`)
	f(`'-Infinity'::float4`, `"-Infinity"`)
	f(`'NaN'::numeric`, `"NaN"`)
	f(`'Infinity'::numeric`, `"Infinity"`)
	f(`1.500::numeric`, `1.500`)
	f(`'-0'::float8`, `-0`)
	f(`1e15::float8`, `1e+15`)
	f(`0.1::float4::float8`, `0.10000000149011612`)
	f(`12345678901234567890123456789.00000000000000000001`, `12345678901234567890123456789.00000000000000000001`)
	f(`(-9223372036854775808)::int8`, `-9223372036854775808`)
	f(`'-92233720368547758.08'::money`, `"-$92,233,720,368,547,758.08"`)
	f(`42::oid`, `"42"`)

	// Text keeps padding, and escapes only what it must.
	f(`'a'::char(3)`, `"a  "`)
	f(`E'\b\f\n\r\t\x01\x1f"\\/<&>\u2028\x7f'`, `"\b\f\n\r\t\u0001\u001f\"\\/<&>`+"\u2028\x7f"+`"`)
	f(`''`, `""`)
	f(`''::"char"`, `""`)
	f(`'\200'::"char"`, `"\\200"`)
	f(`'\x00ff'::bytea`, `"\\x00ff"`)
	f(`''::bytea`, `"\\x"`)
	f(`'Straße'::citext`, `"Straße"`)
	f(`'back\slash'::mood`, `"back\\slash"`)
}

func TestCornersOfTimesAndDocuments(t *testing.T) {
	f := corner(t)
	// Times have a T and a full offset; the ends of time are words.
	f(`'2024-02-29 12:00:00'::timestamp`, `"2024-02-29T12:00:00"`)
	f(`'2024-02-29 12:00:00.120+02'::timestamptz`, `"2024-02-29T10:00:00.12+00:00"`)
	f(`'0044-03-15 12:00+00 BC'::timestamptz`, `"0044-03-15T12:00:00+00:00 BC"`)
	f(`'2023-12-31 23:59:59.999999+00'::timestamptz`, `"2023-12-31T23:59:59.999999+00:00"`)
	f(`'2024-01-01 00:00:00.000001'::timestamp`, `"2024-01-01T00:00:00.000001"`)
	f(`'1999-12-31 23:59:59.9'::timestamp`, `"1999-12-31T23:59:59.9"`)
	f(`'2000-01-01'::timestamp`, `"2000-01-01T00:00:00"`)
	f(`'0001-01-01 00:00:00'::timestamp`, `"0001-01-01T00:00:00"`)
	f(`'0001-01-01 00:00:00'::timestamp - interval '1 us'`, `"0001-12-31T23:59:59.999999 BC"`)
	f(`'9999-12-31 23:59:59.999999'::timestamp + interval '1 us'`, `"10000-01-01T00:00:00"`)
	f(`'4714-11-24 00:00:00+00 BC'::timestamptz`, `"4714-11-24T00:00:00+00:00 BC"`)
	f(`'294276-12-31 23:59:59.999999+00'::timestamptz`, `"294276-12-31T23:59:59.999999+00:00"`)
	f(`'5874897-12-31'::date`, `"5874897-12-31"`)
	f(`'1900-02-28'::date + 1`, `"1900-03-01"`)
	f(`'2000-02-28'::date + 1`, `"2000-02-29"`)
	f(`'infinity'::timestamptz`, `"infinity"`)
	f(`'-infinity'::timestamp`, `"-infinity"`)
	f(`'-infinity'::date`, `"-infinity"`)
	f(`'12024-01-01'::date`, `"12024-01-01"`)
	f(`'0044-03-15 BC'::date`, `"0044-03-15 BC"`)
	f(`'24:00'::time`, `"24:00:00"`)
	f(`'12:00+05:30'::timetz`, `"12:00:00+05:30"`)
	f(`'1 year -2 days 00:00:00.5'::interval`, `"1 year -2 days +00:00:00.5"`)

	// JSON is copied, blanks and repeated keys included; jsonb is what Postgres makes of it.
	f(`'{"a" : 1, "a":2}'::json`, `{"a" : 1, "a":2}`)
	f(`'{"b":1,"a" :1e2}'::jsonb`, `{"a": 100, "b": 1}`)
	f(`'null'::jsonb`, `null`)
}

func TestCornersOfContainers(t *testing.T) {
	f := corner(t)
	// Arrays lose their bounds, keep their shape and know NULL from "NULL".
	f(`'{}'::int[]`, `[]`)
	f(`'[-1:0][2:3]={{1,2},{3,NULL}}'::int[]`, `[[1,2],[3,null]]`)
	f(`array['NULL', null, 'null', '', ' ', '{', 'a,b', '"', '\']`, `["NULL",null,"null",""," ","{","a,b","\"","\\"]`)
	f(`array['plain', null, 'two words', 'é', 'nUlL']`, `["plain",null,"two words","é","nUlL"]`)
	f(`array[E'\x01', E'a\tb', E'"\x1f"']`, `["\u0001","a\tb","\"\u001f\""]`)
	f(`array[['a', 'b'], ['c', null]]`, `[["a","b"],["c",null]]`)
	f(`'[2:3]={a,b}'::text[]`, `["a","b"]`)
	f(`array['10.0.0.1/8'::inet, null]`, `["10.0.0.1/8",null]`)
	f(`array['(1,2),(3,4)'::box, null]`, `["(3,4),(1,2)",null]`)
	f(`array['[1, {"a": "x"}]'::jsonb, 'null', '"{}"']`, `[[1, {"a": "x"}],null,"{}"]`)
	f(`array[array[1,2]::text[]::labels, '{}'::labels]`, `[["1","2"],[]]`)
	f(`array['NaN'::float8, 1]`, `["NaN",1]`)
	f(`'1 -2'::int2vector`, `[1,-2]`)
	f(`''::oidvector`, `[]`)
	f(`array['1 2'::oidvector]`, `[["1","2"]]`)

	// Composites are objects by their field names, without the dropped ones.
	f(`row(1.50, 'x')::pair`, `{"number":1.50,"the text":"x"}`)
	f(`row(null, null)::pair`, `{"number":null,"the text":null}`)
	f(`row(null, '')::pair`, `{"number":null,"the text":""}`)
	f(`row()::empty`, `{}`)
	f(`row('a', row(1, '"\')::pair, '{}')::altered`, `{"a":"a","b\"\\c":{"number":1,"the text":"\"\\"},"later":[]}`)
	f(`array[row(1, 'a, "b"')::pair, null]`, `[{"number":1,"the text":"a, \"b\""},null]`)
	f(`(select c from pg_class c where c.oid = 'pg_class'::regclass).relname`, `"pg_class"`)

	// An hstore is what its cast to json makes of it.
	f(`'a=>1, "b \"\\"=>NULL'::hstore`, `{"a": "1", "b \"\\": null}`)
	f(`''::hstore`, `{}`)

	// Everything else is its text.
	f(`pg_sleep(0)`, `""`)
	f(`'x'`, `"x"`)
	f(`int4range(1, 5, '[]')`, `"[1,6)"`)
	f(`'{[1,3),[5,)}'::int4multirange`, `"{[1,3),[5,)}"`)
	f(`'(1,2.50)'::point`, `"(1,2.5)"`)
	f(`to_tsvector('simple', 'a b')`, `"'a':1 'b':2"`)
	f(`'10.0.0.1/8'::inet`, `"10.0.0.1/8"`)
	f(`B'101'`, `"101"`)
	f(`null::int`, `null`)
}

func TestRowsOfSystemCataloguesAreWrittenAsToJSONWritesThem(t *testing.T) {
	s := newServer(t)
	s.sameAsServer(t, "select * from pg_class")
	s.sameAsServer(t, "select c, array[c] as cs, c.relacl from pg_class c limit 50")
	s.sameAsServer(t, "select * from pg_proc limit 500")
	s.sameAsServer(t, "select * from information_schema.columns limit 200")
}

func TestRowsWithoutColumnsAndWithRepeatedColumns(t *testing.T) {
	s := newServer(t)
	if got := s.sameAsServer(t, "select"); !slices.Equal(got, []string{"{}"}) {
		t.Errorf("got %q", got)
	}
	r := s.query(t, "select 1 as a, 2 as a", inText)
	e, err := NewEncoder(nil, r.columns)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.AppendObject([]byte("x"), r.rows[0]); err != nil || string(got) != `x{"a":1,"a":2}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestWhatOnlyTheServerCanWriteIsRefused(t *testing.T) {
	s := newServer(t)
	s.exec(t, `
		create type weather as enum ('sun');
		create function weather_to_json(weather) returns json language sql immutable as $$ select '{"sky":"blue"}'::json $$;
		create cast (weather as json) with function weather_to_json(weather);
		create domain outside as weather;
		create type trip as (id int, w outside[]);
		create type plain as enum ('a');
		create cast (plain as json) with inout;`)
	f := func(expr string, want bool) {
		t.Helper()
		sql := "select " + expr + " as v"
		types := s.catalogue(t, sql)
		r := s.query(t, sql, inText)
		if got := NeedsToJSON(types, r.columns[0].OID); got != want {
			t.Errorf("%s: NeedsToJSON is %v", expr, got)
		}
		if _, err := NewEncoder(types, r.columns); errors.Is(err, ErrNeedsToJSON) != want {
			t.Errorf("%s: NewEncoder says %v", expr, err)
		}
		if !want {
			s.sameAsServer(t, sql)
			return
		}
		// What the statement says instead.
		s.compare(t, nil, s.query(t, "select to_json(q.v) as v, to_json(q) from ("+sql+") q", inText))
	}
	f(`'sun'::weather`, true)
	f(`array['sun'::weather]`, true)
	f(`'sun'::outside`, true)
	f(`row(1, '{sun}')::trip`, true)
	f(`row(1, 'x')`, true)
	f(`array[row(1, 'x')]`, true)
	f(`(select t from (select 1 as a) t)`, true)
	f(`(select most_common_vals from pg_stats where most_common_vals is not null limit 1)`, true)
	f(`'a'::plain`, false)
	f(`row(1)::temperature`, false)
}

func TestAnAlteredTypeIsAMismatchNotAWrongObject(t *testing.T) {
	s := newServer(t)
	const sql = "select array[row(1, 'x')::pair] as v"
	types := s.catalogue(t, sql)
	s.exec(t, "alter type pair add attribute third text")
	r := s.query(t, "select array[row(1, 'x', 'y')::pair] as v", inText)
	e, err := NewEncoder(types, r.columns)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.AppendObject([]byte("before"), r.rows[0])
	if !errors.Is(err, ErrMismatch) || string(got) != "before" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestAnotherDateStyleIsAMismatchNotAWrongDate(t *testing.T) {
	s := newServer(t)
	s.exec(t, "set datestyle = 'SQL, DMY'")
	for _, expr := range []string{"date '2024-02-01'", "timestamp '2024-02-01'", "timestamptz '2024-02-01'"} {
		r := s.query(t, "select "+expr+" as v", inText)
		e, err := NewEncoder(nil, r.columns)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.AppendObject(nil, r.rows[0]); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: got %s, %v", expr, got, err)
		}
	}
	s.chosenFormatsIgnoreDateStyle(t)
}

// chosenFormatsIgnoreDateStyle shows that the chosen formats do not care for DateStyle at all.
func (s *server) chosenFormatsIgnoreDateStyle(t *testing.T) {
	t.Helper()
	const sql = "select v, to_json(v) from (values (timestamptz '2000-01-31 12:00')) as q (v)"
	r := s.query(t, sql, func(f pgconn.FieldDescription) int16 { return FormatOf(nil, f.DataTypeOID) })
	e, err := NewEncoder(nil, r.columns[:1])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.AppendValue(nil, 0, r.rows[0][0]); err != nil || string(got) != string(r.rows[0][1]) {
		t.Errorf("got %s, %v; want %s", got, err, r.rows[0][1])
	}
}

func TestMissingNamesEachUnknownTypeOnce(t *testing.T) {
	got := Catalogue{20_000: {Kind: Text}}.Missing([]uint32{int4OID, 1007, 20_000, 30_000, 30_000, oidvectorOID, 40_000})
	if !slices.Equal(got, []uint32{30_000, 40_000}) {
		t.Errorf("got %v", got)
	}
}

func TestColumnsThatCannotBeEncodedAreErrors(t *testing.T) {
	f := func(types Catalogue, c Column) {
		t.Helper()
		if _, err := NewEncoder(types, []Column{c}); err == nil {
			t.Errorf("no error for %+v", c)
		}
	}
	f(nil, Column{OID: 30_000})
	f(nil, Column{OID: int4OID, Format: 1})
	f(Catalogue{30_000: {Kind: Array, Of: 30_001}}, Column{OID: 30_000})
	f(Catalogue{30_000: {Kind: Array, Of: 30_000}}, Column{OID: 30_000})
	f(Catalogue{30_000: {Kind: Domain, Of: 30_000}}, Column{OID: 30_000, Format: 1})
	if _, err := ParseCatalogue([]byte("not json")); err == nil {
		t.Error("no error for a broken answer")
	}
}

func TestCatalogueNamesTypesForMessages(t *testing.T) {
	s := newServer(t)
	var answer []byte
	var oid uint32
	if err := s.conn.QueryRow(context.Background(), "select 'deep'::regtype::oid").Scan(&oid); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.QueryRow(context.Background(), CatalogueQuery, []uint32{oid}).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	types, err := ParseCatalogue(answer)
	if err != nil || types[oid].Name != "deep" || len(types[oid].Fields) != 11 {
		t.Errorf("got %+v, %v", types[oid], err)
	}
}
