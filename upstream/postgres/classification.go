package postgres

import (
	"slices"
	"strings"

	"forebay/cache"
	"forebay/rules"
)

// By what a rule's responses are outdated: values of Classification.By.
const (
	ByRows   = "rows"   // rows of every table that it reads
	ByTables = "tables" // a table as a whole, at least one
	ByFills  = "fills"  // the tables that each fill was found to read
	ByTTL    = "ttl"    // time and purges alone
)

// Classification says how far a rule's answers are outdated by the changes under them. Its String and Basis are
// for people, and what check, doctor, explain and /rules say.
type Classification struct {
	Known     bool   // false before the rule's first fill or survey
	Freshness string // exact, bounded or ttl; own writes: changes made elsewhere are not heard of; none: it stores nothing
	By        string // ByRows, ByTables, ByFills or ByTTL; "" while it is not known
	Exact     bool   // false: by time and purges only
	EveryFill bool   // what it depends on is looked at on every fill, since it reaches a function
	Timed     bool   // its answer depends on the time of day, too: changes outdate it, and so does its TTL
	Reason    string // why not exact, which changes nobody hears of, or what time does; empty if there is nothing to say
	Tables    []string
	Rows      []string // of Tables: those of which certain rows alone matter, as in "clients[id]"
	Whole     []string // why rows of the others are not told apart, as in "orders: …"

	own bool // writes through forebay outdate it, others' do not
}

// String says all of it in a sentence, as in "exact, by rows of clients[id]".
func (c Classification) String() string {
	switch {
	case c.Freshness == none:
		return c.Reason
	case c.By == ByTTL && c.own:
		return "by its TTL and writes through forebay: " + c.Reason
	case c.By == ByTTL:
		return "by its TTL alone: " + c.Reason
	case !c.Known:
		return "what it reads is not known yet"
	}
	text := c.Freshness
	if c.own {
		text = "by its TTL and writes through forebay"
	}
	text += ", by " + c.Basis()
	if c.Reason != "" {
		text += "; " + c.Reason
	}
	return text
}

// Basis says which changes outdate it, and why not fewer; "" where none do.
func (c Classification) Basis() string {
	if c.By == ByFills {
		return "what each fill is found to read, since it reaches a function; so far " + orNothing(c.Tables)
	}
	var parts []string
	if len(c.Rows) > 0 {
		parts = append(parts, "rows of "+strings.Join(c.Rows, ", "))
	}
	for _, whole := range c.Whole {
		table, why, _ := strings.Cut(whole, ": ")
		parts = append(parts, "all of "+table+" ("+why+")")
	}
	if len(parts) == 0 && c.By == ByTables {
		return "no table, since it reads none"
	}
	return strings.Join(parts, ", and ")
}

func orNothing(tables []string) string {
	if len(tables) == 0 {
		return "nothing"
	}
	return strings.Join(tables, ", ")
}

const (
	none      = "none"
	ownWrites = "own writes"
)

// Classification returns how the rule's answers are judged, as far as its survey and its fills have shown.
func (d *Database) Classification(r *rules.Rule) Classification {
	c := Classification{Freshness: r.Freshness.String()}
	var f *finding
	if k, ok := d.known.Load(r); ok {
		f = k.(*knowledge).found.Load()
	}
	if f != nil {
		c.Known, c.Exact, c.EveryFill, c.Timed, c.Reason, c.Tables = true, !f.ttl, f.every, f.timed != "", f.reason, f.tables
	}
	switch {
	case !r.Stores():
		c.Freshness, c.Exact, c.By, c.Reason = none, false, ByTTL, "it stores nothing"
	case r.Freshness == rules.TTLOnly:
		c.Exact, c.By, c.Reason = false, ByTTL, "the configuration says so"
	case f != nil:
		d.classify(&c, f)
	}
	return c
}

// classify tells how a rule is judged of which it is known what it reads.
func (d *Database) classify(c *Classification, f *finding) {
	feed := d.log.Feed()
	if c.Exact && feed.Mode != cache.FeedOff && feed.Live {
		reason, forGood := d.unheardOf(f.heard, feed)
		c.Reason, c.Exact = reason, reason == "" || !forGood
	}
	if !c.Exact {
		c.Freshness, c.By, c.own = ByTTL, ByTTL, true
		return
	}
	c.Rows, c.Whole = d.rowsOf(f)
	switch {
	case f.every:
		c.By = ByFills
	case len(c.Whole) == 0 && len(c.Rows) > 0:
		c.By = ByRows
	default:
		c.By = ByTables
	}
	if feed.Mode == cache.FeedOff {
		c.Freshness, c.own = ownWrites, true
		c.also(feed.Reason)
	}
	if c.Timed {
		c.also(timedReason(f.timed))
	}
}

// also adds a reason.
func (c *Classification) also(reason string) {
	c.Reason = strings.Trim(c.Reason+"; "+reason, "; ")
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
			untold := ""
			columns := make([]string, len(conditions))
			for i := range conditions {
				columns[i] = conditions[i].name
				if feed.Mode != cache.FeedOff && feed.Live && !slices.Contains(feed.Covered[r.oid].Columns, conditions[i].column) {
					untold = conditions[i].name
				}
			}
			if untold != "" {
				whole = append(whole, r.String()+": the stream does not tell its rows apart by "+untold)
			} else {
				rows = append(rows, r.String()+"["+strings.Join(columns, ",")+"]")
			}
		}
	}
	return rows, whole
}
