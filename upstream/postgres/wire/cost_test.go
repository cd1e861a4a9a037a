package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"
)

// clientColumns are the 13 columns of a row as an API has it.
func clientColumns() []Column {
	return []Column{
		{Name: "id", OID: uuidOID, Format: 1},
		{Name: "name", OID: textOID},
		{Name: "email", OID: varcharOID},
		{Name: "status", OID: 20_000},
		{Name: "phone", OID: textOID},
		{Name: "created_at", OID: timestamptzOID, Format: 1},
		{Name: "updated_at", OID: timestamptzOID, Format: 1},
		{Name: "birthday", OID: dateOID, Format: 1},
		{Name: "sessions", OID: int4OID},
		{Name: "balance", OID: numericOID},
		{Name: "active", OID: boolOID},
		{Name: "settings", OID: jsonbOID},
		{Name: "tags", OID: 1009},
	}
}

func clientEncoder(t testing.TB) *Encoder {
	t.Helper()
	e, err := NewEncoder(fuzzTypes, clientColumns())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func clientRow() [][]byte {
	at := binary.BigEndian.AppendUint64(nil, 757_382_400_123_456)
	return [][]byte{
		[]byte("\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08\x07\x06\x05\x04\x03\x02\x01\x00"), []byte("Magdalena Kowalska-Nowak"),
		[]byte("magdalena.kowalska@example.org"), []byte("ACTIVE"), nil, at, at, binary.BigEndian.AppendUint32(nil, 1<<31-2_000_000_000),
		[]byte("42"), []byte("1234.50"), []byte("t"), []byte(`{"plan": "PRIME", "newsletter": true}`), []byte(`{vip,"long term",north}`),
	}
}

func clientMap() map[string]any {
	at := time.Date(2024, 1, 1, 0, 0, 0, 123_456_000, time.UTC)
	return map[string]any{
		"id": "0f0e0d0c-0b0a-0908-0706-050403020100", "name": "Magdalena Kowalska-Nowak", "email": "magdalena.kowalska@example.org",
		"status": "ACTIVE", "phone": nil, "created_at": at, "updated_at": at, "birthday": at, "sessions": 42,
		"balance": json.Number("1234.50"), "active": true, "settings": json.RawMessage(`{"plan": "PRIME", "newsletter": true}`),
		"tags": []string{"vip", "long term", "north"},
	}
}

func TestRowsCostNoAllocation(t *testing.T) {
	e, row := clientEncoder(t), clientRow()
	dst := make([]byte, 0, 4096)
	f := func(what string, encode func() ([]byte, error)) {
		t.Helper()
		if allocs := testing.AllocsPerRun(100, func() {
			if _, err := encode(); err != nil {
				t.Fatal(err)
			}
		}); allocs != 0 {
			t.Errorf("%s: %v allocations", what, allocs)
		}
	}
	f("object", func() ([]byte, error) { return e.AppendObject(dst, row) })
	f("csv", func() ([]byte, error) { return e.AppendCSV(dst, nil, row) })

	nested, err := NewEncoder(fuzzTypes, []Column{{Name: "v", OID: 20_005}, {Name: "h", OID: 20_001}})
	if err != nil {
		t.Fatal(err)
	}
	inner := [][]byte{
		[]byte(`{"(1.5,\"a \"\"quoted\"\" \\\\\",\"{\"\"2024-01-01 00:00:00+00\"\"}\",\"{\"\"\\\\\"\"a\\\\\"\"=>NULL\"\"}\")",NULL}`),
		[]byte(`"a"=>"1", "b \" c"=>NULL`),
	}
	f("nested object", func() ([]byte, error) { return nested.AppendObject(dst, inner) })
	f("nested csv", func() ([]byte, error) { return nested.AppendCSV(dst, nil, inner) })
}

func BenchmarkRowOf13ColumnsFromTheWire(b *testing.B) {
	e, row := clientEncoder(b), clientRow()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = e.AppendObject(dst[:0], row)
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkRowOf13ColumnsAsCSV(b *testing.B) {
	e, row := clientEncoder(b), clientRow()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = e.AppendCSV(dst[:0], nil, row)
	}
	b.SetBytes(int64(len(dst)))
}

// What BenchmarkRowOf13ColumnsFromTheWire is compared with: the Go values are already there, so scanning
// them would come on top.
func BenchmarkRowOf13ColumnsFromAMap(b *testing.B) {
	row := clientMap()
	b.ReportAllocs()
	for b.Loop() {
		text, err := json.Marshal(row)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
	}
}

func BenchmarkJSONString(b *testing.B) {
	text := []byte("Coaching notes: sleep improved, resting pulse down to 58; next session on Tuesday, 10:30.")
	var dst []byte
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		dst = AppendJSONString(dst[:0], text)
	}
}

// thousandClients is a table of the columns of an API, for the benchmarks against a real server.
const thousandClients = `create table clients as select
  md5(i::text)::uuid as id, 'Magdalena Kowalska-Nowak ' || i as name, 'magdalena.kowalska' || i || '@example.org' as email,
  'ACTIVE'::text as status, null::text as phone, timestamptz '2024-01-01' + i * interval '17 minutes' as created_at,
  timestamptz '2024-06-01 00:00:00.123456' + i * interval '19 minutes' as updated_at, date '1980-01-01' + i as birthday,
  i as sessions, (i * 1.25)::numeric(12,2) as balance, i % 2 = 0 as active,
  '{"plan": "PRIME", "newsletter": true}'::jsonb as settings, array['vip', 'long term', 'north'] as tags
from generate_series(1, 1000) i`

func BenchmarkThousandRowsFromTheWire(b *testing.B) {
	s := newServer(b)
	s.exec(b, thousandClients)
	ctx := context.Background()
	described, err := s.conn.PgConn().Prepare(ctx, "read", "select * from clients", nil)
	if err != nil {
		b.Fatal(err)
	}
	var columns []Column
	var formats []int16
	for _, f := range described.Fields {
		formats = append(formats, FormatOf(nil, f.DataTypeOID))
		columns = append(columns, Column{Name: f.Name, OID: f.DataTypeOID, Format: FormatOf(nil, f.DataTypeOID)})
	}
	e, err := NewEncoder(nil, columns)
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	for b.Loop() {
		rows := s.conn.PgConn().ExecPrepared(ctx, "read", nil, nil, formats)
		dst = append(dst[:0], '[')
		for rows.NextRow() {
			if len(dst) > 1 {
				dst = append(dst, ',')
			}
			if dst, err = e.AppendObject(dst, rows.Values()); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := rows.Close(); err != nil {
			b.Fatal(err)
		}
		dst = append(dst, ']')
	}
	if !json.Valid(dst) {
		b.Fatal("not JSON")
	}
}

func BenchmarkThousandRowsByJSONAgg(b *testing.B) {
	s := newServer(b)
	s.exec(b, thousandClients)
	ctx := context.Background()
	if _, err := s.conn.PgConn().Prepare(ctx, "read", "select json_agg(c) from clients c", nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if answer := s.conn.PgConn().ExecPrepared(ctx, "read", nil, nil, nil).Read(); answer.Err != nil {
			b.Fatal(answer.Err)
		}
	}
}
