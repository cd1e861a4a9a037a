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

// What the dependencies on tables begin with.
const (
	relationPrefix = "relation:"
	wholePrefix    = "whole:"
	rowPrefix      = "row:"
)

// Relation is the dependency on all of a table (or partition, or view) of the one database, by its oid:
// names move with RENAME, oids do not.
func Relation(oid uint32) Dependency {
	return Dependency(relationPrefix + strconv.FormatUint(uint64(oid), 10))
}

// Whole is the dependency on those changes of a table that cannot be told apart by rows. A response that
// depends on rows of a table depends on its Whole beside them, and not on its Relation.
func Whole(oid uint32) Dependency {
	return Dependency(wholePrefix + strconv.FormatUint(uint64(oid), 10))
}

// Row is the dependency on the rows of a table that have the value in a column, which is named by its
// attribute number. The value is as Postgres renders it as text.
func Row(oid uint32, column int16, value string) Dependency {
	d := make([]byte, 0, len(rowPrefix)+len("4294967295:32767:")+len(value))
	d = append(d, rowPrefix...)
	d = strconv.AppendUint(d, uint64(oid), 10)
	d = append(d, ':')
	d = strconv.AppendInt(d, int64(column), 10)
	d = append(d, ':')
	return Dependency(append(d, value...))
}

// Tag is the dependency on a tag that a rule or an upstream gave the response.
func Tag(name string) Dependency { return Dependency("tag:" + name) }

// Rule is the dependency on the rule that a response was made by.
func Rule(name string) Dependency { return Dependency("rule:" + name) }

// Oid returns the oid of a Relation, and false for any other dependency.
func (d Dependency) Oid() (uint32, bool) {
	digits, ok := strings.CutPrefix(string(d), relationPrefix)
	if !ok {
		return 0, false
	}
	return parseOid(digits)
}

// Table returns the oid of the table that a Relation, a Whole or a Row is of, and false for any other
// dependency.
func (d Dependency) Table() (uint32, bool) {
	if oid, ok := d.Oid(); ok {
		return oid, true
	}
	if digits, ok := strings.CutPrefix(string(d), wholePrefix); ok {
		return parseOid(digits)
	}
	oid, ok := d.rowOid()
	return oid, ok
}

// Row returns what a Row was made of, and false for any other dependency.
func (d Dependency) Row() (oid uint32, column int16, value string, ok bool) {
	oid, ok = d.rowOid()
	if !ok {
		return 0, 0, "", false
	}
	_, rest, _ := strings.Cut(string(d[len(rowPrefix):]), ":")
	number, value, ok := strings.Cut(rest, ":")
	attnum, err := strconv.ParseInt(number, 10, 16)
	if !ok || err != nil {
		return 0, 0, "", false
	}
	return oid, int16(attnum), value, true
}

// rowOid returns the oid of a Row's table.
func (d Dependency) rowOid() (uint32, bool) {
	rest, ok := strings.CutPrefix(string(d), rowPrefix)
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, ":")
	if !ok {
		return 0, false
	}
	return parseOid(digits)
}

func parseOid(digits string) (uint32, bool) {
	oid, err := strconv.ParseUint(digits, 10, 32)
	return uint32(oid), err == nil
}
