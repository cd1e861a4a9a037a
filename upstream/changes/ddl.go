package changes

import (
	"strconv"
	"strings"
)

// readDDL returns the relations that a message of the event triggers names: "ALTER TABLE:16385,16390". It
// returns false for one that concerns everything, "CREATE FUNCTION:*", and for one that it cannot read.
func readDDL(content string) ([]uint32, bool) {
	i := strings.LastIndexByte(content, ':')
	if i < 0 {
		return nil, false
	}
	list := content[i+1:]
	if list == "" {
		return nil, true
	}
	var oids []uint32
	for part := range strings.SplitSeq(list, ",") {
		oid, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, false
		}
		oids = append(oids, uint32(oid))
	}
	return oids, true
}
