package postgres

import (
	"slices"
	"strings"

	"forebay/cache"
	"forebay/rules"
)

// Classification says how far a rule's answers are outdated by the changes under them.
type Classification struct {
	Known     bool   // false before the rule's first fill or survey
	Exact     bool   // false: by time and purges only
	EveryFill bool   // what it depends on is looked at on every fill, since it reaches a function
	Timed     bool   // its answer depends on the time of day, too: changes outdate it, and so does its TTL
	Reason    string // why not exact, or which changes nobody hears of; empty if there is nothing to say
	Tables    []string
	Rows      []string // of Tables: those of which certain rows alone matter, as in "clients[id]"
	Whole     []string // why rows of the others are not told apart, as in "orders: …"
}

// Classification returns how the rule's answers are judged, as far as its survey and its fills have shown.
func (d *Database) Classification(r *rules.Rule) Classification {
	k, ok := d.known.Load(r)
	if !ok {
		return Classification{}
	}
	f := k.(*knowledge).found.Load()
	if f == nil {
		return Classification{}
	}
	c := Classification{Known: true, Exact: !f.ttl, EveryFill: f.every, Timed: f.timed != "", Reason: f.reason, Tables: f.tables}
	if feed := d.log.Feed(); c.Exact && feed.Mode != cache.FeedOff && feed.Live {
		if reason, forGood := d.unheardOf(f.heard, feed); reason != "" {
			c.Exact, c.Reason = !forGood, reason
		}
	}
	if c.Exact {
		c.Rows, c.Whole = d.rowsOf(f)
	}
	if c.Exact && c.Timed {
		c.Reason = strings.TrimPrefix(c.Reason+"; "+timedReason(f.timed), "; ")
	}
	return c
}

// rowsOf tells of which tables certain rows matter, and why not of the others.
func (d *Database) rowsOf(f *finding) (rows, whole []string) {
	feed := d.log.Feed()
	for _, r := range f.tops {
		switch conditions := f.rows[r.oid]; {
		case r.kind == 'v':
		case f.every:
			whole = append(whole, r.String()+": the rule reaches a function, which may read any of its rows")
		case slices.Contains(f.declared, r.oid):
			whole = append(whole, r.String()+": depends_on names the table")
		case len(conditions) == 0:
			why := f.whole[r.oid]
			if why == "" {
				why = "no condition of its own limits what is read of it"
			}
			whole = append(whole, r.String()+": "+why)
		default:
			names := ""
			for i := range conditions {
				if names += conditions[i].name; i < len(conditions)-1 {
					names += ","
				}
				if feed.Mode == cache.FeedWAL && feed.Live && !slices.Contains(feed.Covered[r.oid].Columns, conditions[i].column) {
					whole = append(whole, r.String()+": the stream does not tell its rows apart by "+conditions[i].name)
				}
			}
			rows = append(rows, r.String()+"["+names+"]")
		}
	}
	return rows, whole
}
