package cache

import (
	"bytes"
	"slices"
)

// ParseVary reads the lines of a response's Vary into the lower-case names of the request fields that it
// was selected by, sorted, each once. False: it was selected by more than fields say, or nobody can tell.
func ParseVary(lines [][]byte) (names []string, ok bool) {
	for _, line := range lines {
		for member := range bytes.SplitSeq(line, []byte{','}) {
			member = bytes.Trim(member, " \t")
			switch {
			case len(member) == 0:
				continue
			case len(member) == 1 && member[0] == '*', tokenLength(member) != len(member):
				return nil, false
			}
			names = append(names, string(bytes.ToLower(member)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}
