package changes

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"forebay/cache"
)

// wire writes pgoutput's messages.
type wire []byte

func (w wire) u8(v byte) wire    { return append(w, v) }
func (w wire) u16(v uint16) wire { return binary.BigEndian.AppendUint16(w, v) }
func (w wire) u32(v uint32) wire { return binary.BigEndian.AppendUint32(w, v) }
func (w wire) u64(v uint64) wire { return binary.BigEndian.AppendUint64(w, v) }
func (w wire) str(v string) wire { return append(append(w, v...), 0) }

func (w wire) cells(values ...string) wire {
	w = w.u16(uint16(len(values)))
	for _, v := range values {
		switch v {
		case "null":
			w = w.u8('n')
		case "unchanged":
			w = w.u8('u')
		default:
			w = append(w.u8('t').u32(uint32(len(v))), v...)
		}
	}
	return w
}

func begin(xid uint32) wire { return wire{'B'}.u64(0).u64(0).u32(xid) }
func commit(end uint64) wire {
	return wire{'C'}.u8(0).u64(end - 8).u64(end).u64(0)
}
func streamStart(xid uint32) wire { return wire{'S'}.u32(xid).u8(1) }
func streamStop() wire            { return wire{'E'} }
func streamCommit(xid uint32, end uint64) wire {
	return wire{'c'}.u32(xid).u8(0).u64(end - 8).u64(end).u64(0)
}
func streamAbort(xid, sub uint32) wire { return wire{'A'}.u32(xid).u32(sub) }

// content writes a message within a transaction; in a stream it begins with its subtransaction.
func content(kind byte, sub uint32) wire {
	w := wire{kind}
	if sub != 0 {
		w = w.u32(sub)
	}
	return w
}

// tableShape is of table 20000 (id int4 key, name text).
func tableShape(sub uint32, names ...string) wire {
	w := content('R', sub).u32(20000).str("public").str("t").u8('d').u16(uint16(len(names)))
	for i, name := range names {
		key := byte(0)
		if i == 0 {
			key = 1
		}
		w = w.u8(key).str(name).u32([]uint32{23, 25}[min(i, 1)]).u32(0)
	}
	return w
}

func insert(sub uint32, values ...string) wire {
	return content('I', sub).u32(20000).u8('N').cells(values...)
}

// bench is a collector with the changes that came out of it.
type bench struct {
	*collector
	attributed *attribution
	out        []cache.Change
}

func newBench(maxRows int) *bench {
	b := &bench{attributed: &attribution{relations: map[uint32]*relation{20000: {
		oid: 20000, identity: 'd', columns: []column{{"id", 23, true}, {"name", 25, false}},
		targets: []target{newTarget(20000, []followed{{1, 0}}), newTarget(19999, nil)},
	}}}}
	b.collector = newCollector(maxRows, func() *attribution { return b.attributed }, func(t *transaction, end uint64) {
		c, _ := t.change(b.attributed)
		c.Xid, c.LSN = uint64(t.xid), end
		b.out = append(b.out, c)
	})
	return b
}

func (b *bench) feed(t *testing.T, messages ...wire) {
	t.Helper()
	for _, m := range messages {
		if err := b.take(m); err != nil {
			t.Fatal(err)
		}
	}
}

// marks are those of the last change, as text.
func (b *bench) marks(t *testing.T) []string {
	t.Helper()
	if len(b.out) == 0 {
		t.Fatal("nothing was committed")
	}
	var list []string
	for _, d := range b.out[len(b.out)-1].Dependencies {
		list = append(list, string(d))
	}
	slices.Sort(list)
	return list
}

func TestCollectedRows(t *testing.T) {
	t.Parallel()
	table := []string{"relation:19999", "relation:20000", "whole:19999"}
	rows := func(list ...string) []string {
		all := slices.Concat(table, list)
		slices.Sort(all)
		return all
	}
	whole := rows("whole:20000")
	for name, c := range map[string]struct {
		messages []wire
		want     []string
	}{
		"an insert":                {[]wire{insert(0, "7", "x")}, rows("row:20000:1:7")},
		"twice the same row":       {[]wire{insert(0, "7", "x"), insert(0, "7", "x")}, rows("row:20000:1:7")},
		"more rows than allowed":   {[]wire{insert(0, "1", ""), insert(0, "2", ""), insert(0, "3", ""), insert(0, "4", "")}, whole},
		"an update of its key":     {[]wire{content('U', 0).u32(20000).u8('K').cells("7", "null").u8('N').cells("8", "x")}, rows("row:20000:1:7", "row:20000:1:8")},
		"an update":                {[]wire{content('U', 0).u32(20000).u8('N').cells("7", "unchanged")}, rows("row:20000:1:7")},
		"a delete":                 {[]wire{content('D', 0).u32(20000).u8('K').cells("7", "null")}, rows("row:20000:1:7")},
		"a key that nobody sent":   {[]wire{content('U', 0).u32(20000).u8('N').cells("unchanged", "x")}, whole},
		"too few columns":          {[]wire{content('U', 0).u32(20000).u8('N').cells()}, whole},
		"a truncate":               {[]wire{insert(0, "7", "x"), content('T', 0).u32(1).u8(0).u32(20000)}, whole},
		"a table of another shape": {[]wire{tableShape(0, "id", "other"), insert(0, "7", "x")}, whole},
		"a table nobody knows":     {[]wire{content('T', 0).u32(1).u8(0).u32(30000)}, []string{"relation:30000", "whole:30000"}},
		"a probe":                  {[]wire{append(content('M', 0).u8(1).u64(0).str(prefixProbe).u32(1), '*')}, nil},
		"DDL of everything":        {[]wire{append(content('M', 0).u8(1).u64(0).str(prefixDDL).u32(3), "X:*"...)}, []string{"everything"}},
		"DDL of a table":           {[]wire{append(content('M', 0).u8(1).u64(0).str(prefixDDL).u32(7), "X:20000"...)}, whole},
		"a foreign message":        {[]wire{append(content('M', 0).u8(1).u64(0).str("their.own").u32(1), '*')}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(3)
			b.feed(t, tableShape(0, "id", "name"), begin(700))
			b.feed(t, c.messages...)
			b.feed(t, commit(900))
			if got := b.marks(t); !slices.Equal(got, c.want) {
				t.Errorf("marks %v; want %v", got, c.want)
			}
			if b.out[0].Xid != 700 || b.out[0].LSN != 900 {
				t.Errorf("change %+v; want xid 700 to 900", b.out[0])
			}
		})
	}
}

func TestChunksOfTransactionsAreKeptApart(t *testing.T) {
	t.Parallel()
	b := newBench(100)
	b.feed(
		t, tableShape(0, "id", "name"),
		streamStart(800), insert(800, "1", "x"), insert(801, "2", "x"), streamStop(),
		streamStart(900), insert(900, "3", "x"), streamStop(),
		begin(700), insert(0, "4", "x"), commit(1000),
	)
	if got := b.marks(t); !slices.Contains(got, "row:20000:1:4") || slices.Contains(got, "row:20000:1:1") {
		t.Errorf("marks of 700: %v", got)
	}
	b.feed(t, streamAbort(800, 801), streamAbort(900, 900), streamCommit(800, 1100))
	if got := b.marks(t); !slices.Contains(got, "row:20000:1:1") || slices.Contains(got, "row:20000:1:2") || slices.Contains(got, "row:20000:1:3") {
		t.Errorf("marks of 800: %v; want without what was rolled back", got)
	}
	if len(b.streamed) != 0 {
		t.Errorf("%d transactions are kept after their end", len(b.streamed))
	}
}

// A table may look otherwise within a transaction only, and nobody else's rows are of that shape.
func TestAShapeOfAStreamedTransactionIsItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(100)
	b.feed(
		t, tableShape(0, "id", "name"),
		streamStart(800), tableShape(800, "id", "renamed"), insert(800, "1", "x"), streamStop(),
		begin(700), insert(0, "4", "x"), commit(1000),
	)
	if got := b.marks(t); !slices.Contains(got, "row:20000:1:4") {
		t.Errorf("marks of 700: %v; want its row", got)
	}
	b.feed(t, streamCommit(800, 1100))
	if got := b.marks(t); !slices.Contains(got, "whole:20000") {
		t.Errorf("marks of 800: %v; want the whole table", got)
	}
	b.feed(t, begin(701), insert(0, "5", "x"), commit(1200))
	if got := b.marks(t); !slices.Contains(got, "whole:20000") {
		t.Errorf("marks of 701: %v; want the whole table, which looks otherwise now", got)
	}
}

// Who is attributed anew while a transaction is under way gets all of it.
func TestAnAttributionThatChangesMeanwhileMarksAll(t *testing.T) {
	t.Parallel()
	b := newBench(100)
	b.feed(t, tableShape(0, "id", "name"), begin(700), insert(0, "1", "x"))
	b.attributed = &attribution{relations: map[uint32]*relation{20000: {
		oid: 20000, identity: 'd', columns: []column{{"id", 23, true}, {"name", 25, false}},
		targets: []target{newTarget(20000, []followed{{1, 0}}), newTarget(18888, nil)},
	}}}
	b.feed(t, commit(900))
	for _, want := range []string{"whole:20000", "relation:18888", "relation:19999"} {
		if got := b.marks(t); !slices.Contains(got, want) {
			t.Errorf("marks %v; want %s", got, want)
		}
	}
}

func TestManySavepointsTakeLittleMemory(t *testing.T) {
	t.Parallel()
	b := newBench(100)
	b.feed(t, streamStart(800), tableShape(800, "id", "name"))
	for sub := uint32(801); sub < 20_000; sub++ {
		b.feed(t, insert(sub, fmt.Sprint(sub), "x"))
	}
	if n := len(b.chunk.parts); n > maxParts {
		t.Errorf("%d parts; want at most %d", n, maxParts)
	}
	b.feed(t, streamStop(), streamAbort(800, 19_000), streamCommit(800, 900))
	if got := b.marks(t); !slices.Contains(got, "whole:20000") {
		t.Errorf("marks %v; want the whole table", got)
	}
}

func FuzzCollector(f *testing.F) {
	join := func(messages ...wire) []byte {
		var all wire
		for _, m := range messages {
			all = append(all.u16(uint16(len(m))), m...)
		}
		return all
	}
	f.Add(join(tableShape(0, "id", "name"), begin(1), insert(0, "7", "x"), commit(9)))
	f.Add(join(streamStart(5), tableShape(5, "id", "name"), insert(6, "7", "x"), streamStop(), streamAbort(5, 6), streamCommit(5, 9)))
	f.Add(join(begin(1), content('U', 0).u32(20000).u8('K').cells("7", "null").u8('N').cells("8", "unchanged"), content('T', 0).u32(1).u8(0).u32(20000), commit(9)))
	f.Add(join(begin(1), append(content('M', 0).u8(1).u64(0).str(prefixDDL).u32(7), "X:20000"...), wire{'O'}, wire{'Y'}, commit(9)))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBench(3)
		for len(data) >= 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			if err := b.take(data[2 : 2+n]); err != nil {
				return
			}
			data = data[2+n:]
		}
		for _, c := range b.out {
			if len(c.Dependencies) == 0 && len(c.Touched) > 0 {
				t.Fatalf("%+v touched something and marks nothing", c)
			}
		}
	})
}

// What a row of a table costs, told apart and collapsed.
func BenchmarkRow(b *testing.B) {
	for name, maxRows := range map[string]int{"told apart": 1 << 30, "collapsed": 1} {
		b.Run(name, func(b *testing.B) {
			c := newBench(maxRows)
			for _, m := range []wire{tableShape(0, "id", "name"), begin(1), insert(0, "1", "a"), insert(0, "2", "b")} {
				if err := c.take(m); err != nil {
					b.Fatal(err)
				}
			}
			m := insert(0, "7", "some text of a usual length, as rows have it")
			b.ReportAllocs()
			for b.Loop() {
				if err := c.take(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
