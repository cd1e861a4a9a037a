package cache

import (
	"strconv"
	"strings"
)

// Dependency names one thing whose change or purge concerns a stored response. It is comparable and
// has one spelling per thing, so it can be stored and sent as it is.
type Dependency string

// Everything is what every stored response depends on.
const Everything Dependency = "everything"

// Relation is the dependency on a table (or partition, or view) of the one database, by its oid:
// names move with RENAME, oids do not.
func Relation(oid uint32) Dependency {
	return Dependency("relation:" + strconv.FormatUint(uint64(oid), 10))
}

// Tag is the dependency on a tag that a rule or an upstream gave the response.
func Tag(name string) Dependency { return Dependency("tag:" + name) }

// Rule is the dependency on the rule that a response was made by.
func Rule(name string) Dependency { return Dependency("rule:" + name) }

// Oid returns the oid of a Relation, and false for any other dependency.
func (d Dependency) Oid() (uint32, bool) {
	digits, ok := strings.CutPrefix(string(d), "relation:")
	if !ok {
		return 0, false
	}
	oid, err := strconv.ParseUint(digits, 10, 32)
	return uint32(oid), err == nil
}
