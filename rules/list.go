package rules

import (
	"bytes"
	"hash/maphash"
)

// A list's normal form is a Postgres array literal: {a,b}. Texts are always quoted, so no text is taken
// for a NULL, a nested array or white space; what cannot hold a special character never is.

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
