package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// look is how closely a fill looks at what it depends on.
type look uint8

const (
	// trusting takes what was found before.
	trusting look = iota
	// atLocks is enough for SQL alone, which locks everything in every branch.
	atLocks
	// atAll looks at what was scanned, too: a function that handled an exception has let go of the locks
	// it took before, and shows 0 rows read.
	atAll
)

// locksQuery lists what the transaction has locked. It names no relation itself, so that what it finds
// is the rule's alone. $1 is the database's oid. Catalogues that databases share are locked in database 0.
const locksQuery = `select coalesce(pg_catalog.string_agg(distinct l.relation::text, ','), '')
from pg_catalog.pg_lock_status() l
where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.database in ($1::pg_catalog.oid, 0)`

// scansQuery lists how often the session has scanned each table since it last sent its statistics off,
// which happens between transactions only, and not after each: so it is asked before and after. It says so where
// nothing is counted: whoever may can switch track_counts off under a session.
const scansQuery = `select case when not pg_catalog.current_setting('track_counts')::pg_catalog.bool then '` + uncounted + `' else coalesce(pg_catalog.string_agg(coalesce(i.indrelid, c.oid)::text || ':' || c.oid || ':' || c.scans, ','), '') end
from (select c.oid, pg_catalog.pg_stat_get_xact_numscans(c.oid) as scans from pg_catalog.pg_class c where c.oid >= 16384) c
left join pg_catalog.pg_index i on i.indexrelid = c.oid
where c.scans > 0`

// uncounted is scansQuery's answer where scans are not counted.
const uncounted = "off"

// scansCatalogues are what scansQuery itself locks: pg_class and pg_index.
var scansCatalogues = []uint32{1259, 2610}

// sight is what a look found.
type sight struct {
	relations []relation // that a response can depend on
	catalogue bool       // the server's own catalogue was read, whose changes nobody hears of
	uncounted bool       // what functions have let go of is not known
}

// touched returns the oids of what was locked, or scanned between the two counts.
func touched(locks, before, after string) ([]uint32, error) {
	oids, err := parseOids(locks)
	if err != nil {
		return nil, err
	}
	counted := make(map[string]string)
	for scan := range strings.SplitSeq(before, ",") {
		table, count := cutLast(scan)
		counted[table] = count
	}
	for scan := range strings.SplitSeq(after, ",") {
		table, count := cutLast(scan)
		if table == "" || counted[table] == count { // uncounted, too, has no table
			continue
		}
		oid, err := strconv.ParseUint(table[:strings.IndexByte(table+":", ':')], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read scans: %w", err)
		}
		oids = append(oids, uint32(oid))
	}
	slices.Sort(oids)
	return slices.Compact(oids), nil
}

func cutLast(s string) (before, after string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", ""
	}
	return s[:i], s[i+1:]
}

// see keeps what a response can depend on. Everything that looked at all includes scansQuery's own locks.
func see(relations []relation, looked look) sight {
	var s sight
	for _, r := range relations {
		switch {
		case !r.dependable(): // an index of the catalogue goes with its table
		case r.oid >= firstUserOid:
			s.relations = append(s.relations, r)
		case !(looked == atAll && slices.Contains(scansCatalogues, r.oid)):
			s.catalogue = true
		}
	}
	return s
}

// oidsOf returns the relations' oids, in their order.
func oidsOf(relations []relation) []uint32 {
	list := make([]uint32, len(relations))
	for i, r := range relations {
		list[i] = r.oid
	}
	return list
}
