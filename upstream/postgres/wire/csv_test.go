package wire

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"
)

func textEncoder(t testing.TB, oids ...uint32) *Encoder {
	t.Helper()
	columns := make([]Column, len(oids))
	for i, oid := range oids {
		columns[i] = Column{Name: "c", OID: oid}
	}
	e, err := NewEncoder(nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSpreadsheetFormulasAreDefused(t *testing.T) {
	f := func(oid uint32, value, want string) {
		t.Helper()
		got, err := textEncoder(t, oid, int4OID).AppendCSV(nil, nil, [][]byte{[]byte(value), []byte("1")})
		if err != nil || string(got) != want+",1\r\n" {
			t.Errorf("%q: got %q, %v", value, got, err)
		}
	}
	f(textOID, "=1+1", "'=1+1")
	f(varcharOID, `=HYPERLINK("x","y")`, `"'=HYPERLINK(""x"",""y"")"`)
	f(textOID, "@SUM(A1)", "'@SUM(A1)")
	f(textOID, "\t=1", "'\t=1")
	f(textOID, "\r=1", "\"'\r=1\"")
	f(textOID, "+A1", "'+A1")
	f(textOID, "-A1", "'-A1")
	f(textOID, "-1+1", "'-1+1")
	f(textOID, "+49 123", "'+49 123")
	f(textOID, "-1.5", "-1.5")
	f(textOID, "-1.5e3", "'-1.5e3")
	f(textOID, "-.", "'-.")
	f(textOID, "+1 (245) 555-0158", "+1 (245) 555-0158")
	f(textOID, "+1 (245) 555-0158+A1", "'+1 (245) 555-0158+A1")
	f(textOID, "+1-2", "'+1-2")
	f(textOID, "-245 555 0158", "'-245 555 0158")
	f(textOID, "+", "'+")
	f(textOID, "-", "'-")
	// Phone numbers, negative numbers and everything harmless stay.
	f(textOID, "+491234567", "+491234567")
	f(textOID, "-5", "-5")
	f(textOID, "a=1", "a=1")
	f(textOID, " =1", " =1")
	f(textOID, "'=1", "'=1")
	// Other types are never touched.
	f(numericOID, "-1.5", "-1.5")
	f(float8OID, "-1e-05", "-1e-05")
	f(float8OID, "-Infinity", "-Infinity")
	f(moneyOID, "-$1,000.00", `"-$1,000.00"`)
	f(intervalOID, "-1 days", "-1 days")
	f(jsonOID, "-1.5", "-1.5")
}

func TestCellsAreQuotedAsRFC4180Says(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		got, err := textEncoder(t, textOID, textOID).AppendCSV([]byte("before,"), nil, [][]byte{[]byte(value), nil})
		if err != nil || string(got) != "before,"+want+",\r\n" {
			t.Errorf("%q: got %q, %v", value, got, err)
		}
	}
	f("plain text", "plain text")
	f("", `""`)
	f(",", `","`)
	f(`"`, `""""`)
	f(`a "b" c`, `"a ""b"" c"`)
	f("a\nb", "\"a\nb\"")
	f("a\r\nb", "\"a\r\nb\"")
	f("日本", "日本")
}

func TestColumnsAreChosenAndOrdered(t *testing.T) {
	e := textEncoder(t, textOID, int4OID, boolOID)
	row := [][]byte{[]byte("x"), []byte("7"), []byte("f")}
	f := func(columns []int, want string) {
		t.Helper()
		if got, err := e.AppendCSV(nil, columns, row); err != nil || string(got) != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	f(nil, "x,7,false\r\n")
	f([]int{2, 0}, "false,x\r\n")
	f([]int{1, 1}, "7,7\r\n")
	if got, err := e.AppendCSV([]byte("kept"), nil, row[:2]); err == nil || string(got) != "kept" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := AppendCSVHeader(nil, []string{"Id", `The "name"`, "=a,b"}); string(got) != "Id,\"The \"\"name\"\"\",\"=a,b\"\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestALineOfOneNullIsNotEmpty(t *testing.T) {
	got, err := textEncoder(t, textOID).AppendCSV(nil, nil, [][]byte{nil})
	if err != nil || string(got) != "\"\"\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// What is not text reads in a cell like in JSON, without the quotes.
func TestCellsOfEveryType(t *testing.T) {
	s := newServer(t)
	f := func(expr, want string) {
		t.Helper()
		sql := "select 0, " + expr
		types := s.catalogue(t, sql)
		for _, choose := range []func(pgconn.FieldDescription) int16{inText, func(f pgconn.FieldDescription) int16 { return FormatOf(types, f.DataTypeOID) }} {
			r := s.query(t, sql, choose)
			e, err := NewEncoder(types, r.columns)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := e.AppendCSV(nil, nil, r.rows[0]); err != nil || string(got) != "0,"+want+"\r\n" {
				t.Errorf("%s: got %q, %v; want %q", expr, got, err, want)
			}
		}
	}
	f("true", "true")
	f("null::text", "")
	f("'NaN'::numeric", "NaN")
	f("'2024-02-29 12:00:00.5+02'::timestamptz", "2024-02-29T10:00:00.5+00:00")
	f("'2024-02-29'::date", "2024-02-29")
	f("'infinity'::timestamp", "infinity")
	f("'0f0e0d0c-0b0a-0908-0706-050403020100'::uuid", "0f0e0d0c-0b0a-0908-0706-050403020100")
	f(`'\x00ff'::bytea`, `\x00ff`)
	f(`'{"a": 1}'::jsonb`, `"{""a"": 1}"`)
	f("array[1,2]", `"[1,2]"`)
	f("array[1]", "[1]")
	f("row(1,'x')::pair", `"{""number"":1,""the text"":""x""}"`)
	f("'a=>1'::hstore", `"{""a"": ""1""}"`)
	f("'=1+1'::mood", "'=1+1")
	f("'=1'::citext", "'=1")
	f("'1 2'::int2vector", `"[1,2]"`)
}

func TestAnyTextComesBackFromCSV(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := make([][]byte, rapid.IntRange(1, 4).Draw(t, "cells"))
		columns := make([]Column, len(row))
		for i := range row {
			columns[i].OID = textOID
			if rapid.IntRange(0, 4).Draw(t, "null") > 0 {
				row[i] = []byte(anyText(t))
			}
		}
		e, err := NewEncoder(nil, columns)
		if err != nil {
			t.Fatal(err)
		}
		line, err := e.AppendCSV(nil, nil, row)
		if err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(bytes.NewReader(line)).ReadAll()
		if err != nil || len(records) != 1 || len(records[0]) != len(row) {
			t.Fatalf("%q: got %q, %v", line, records, err)
		}
		for i, cell := range records[0] {
			// The reader of the standard library takes \r\n within quotes for \n.
			want := strings.ReplaceAll(string(row[i]), "\r\n", "\n")
			if isFormula(row[i]) {
				want = "'" + want
			}
			if cell != want {
				t.Fatalf("%q: got %q, want %q", line, cell, want)
			}
		}
	})
}
