package redis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"forebay/cache"
)

const (
	chainTable  = 7
	chainColumn = 1
)

var chainRow = cache.Row(chainTable, chainColumn, "42")

// chainLine is a chain as it stands in Redis, and a reader of it.
type chainLine struct {
	chain   *chain
	now     cache.Instant
	entries []chainEntry
	id      uint64
	last    streamID // that the owner knows to be the last
	asked   uint64   // what the reader asked last
}

func newChainLine() *chainLine {
	l := &chainLine{chain: newChain(time.Second), now: 1, id: 8}
	l.begin(100)
	return l
}

// begin begins a chain.
func (l *chainLine) begin(lsn uint64) {
	l.id++
	l.last = streamID{lsn, 1}
	l.entries = []chainEntry{{id: l.last, chain: l.id, kind: chainBegin}}
	l.append(lsn, chainEntry{kind: chainCoverage, server: "s", covered: map[uint32]chainCover{chainTable: {since: 1, columns: []int16{chainColumn}}}})
}

// append writes an entry as an owner does: not behind one that it did not write.
func (l *chainLine) append(lsn uint64, e chainEntry) {
	last := l.entries[len(l.entries)-1]
	if last.id != l.last {
		l.begin(max(lsn, l.last.ms))
		return
	}
	e.predecessor, e.chain = last.id, l.id
	if e.id = (streamID{lsn, 1}); lsn <= last.id.ms {
		e.id = streamID{last.id.ms, last.id.seq + 1}
	}
	l.entries, l.last = append(l.entries, e), e.id
}

func (l *chainLine) change(lsn, xid uint64, d ...cache.Dependency) {
	l.append(lsn, chainEntry{kind: chainChange, xid: xid, dependencies: d})
}

// position writes that all up to lsn is there, by an owner that knew what is asked.
func (l *chainLine) position(lsn uint64) {
	l.append(lsn, chainEntry{kind: chainPosition, answers: []uint64{l.asked}})
}

// read reads as readChainOnce does.
func (l *chainLine) read() {
	l.now++
	l.asked++
	look, id := chainLook{at: l.now, epoch: l.chain.present(), question: l.asked}, uint64(0)
	if n := len(l.entries); n > 0 {
		look.head, id = l.entries[n-1].id, l.entries[n-1].chain
	}
	from := l.chain.next()
	if !l.chain.meet(look, id) {
		return
	}
	for i := range l.entries {
		if from.less(l.entries[i].id) && !l.chain.take(&l.entries[i]) {
			return
		}
	}
}

// follow reads until the chain is known to be the newest.
func (l *chainLine) follow() {
	l.read()
	l.position(0)
	l.position(0)
	l.read()
}

// goOn has an owner write behind whatever is the last entry, and the reader follow.
func (l *chainLine) goOn() {
	l.last = l.entries[len(l.entries)-1].id
	l.follow()
}

func (l *chainLine) judge(v *value) chainVerdict {
	verdict, _, _ := l.chain.judge(v, l.now)
	return verdict
}

// chained makes a value that was found current at the position, in a snapshot that sees all xids below.
func chained(position, xid uint64) *value {
	return &value{
		stamp: stamp{chain: 9, position: position}, snapshot: cache.Snapshot{Xmin: xid, Xmax: xid},
		dependencies: []cache.Dependency{chainRow, cache.Whole(chainTable), cache.Tag("t")},
	}
}

func TestTheChainTellsWhatHasChanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens func(*chainLine)
		value   *value
		want    chainVerdict
	}{
		"nothing":                      {func(*chainLine) {}, chained(100, 50), chainCurrent},
		"its row":                      {func(l *chainLine) { l.change(120, 50, cache.Relation(chainTable), chainRow) }, chained(100, 50), chainChanged},
		"its row, seen":                {func(l *chainLine) { l.change(120, 49, chainRow) }, chained(100, 50), chainCurrent},
		"its row, found current after": {func(l *chainLine) { l.change(120, 50, chainRow) }, chained(120, 50), chainCurrent},
		"another row": {func(l *chainLine) {
			l.change(120, 50, cache.Relation(chainTable), cache.Row(chainTable, chainColumn, "43"))
		}, chained(100, 50), chainCurrent},
		"the table":                          {func(l *chainLine) { l.change(120, 50, cache.Whole(chainTable)) }, chained(100, 50), chainChanged},
		"everything":                         {func(l *chainLine) { l.change(120, 50, cache.Everything) }, chained(100, 50), chainChanged},
		"found current before the beginning": {func(*chainLine) {}, chained(99, 50), chainUnknown},
		"of another chain":                   {func(*chainLine) {}, &value{stamp: stamp{chain: 8, position: 100}}, chainUnknown},
		"its table is not covered": {func(l *chainLine) {
			l.append(0, chainEntry{kind: chainCoverage, server: "s", covered: map[uint32]chainCover{}})
		}, chained(100, 50), chainUnknown},
		"its table is covered later": {func(l *chainLine) {
			l.append(0, chainEntry{kind: chainCoverage, server: "s", covered: map[uint32]chainCover{chainTable: {since: 110, columns: []int16{chainColumn}}}})
		}, chained(100, 50), chainUnknown},
		"its column is not told apart": {func(l *chainLine) {
			l.append(0, chainEntry{kind: chainCoverage, server: "s", covered: map[uint32]chainCover{chainTable: {since: 1, columns: []int16{2}}}})
		}, chained(100, 50), chainUnknown},
		"more changes than are remembered": {func(l *chainLine) {
			for n := range uint64(maxLinks + 1) {
				l.change(120+n, 40, chainRow)
			}
		}, chained(100, 50), chainChanged},
		"replayed":     {func(l *chainLine) { l.change(120, 50, chainRow) }, &value{stamp: stamp{chain: 9, position: 100}, snapshot: cache.Snapshot{Replayed: 120}, dependencies: []cache.Dependency{chainRow}}, chainCurrent},
		"not replayed": {func(l *chainLine) { l.change(120, 50, chainRow) }, &value{stamp: stamp{chain: 9, position: 100}, snapshot: cache.Snapshot{Replayed: 119}, dependencies: []cache.Dependency{chainRow}}, chainChanged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newChainLine()
			c.happens(l)
			l.follow()
			if got := l.judge(c.value); got != c.want {
				t.Errorf("verdict %d, want %d", got, c.want)
			}
		})
	}
}

func TestAChainThatIsNotWholeIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(*chainLine){
		"an entry is missing": func(l *chainLine) {
			l.change(130, 60)
			l.entries = slices.Delete(l.entries, len(l.entries)-1, len(l.entries))
			lost(l)
		},
		"Redis is empty":     func(l *chainLine) { l.entries = nil; l.read() },
		"the head is behind": func(l *chainLine) { l.entries = l.entries[:len(l.entries)-1]; l.read() },
		"an old copy, and then it was": func(l *chainLine) {
			all := l.entries
			l.entries = all[:len(all)-2]
			l.read()
			l.entries = all
			l.follow()
		},
		"Redis is empty, and then it was": func(l *chainLine) {
			all := l.entries
			l.entries = nil
			l.read()
			l.entries = all
			l.follow()
		},
		"an old copy, and then a newer one, to who knew neither": func(l *chainLine) {
			l.position(0)
			l.position(0)
			all := l.entries
			l.chain = newChain(time.Second) // its questions are others
			l.asked = 100
			l.entries = all[:2]
			l.read()
			l.entries = all
			l.read()
		},
		"another chain": func(l *chainLine) {
			l.entries = []chainEntry{{id: streamID{100, 1}, chain: 10, kind: chainBegin}}
			l.read()
		},
		"it ends, and goes on": func(l *chainLine) {
			l.append(0, chainEntry{kind: chainEnd})
			l.read()
			l.entries = l.entries[:len(l.entries)-1]
			l.goOn()
		},
		"two owners write at once, and it goes on": func(l *chainLine) {
			forked(l)
			l.entries = slices.Delete(l.entries, len(l.entries)-2, len(l.entries)-1) // what the reader had read is gone
			l.goOn()
		},
		"it ends":              func(l *chainLine) { l.append(0, chainEntry{kind: chainEnd}); l.read() },
		"nobody answers":       func(l *chainLine) { l.now += cache.Instant(2 * time.Second); l.read() },
		"this process's epoch": func(l *chainLine) { l.chain.newEpoch() },
		"it cannot be read":    func(l *chainLine) { l.chain.giveUp(9); l.follow() },
		"positions without an answer": func(l *chainLine) {
			l.now += cache.Instant(2 * time.Second)
			l.read()
			l.append(0, chainEntry{kind: chainPosition})
			l.read()
		},
		"two owners write at once": func(l *chainLine) { forked(l) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newChainLine()
			l.follow()
			if got := l.judge(chained(100, 50)); got != chainCurrent {
				t.Fatalf("verdict %d while it is whole", got)
			}
			breaks(l)
			if got := l.judge(chained(100, 50)); got != chainUnknown {
				t.Errorf("verdict %d", got)
			}
		})
	}
}

// lost has the reader read on behind an entry that it never saw.
func lost(l *chainLine) {
	l.entries = append(l.entries, chainEntry{id: streamID{140, 1}, predecessor: streamID{130, 1}, chain: 9, kind: chainPosition, answers: []uint64{l.asked}})
	l.read()
}

// forked has a second writer append behind an entry that is not the last.
func forked(l *chainLine) {
	before := l.entries[len(l.entries)-2].id
	l.entries = append(l.entries, chainEntry{id: streamID{150, 1}, predecessor: before, chain: 9, kind: chainPosition, answers: []uint64{l.asked}})
	l.read()
}

// A chain of which the reader missed what was trimmed serves what was found current after that.
func TestWhatWasTrimmedIsNotKnown(t *testing.T) {
	t.Parallel()
	l := newChainLine()
	l.change(120, 50, chainRow)
	l.change(130, 51, cache.Tag("other"))
	l.append(0, l.entries[1])
	l.entries = l.entries[3:]
	l.follow()
	if got := l.judge(chained(110, 50)); got != chainUnknown {
		t.Errorf("found current before what was trimmed: verdict %d", got)
	}
	if got := l.judge(chained(130, 60)); got != chainCurrent {
		t.Errorf("found current after what was trimmed: verdict %d", got)
	}
}

// TestNoValueOutlivesAChange holds the chain to the truth, whatever becomes of Redis.
func TestNoValueOutlivesAChange(t *testing.T) {
	t.Parallel()
	current := 0
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 1))
		l := newChainLine()
		var truth []link // what happened to the row
		lsn, xid := uint64(100), uint64(50)
		for range 120 {
			switch n := random.IntN(20); {
			case n < 6:
				lsn, xid = lsn+1+random.Uint64N(3), xid+1
				if random.IntN(3) == 0 {
					truth = append(truth, link{lsn: lsn, xid: xid})
					l.change(lsn, xid, chainRow)
				} else {
					l.change(lsn, xid, cache.Row(chainTable, chainColumn, fmt.Sprint(random.IntN(9))))
				}
			case n < 12:
				l.position(lsn)
			case n == 12 && len(l.entries) > 4:
				l.entries = l.entries[1+random.IntN(2):] // trimmed
			case n == 13 && len(l.entries) > 4: // Redis lost entries; whoever writes on does not know
				l.entries = slices.Delete(l.entries, len(l.entries)-2, len(l.entries)-1)
			case n == 14 && len(l.entries) > 4:
				l.entries = l.entries[:len(l.entries)-1]
			default:
				l.read()
			}
			v := chained(100+random.Uint64N(lsn-99), 50+random.Uint64N(xid-49))
			v.chain = l.id
			for _, c := range truth {
				if c.lsn <= v.position && c.xid >= v.snapshot.Xmax { // was not current then
					v = nil
					break
				}
			}
			if v == nil {
				continue
			}
			verdict, through, _ := l.chain.judge(v, l.now)
			if verdict != chainCurrent {
				continue
			}
			current++
			for _, c := range truth {
				if c.lsn <= through && c.xid >= v.snapshot.Xmax {
					t.Fatalf("seed %d: found current at %d and judged through %d, with change %d at %d not seen", seed, v.position, through, c.xid, c.lsn)
				}
			}
		}
	}
	if current < 1000 {
		t.Errorf("only %d values were found current: nothing is shown", current)
	}
}
