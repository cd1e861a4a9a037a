package wire

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// fuzzTypes nests everything in everything, but for json, which is copied unread.
var fuzzTypes = Catalogue{
	20_000: {Kind: Text},
	20_001: {Kind: Hstore},
	20_002: {Kind: Domain, Of: float8OID},
	20_003: {Kind: Composite, Fields: []Field{{"a", 20_002}, {"b", textOID}, {"c", 1185}, {"d", 20_004}}},
	20_004: {Kind: Array, Of: 20_001, Delimiter: ","},
	20_005: {Kind: Array, Of: 20_003, Delimiter: ","},
	20_006: {Kind: Composite, Fields: []Field{{"a", 20_005}}},
	20_007: {Kind: Composite},
	20_008: {Kind: Array, Of: 20_009, Delimiter: ","},
	20_009: {Kind: Domain, Of: 1007},
}

func fuzzColumns() []Column {
	columns := []Column{
		{OID: uuidOID, Format: 1},
		{OID: byteaOID, Format: 1},
		{OID: dateOID, Format: 1},
		{OID: timestampOID, Format: 1},
		{OID: timestamptzOID, Format: 1},
	}
	for _, oid := range []uint32{
		boolOID, int4OID, float8OID, numericOID, textOID, dateOID, timestampOID, timestamptzOID, byteaOID, uuidOID, inetOID,
		int2vectorOID, oidvectorOID, 1000, 1007, 1009, 1013, 1020, 1182, 1185, 1231,
		20_000, 20_001, 20_002, 20_003, 20_004, 20_005, 20_006, 20_007, 20_008,
	} {
		columns = append(columns, Column{OID: oid})
	}
	return columns
}

func FuzzAnyBytesGiveValidJSONOrAnError(f *testing.F) {
	for _, seed := range []string{
		"", "t", "-1.5e+10", "NaN", "a\"\\\x00\x1f", "2024-01-01 00:00:00.5+05:30 BC", "infinity", "{1,NULL,\"a\\\"b\"}",
		"[0:1]={1,2}", "{{1},{2}}", "(1,,\"a \"\"b\"\"\",)", `"a"=>"1", "b"=>NULL`, "1 2", "{\"(1,x,,)\"}", "({})", "()", "{", "(\"", "{\"\\",
		"\x7f\xff\xff\xff\xff\xff\xff\xff", "\x80\x00\x00\x00", "0123456789abcdef", "(1,x,\"{\"\"2024-01-01 00:00:00+00\"\"}\",{})",
	} {
		for i := range fuzzColumns() {
			f.Add(uint8(i), []byte(seed))
		}
	}
	columns := fuzzColumns()
	e, err := NewEncoder(fuzzTypes, columns)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, column uint8, value []byte) {
		if value == nil {
			value = []byte{}
		}
		checkAnyBytes(t, e, int(column)%len(columns), value)
	})
}

func checkAnyBytes(t fataler, e *Encoder, column int, value []byte) {
	t.Helper()
	got, err := e.AppendValue([]byte("["), column, value)
	if err != nil {
		if string(got) != "[" {
			t.Fatalf("an error left %q", got)
		}
	} else if !json.Valid(append(got, ']')) {
		t.Fatalf("column %d, %q: got %q", column, value, got)
	}
	row := make([][]byte, len(e.columns))
	row[column] = value
	line, err := e.AppendCSV(nil, []int{0, column}, row)
	if err != nil {
		return
	}
	records, err := csv.NewReader(bytes.NewReader(line)).ReadAll()
	if err != nil || len(records) != 1 || len(records[0]) != 2 {
		t.Fatalf("column %d, %q: got %q: %q, %v", column, value, line, records, err)
	}
}

// Values close to real ones reach further into the parsers than random bytes.
func TestDamagedValuesGiveValidJSONOrAnError(t *testing.T) {
	columns := fuzzColumns()
	e, err := NewEncoder(fuzzTypes, columns)
	if err != nil {
		t.Fatal(err)
	}
	pieces := []string{
		"{", "}", "(", ")", ",", ";", `"`, `""`, `\`, `\"`, "NULL", "1", "-", ".", "e", "x", " ", "=>", `"a"`, ", ", "[0:1]=",
		"2024-01-01", " 00:00:00", "+00", " BC", "t", "\x00", "{}", "()", "null",
	}
	rapid.Check(t, func(t *rapid.T) {
		var value []byte
		for range rapid.IntRange(0, 20).Draw(t, "pieces") {
			value = append(value, rapid.SampledFrom(pieces).Draw(t, "piece")...)
		}
		if value == nil {
			value = []byte{}
		}
		for i := range columns {
			checkAnyBytes(t, e, i, value)
		}
	})
}

// AppendJSONString must mean what it was given, at every alignment of its eight-byte steps.
func TestAnyStringComesBackFromJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.OneOf(rapid.Custom(anyText), rapid.String()).Draw(t, "string")
		var got string
		if err := json.Unmarshal(AppendJSONString(nil, []byte(want)), &got); err != nil || got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	})
	for c := range 256 {
		for at := range 17 {
			s := bytes.Repeat([]byte("\xc3\xa9"), 9)[:17]
			s[at] = byte(c)
			escaped := c < ' ' || c == '"' || c == '\\'
			if n := plainPrefix(s); escaped && n != at || !escaped && n != len(s) {
				t.Errorf("byte %#x at %d: plain until %d", c, at, n)
			}
		}
	}
}
