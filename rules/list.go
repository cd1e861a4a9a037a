package rules

import (
	"bytes"
	"hash/maphash"
	"strconv"
)

// A list's normal form is a Postgres array literal: {a,b}. Texts are always quoted, so no text is taken
// for a NULL, a nested array or white space; what cannot hold a special character never is.

// list writes one array literal, item by item.
type list struct {
	p      *Param
	dst    []byte
	start  int // of the literal in dst
	given  int // items so far
	kept   int // of them, without duplicates
	unique *uniqueTable
}

func newList(p *Param, dst []byte, unique *uniqueTable) list {
	if p.Unique {
		unique.reset()
	}
	return list{p: p, dst: append(dst, '{'), start: len(dst), unique: unique}
}

// split adds the items of a separated text. Empty ones are none: "a,,b" and "a,b," are a and b.
func (l *list) split(text []byte) *fault {
	separator := l.p.separator()
	for more := true; more; {
		var item []byte
		item, text, more = cut(text, separator)
		if len(item) == 0 || l.p.Type != Text && len(trimmed(item)) == 0 {
			continue
		}
		if f := l.add(item, (*Param).appendScalar); f != nil {
			return f
		}
	}
	return nil
}

func cut(text []byte, separator string) (before, after []byte, found bool) {
	for i := 0; i+len(separator) <= len(text); i++ {
		if string(text[i:i+len(separator)]) == separator {
			return text[:i], text[i+len(separator):], true
		}
	}
	return text, nil, false
}

// add appends one item, which read puts into its normal form.
func (l *list) add(item []byte, read func(*Param, []byte, []byte) ([]byte, *fault)) *fault {
	l.given++
	if l.p.MaxItems > 0 && l.given > l.p.MaxItems {
		return &fault{status: 400, tooMany: true, detail: "must have at most " + counted(l.p.MaxItems, "item")}
	}
	before := len(l.dst)
	if l.kept > 0 {
		l.dst = append(l.dst, ',')
	}
	at := len(l.dst)
	var f *fault
	if l.dst, f = read(l.p, l.dst, item); f != nil {
		return &fault{status: f.status, at: "[" + strconv.Itoa(l.given-1) + "]", detail: f.detail}
	}
	if l.p.Type.quoted() {
		l.dst = appendQuotedFrom(l.dst, at)
	}
	if l.p.Unique && !l.unique.add(l.dst[l.start+1:], at-l.start-1) {
		l.dst = l.dst[:before]
		return nil
	}
	l.kept++
	return nil
}

// close ends the literal and returns dst.
func (l *list) close() ([]byte, *fault) {
	if l.kept < l.p.MinItems {
		return l.dst, wrong("must have at least %s, not %d", counted(l.p.MinItems, "item"), l.kept)
	}
	return append(l.dst, '}'), nil
}

func (p *Param) separator() string {
	if p.Separator == "" {
		return ","
	}
	return p.Separator
}

// quoted reports whether items of the type stand in quotes.
func (t Type) quoted() bool {
	return t == Text || t == Enum || t == Email || t == JSON
}

// appendQuotedFrom puts dst[start:] into quotes.
func appendQuotedFrom(dst []byte, start int) []byte {
	special := 0
	for _, c := range dst[start:] {
		if c == '"' || c == '\\' {
			special++
		}
	}
	end := len(dst)
	for range special + 2 {
		dst = append(dst, '"')
	}
	to := len(dst) - 2
	for from := end - 1; from >= start; from-- {
		c := dst[from]
		dst[to] = c
		to--
		if c == '"' || c == '\\' {
			dst[to] = '\\'
			to--
		}
	}
	dst[start] = '"'
	return dst
}

// nextItem splits the first item, as written, from the inside of an array literal; nil when there is none left.
func nextItem(items []byte) (item, rest []byte) {
	if len(items) == 0 {
		return nil, nil
	}
	end := 0
	if items[0] == '"' {
		for end = 1; items[end] != '"'; end++ {
			if items[end] == '\\' {
				end++
			}
		}
		end++
	} else if end = bytes.IndexByte(items, ','); end < 0 {
		end = len(items)
	}
	item, rest = items[:end], items[end:]
	if len(rest) > 0 {
		rest = rest[1:]
	}
	return item, rest
}

// insideList returns what stands between the braces of an array literal.
func insideList(literal []byte) []byte { return literal[1 : len(literal)-1] }

// appendUnquotedItem appends what an item as written stands for.
func appendUnquotedItem(dst, item []byte) []byte {
	if item[0] != '"' {
		return append(dst, item...)
	}
	item = item[1 : len(item)-1]
	for i := 0; i < len(item); i++ {
		if item[i] == '\\' {
			i++
		}
		dst = append(dst, item[i])
	}
	return dst
}

// uniqueTable finds duplicates among the items of one array literal. Reused; not safe for concurrent use.
type uniqueTable struct {
	slots []int32 // 1 + where an item begins in the literal; 0: free
	count int
}

// seed makes the hash of the table unpredictable to those who choose what goes into it.
var seed = maphash.MakeSeed()

func (t *uniqueTable) reset() {
	clear(t.slots)
	t.count = 0
}

// add notes the item that begins at offset at in the literal and ends with it; false if it is there already.
func (t *uniqueTable) add(literal []byte, at int) bool {
	if 2*t.count >= len(t.slots) {
		t.grow(literal[:at])
	}
	item := literal[at:]
	for i := maphash.Bytes(seed, item); ; i++ {
		slot := &t.slots[i&uint64(len(t.slots)-1)]
		if *slot == 0 {
			*slot = int32(at + 1)
			t.count++
			return true
		}
		if other, _ := nextItem(literal[*slot-1:]); bytes.Equal(other, item) {
			return false
		}
	}
}

// grow doubles the table and notes again what was in it.
func (t *uniqueTable) grow(literal []byte) {
	old := t.slots
	t.slots = make([]int32, max(64, 2*len(old)))
	for _, at := range old {
		if at == 0 {
			continue
		}
		item, _ := nextItem(literal[at-1:])
		for i := maphash.Bytes(seed, item); ; i++ {
			if slot := &t.slots[i&uint64(len(t.slots)-1)]; *slot == 0 {
				*slot = at
				break
			}
		}
	}
}
