package changes

import (
	"fmt"
	"strings"
)

// unpublishable returns why changes to the relation cannot be followed in the write-ahead log, and what to
// do about it; nil if they can.
func (e *entry) unpublishable() *refusal {
	if r := e.unheard(); r != nil {
		return r
	}
	switch {
	case !e.owned:
		return refuse(
			fmt.Sprintf("table %s belongs to %s, of which forebay's role is no member, so forebay may not publish it", e.quoted, e.owner),
			fmt.Sprintf("give it to a role that forebay's is a member of: run ALTER TABLE %[1]s OWNER TO %[3]s; or, if %[2]s is no superuser, GRANT %[2]s TO %[3]s;", e.quoted, e.owner, e.role),
		)
	case e.usable:
		return nil
	case e.identity == 'n':
		return refuse(
			fmt.Sprintf("table %s has REPLICA IDENTITY NOTHING, and publishing it would make its UPDATEs and DELETEs fail", e.quoted),
			fmt.Sprintf("run ALTER TABLE %s REPLICA IDENTITY DEFAULT; if it has a primary key, or FULL", e.quoted),
		)
	case e.identity == 'i':
		return refuse(
			fmt.Sprintf("table %s has lost the index of its replica identity, and publishing it would make its UPDATEs and DELETEs fail", e.quoted),
			fmt.Sprintf("run ALTER TABLE %s REPLICA IDENTITY DEFAULT; if it has a primary key, or FULL", e.quoted),
		)
	}
	return refuse(
		fmt.Sprintf("table %s has no primary key, and publishing it would make its UPDATEs and DELETEs fail", e.quoted),
		fmt.Sprintf("add a primary key, or run ALTER TABLE %s REPLICA IDENTITY FULL;", e.quoted),
	)
}

// unheard returns why nothing can tell of the relation's changes; nil if something can.
func (e *entry) unheard() *refusal {
	const ttl = "responses that read it are bounded by their ttl"
	switch {
	case e.oid < firstUserOid:
		return refuse(fmt.Sprintf("%s is of the server's own catalogue", e.quoted), ttl)
	case strings.IndexByte("rpvmfS", e.kind) < 0:
		return refuse(fmt.Sprintf("%s is no table", e.quoted), ttl)
	case e.kind == 'f':
		return refuse(fmt.Sprintf("foreign table %s changes on another server", e.quoted), ttl)
	case e.kind == 'S':
		return refuse(fmt.Sprintf("sequence %s changes outside of transactions", e.quoted), ttl)
	case e.persistence == 't':
		return refuse(fmt.Sprintf("%s is temporary", e.quoted), ttl)
	case e.persistence == 'u':
		return refuse(
			fmt.Sprintf("unlogged table %s leaves no trace in the write-ahead log", e.quoted),
			fmt.Sprintf("run ALTER TABLE %s SET LOGGED; or leave its responses to their ttl", e.quoted),
		)
	}
	return nil
}

// refreshed returns why a materialized view cannot be followed.
func (e *entry) refreshed() *refusal {
	return refuse(
		fmt.Sprintf("materialized view %s changes with its REFRESH, which the write-ahead log does not tell of", e.quoted),
		"install the event triggers with `forebay changes install`, or leave its responses to their ttl",
	)
}
