package postgres

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Functions of the server that decide, when they are called, how a rule is judged.
var (
	// unsteady give another result without any change to the data.
	unsteady = []string{
		"random", "random_normal", "nextval", "setval", "clock_timestamp", "timeofday", "gen_random_uuid", "uuidv4",
		"uuidv7", "pg_current_xact_id", "txid_current", "pg_backend_pid",
	}
	// outside read what is in no table. So do all that begin with pg_, but for what is in harmless.
	outside = []string{
		"currval", "lastval", "lo_get", "loread", "lo_open", "lo_lseek", "lo_tell", "txid_current_if_assigned",
		"txid_current_snapshot", "txid_status", "current_query", "inet_client_addr", "inet_client_port",
	}
	// harmless are told by their arguments alone, or by rights, which are watched.
	harmless = []string{
		"pg_typeof", "pg_column_size", "pg_column_compression", "pg_collation_for", "pg_size_pretty", "pg_size_bytes",
		"pg_input_is_valid", "pg_input_error_info", "pg_char_to_encoding", "pg_encoding_to_char", "pg_client_encoding",
		"pg_wal_lsn_diff", "pg_lsn", "pg_snapshot", "pg_snapshot_xmin", "pg_snapshot_xmax", "pg_snapshot_xip",
		"pg_visible_in_snapshot", "pg_has_role", "pg_sleep", "pg_sleep_for", "pg_sleep_until", "pg_get_keywords",
		"pg_timezone_names", "pg_timezone_abbrevs", "pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_xact_lock",
		"pg_advisory_xact_lock_shared", "pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all",
	}
	// running take SQL or names of tables as values.
	running = []string{
		"query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "table_to_xml", "table_to_xmlschema",
		"table_to_xml_and_xmlschema", "schema_to_xml", "schema_to_xml_and_xmlschema", "database_to_xml",
		"database_to_xml_and_xmlschema", "cursor_to_xml", "ts_stat", "ts_rewrite",
	}
)

// verdict is what follows from the functions that texts reach.
type verdict struct {
	every bool   // what is read may differ from run to run: look each time
	ttl   string // why changes cannot be followed; "" if they can
	timed string // how the answer depends on the time of day, for people; "" if it does not

	reached []string // names of the functions, in lower case
	// inlined are functions that do not matter if no plan calls them: then they are SQL like the rest.
	inlined []string
}

// reaching walks from texts to the functions they name, and on through these functions' own texts.
type reaching struct {
	all      *functions
	pure     bool // the rule says that IMMUTABLE functions read no tables
	declared bool // the rule names its tables itself
	seen     map[*function]bool
	read     []string // the texts, without what stands in their strings where that is never run
	plans    bool     // what the text calls shows in a plan: it is the rule's, or of a function that is inlined
	verdict  verdict
}

// judge tells what follows from the texts of a rule: its statements, and the views and policies in them.
func (all *functions) judge(texts []string, pure, declared bool) verdict {
	r := &reaching{all: all, pure: pure, declared: declared, plans: true, seen: make(map[*function]bool)}
	for _, text := range texts {
		r.text(text)
		r.tell(text, false)
		r.read = append(r.read, withoutStrings(text))
	}
	ttl, timed := r.verdict.ttl, r.verdict.timed
	r.plans = false
	for _, f := range all.hidden {
		r.function(f, true)
	}
	for again := true; again; {
		again = false
		for _, f := range all.operators {
			if !r.seen[f] && r.writes(f.operators) {
				r.function(f, true)
				again = true
			}
		}
	}
	// Whether the rule touches the types of these casts and operators is not known: looking each time is enough.
	r.verdict.every = r.verdict.every || r.verdict.ttl != ttl
	r.verdict.ttl, r.verdict.timed = ttl, timed
	for f := range r.seen {
		r.verdict.reached = append(r.verdict.reached, f.name)
	}
	return r.verdict
}

// tell notes what the text says of the time of day.
func (r *reaching) tell(text string, inStrings bool) {
	if r.verdict.timed == "" {
		r.verdict.timed = timed(text, inStrings)
	}
}

func (r *reaching) text(text string) {
	w := wordsOf(text)
	if strings.Contains(strings.ToLower(text), `u&"`) {
		r.verdict.every = true // a name in escapes
	}
	r.builtins(w)
	for _, word := range slices.Sorted(maps.Keys(w)) {
		for _, f := range r.all.byName[word] {
			r.function(f, w[word])
		}
	}
	for _, f := range r.all.odd {
		if strings.Contains(strings.ToLower(text), f.name) {
			r.function(f, true)
		}
	}
}

// writes reports whether one of the operators stands in a text that was read.
func (r *reaching) writes(operators []string) bool {
	return slices.ContainsFunc(operators, func(operator string) bool {
		return slices.ContainsFunc(r.read, func(text string) bool { return strings.Contains(text, operator) })
	})
}

func (r *reaching) builtins(w words) {
	for _, name := range unsteady {
		if w[name] {
			r.refuse(fmt.Sprintf("%s() gives another result without any change", name))
		}
	}
	for _, name := range outside {
		if w[name] {
			r.refuse(fmt.Sprintf("%s() reads what is in no table", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if w[name] && strings.HasPrefix(name, "pg_") && len(r.all.byName[name]) == 0 &&
			!slices.Contains(harmless, name) && !slices.Contains(unsteady, name) {
			r.refuse(fmt.Sprintf("%s() reads the state of the server, which is in no table", name))
		}
	}
	r.verdict.every = r.verdict.every || slices.ContainsFunc(running, func(name string) bool { return w[name] })
}

// function judges one that was named, and follows what it names. A name without a call may be a column.
func (r *reaching) function(f *function, called bool) {
	if r.seen[f] && !called && (r.plans || !f.inlines) {
		return
	}
	again := r.seen[f]
	r.seen[f] = true
	reason := r.reason(f)
	switch {
	case reason != "" && called:
		r.refuse(reason)
	case reason != "":
		r.verdict.every = true
	case f.compiled():
		r.verdict.every = r.verdict.every || f.volatility == 's'
	case f.inlines && r.plans && !f.plain():
		r.verdict.inlined = append(r.verdict.inlined, f.name)
	case !f.plain() && !(f.volatility == 'i' && r.pure):
		r.verdict.every = true
	}
	if !again {
		plans := r.plans
		r.plans = plans && f.inlines && !f.plain()
		r.tell(f.source, true)
		r.text(f.source)
		r.text(f.support)
		r.plans = plans
		r.read = append(r.read, f.source)
	}
}

// reason returns why what the function reads cannot be known; "" if it can.
//
// An IMMUTABLE function is folded when the statement is planned, so a new snapshot may come home with an
// old body. C and untrusted languages reach anything.
func (r *reaching) reason(f *function) string {
	switch {
	case f.compiled() && f.support != "":
		return "" // an aggregate is what it is made of
	case f.compiled():
		if f.volatility == 'v' && !r.declared {
			return fmt.Sprintf("%s() is compiled and volatile, and may read anything; declare its tables with depends_on", f.name)
		}
	case f.plain():
	case !f.trusted && f.language != "sql":
		if !r.declared {
			return fmt.Sprintf("%s() is written in %s, which may read anything; declare its tables with depends_on", f.name, f.language)
		}
	case f.volatility == 'i' && !r.pure:
		return fmt.Sprintf("%s() is IMMUTABLE and may read tables; declare it STABLE, or the rule pure if it reads none", f.name)
	}
	return ""
}

func (r *reaching) refuse(reason string) {
	if r.verdict.ttl == "" {
		r.verdict.ttl = reason
	}
}
