package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"forebay/cache"
	"forebay/rules"
)

// lookAgain is how long what a rule depends on is taken for known while nothing has changed in the
// catalogue, as far as anybody noticed.
const lookAgain = 10 * time.Second

const ownCatalogue = "it reads the server's own catalogue, whose changes nobody hears of"

// knowledge is what is known of a rule: its statements, and what its answers depend on. Safe for
// concurrent use.
type knowledge struct {
	rule       *rules.Rule
	statements []*statement
	used       atomic.Int64 // cache.Instant of the last call
	looking    atomic.Bool  // one fill is looking again
	rests      atomic.Int64 // cache.Instant until which it is not asked here; of a standby
	alone      atomic.Bool  // its statement cannot run in a transaction
	surveyed   atomic.Bool  // it is of the configuration in effect
	bulk       atomic.Pointer[bulk]

	mu    sync.Mutex // guards the order of what is stored in found
	found atomic.Pointer[finding]
}

// finding is what looking at a rule found. Immutable; safe for concurrent use.
type finding struct {
	generation uint64      // of the catalogue
	since      *comparison // after which what was found was read
	at         cache.Instant
	relations  []relation // sorted by oid; of an every-fill rule, all that any fill has touched
	named      []uint32   // of relations, see withoutAbove; nil: not known
	declared   []uint32
	every      bool
	ttl        bool
	reason     string
	timed      string                    // how it depends on the time of day; "" if it does not
	rows       map[uint32][]rowCondition // the rows that are read of a table, where they can be told apart
	whole      map[uint32]string         // why they cannot, of others
	tops       []relation                // of relations: what responses depend on
	tables     []string                  // names of the relations
	depends    []cache.Dependency        // of a response that touched all of relations, as wholes
	heard      []uint32                  // of relations and declared: those whose changes have to be heard of
}

// errUncounted : scans were counted when the rule was looked at first, and are not now.
var errUncounted = errors.New("track_counts was switched off, and what functions read cannot be known without")

// know returns what is known of the rule.
func (d *Database) know(r *rules.Rule) *knowledge {
	now := int64(d.clock.Now())
	if k, ok := d.known.Load(r); ok {
		k := k.(*knowledge)
		k.used.Store(now)
		return k
	}
	fresh := &knowledge{rule: r}
	for i := range r.Query.Statements {
		fresh.statements = append(fresh.statements, newStatement(r, &r.Query.Statements[i]))
	}
	fresh.used.Store(now)
	k, _ := d.known.LoadOrStore(r, fresh)
	return k.(*knowledge)
}

// look decides how closely the next fill has to look.
func (d *Database) look(k *knowledge, now cache.Instant) look {
	f := k.found.Load()
	switch {
	case !k.rule.Stores():
		return trusting
	case f == nil || f.every || f.generation != d.catalogue.generation.Load():
		return atAll
	case now.Sub(f.at) > lookAgain && k.looking.CompareAndSwap(false, true):
		return atLocks
	}
	return trusting
}

// conclude makes a finding of the first look in a catalogue state. Planned is what examining the rule after since found;
// nil: nobody has.
func (s *session) conclude(ctx context.Context, k *knowledge, seen sight, planned *examination, generation uint64, since *comparison) (*finding, error) {
	f := &finding{generation: generation, since: since, relations: seen.relations}
	var err error
	if f.declared, err = s.resolve(ctx, k.rule.DependsOn); err != nil {
		return nil, err
	}
	texts, err := s.definitions(ctx, oidsOf(seen.relations))
	if err != nil {
		return nil, err
	}
	for _, st := range k.statements {
		texts = append(texts, st.sql)
	}
	all, err := s.functions(ctx)
	if err != nil {
		return nil, err
	}
	v := all.judge(texts, k.rule.Pure, len(f.declared) > 0)
	f.every, f.reason, f.ttl, f.timed = v.every, v.ttl, v.ttl != "", v.timed
	if !f.ttl && !f.every {
		if f.every, err = s.tellRows(ctx, k, f, planned, v); err != nil {
			return nil, err
		}
	}
	switch {
	case f.ttl:
	case seen.catalogue:
		f.ttl, f.reason = true, ownCatalogue
	case f.every && (seen.uncounted || !s.db.server.facts().counting):
		f.ttl, f.reason = true, "it reaches a function, and what functions read cannot be known with track_counts off"
	default:
		f.reason = unheard(seen.relations)
	}
	return f, nil
}

// tellRows finds out of which tables a rule of SQL alone reads certain rows only. A statement that cannot
// be looked at so depends on whole tables. It reports whether one of the functions, which the planner may have
// put its text in the place of, is called all the same: then it is not SQL alone.
func (s *session) tellRows(ctx context.Context, k *knowledge, f *finding, e *examination, v verdict) (calls bool, err error) {
	functions := v.inlined
	if e == nil {
		e, err = s.examine(ctx, k)
	}
	if err == nil {
		err = s.tellApart(ctx, k, e, f.relations, v)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !s.pg.IsClosed() {
		return len(functions) > 0, nil
	}
	if err != nil || slices.ContainsFunc(functions, func(name string) bool { return e.words[name] }) {
		return true, err
	}
	f.rows, f.whole = e.rows, e.whole
	if len(functions) == 0 {
		f.named = e.named
		f.relations = withoutAbove(f.relations, f.named)
	}
	return false, nil
}

// unheard returns the changes that pass unnoticed, if any.
func unheard(relations []relation) string {
	var list []string
	for _, r := range relations {
		if reason := r.unheard(); reason != "" {
			list = append(list, reason)
		}
	}
	return strings.Join(list, "; ")
}

const definitionsQuery = `select pg_catalog.pg_get_viewdef(c.oid) from pg_catalog.pg_class c where c.oid = any ($1::pg_catalog.oid[]) and c.relkind = 'v'
union all
select coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '') || ' ' || coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '')
from pg_catalog.pg_policy p where p.polrelid = any ($1::pg_catalog.oid[])
union all
select coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') from pg_catalog.pg_attrdef d
join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
where d.adrelid = any ($1::pg_catalog.oid[]) and a.attgenerated = 'v'`

// definitions returns the texts of the views among the relations, of their policies and of columns that
// are computed when they are read.
func (s *session) definitions(ctx context.Context, oids []uint32) ([]string, error) {
	answer := s.pg.ExecParams(ctx, definitionsQuery, [][]byte{oidArray(oids)}, nil, nil, nil).Read()
	if answer.Err != nil {
		return nil, fmt.Errorf("read views and policies: %w", answer.Err)
	}
	texts := make([]string, len(answer.Rows))
	for i, row := range answer.Rows {
		texts[i] = string(row[0])
	}
	return texts, nil
}

// publish makes a finding known, united with what was found before, and outdates what was stored under
// less. Schedule that the order closes:
//
//	fill:    asks the log for its position, then takes the old finding
//	publish: stores the new finding, then purges the rule
//	fill:    stands on the old set, and has asked before the purge: outdated
func (d *Database) publish(k *knowledge, f *finding, now cache.Instant) *finding {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.found.Load()
	united := *f
	united.at = now
	var known []relation
	if before != nil {
		known = before.relations
	}
	relations, grown := unite(known, f.relations)
	if before == nil || before.generation == f.generation {
		united.relations = relations
	}
	if before != nil && before.generation == f.generation && before.since.before(united.since) {
		united.since = before.since
	}
	united.tops = tops(united.relations)
	united.tables = names(united.relations)
	united.depends = united.dependencies(united.tops)
	united.heard = united.hearing(united.relations)
	k.found.Store(&united)
	if before == nil {
		d.follow()
		return &united
	}
	otherwise := before.ttl != f.ttl || before.every != f.every || !slices.Equal(before.declared, f.declared) ||
		!maps.EqualFunc(before.rows, f.rows, slices.Equal)
	if otherwise || grown && !f.every {
		d.log.Purge(cache.Purge{Dependencies: []cache.Dependency{cache.Rule(k.rule.Name)}})
		d.metrics.grown.Inc()
	}
	if otherwise || !slices.Equal(before.heard, united.heard) {
		d.follow()
	}
	return &united
}

// again returns the finding after another look at the locks of a rule of SQL alone. The first look, which
// asked for scans as well, could not tell whether the rule reads pg_class itself.
func (f *finding) again(seen sight) *finding {
	next := *f
	next.relations = withoutAbove(seen.relations, f.named)
	if seen.catalogue && !f.ttl {
		next.ttl, next.reason = true, ownCatalogue
	}
	return &next
}

// unite returns all relations of both, sorted, and whether found brought a dependency. A partition whose
// ancestor was known brings none: whoever writes to it marks its ancestors, too.
func unite(known, found []relation) (all []relation, grown bool) {
	all = slices.Clone(known)
	for _, r := range found {
		has := func(oid uint32) bool {
			return slices.ContainsFunc(known, func(k relation) bool { return k.oid == oid })
		}
		if has(r.oid) {
			continue
		}
		all = append(all, r)
		grown = grown || !slices.ContainsFunc(r.ancestors, has)
	}
	slices.SortFunc(all, func(a, b relation) int { return int(int64(a.oid) - int64(b.oid)) })
	return all, grown
}

// dependencies returns what a response depends on that touched these relations.
func (f *finding) dependencies(touched []relation) []cache.Dependency {
	oids := append(oidsOf(touched), f.declared...)
	slices.Sort(oids)
	return dependenciesOf(slices.Compact(oids))
}

// hearing returns what of these relations, and of the declared ones, has changes that somebody must tell of.
// A view has none but those of the catalogue, which are watched.
func (f *finding) hearing(touched []relation) []uint32 {
	list := slices.Clone(f.declared)
	for _, r := range touched {
		if r.kind != 'v' {
			list = append(list, r.oid)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
