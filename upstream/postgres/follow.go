package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"forebay/cache"
	"forebay/rules"
)

// Feed is what hears of the changes that others make. Both methods may be called from any goroutine.
type Feed interface {
	// Watch replaces the set of relations whose changes are wanted, each with the columns by which its rows
	// should be told apart. It does not block and owns the map from then on.
	Watch(wanted map[uint32][]int16)
	// Wait returns true when the transaction came in and is marked in the log, and false when ctx ended or
	// nothing comes in.
	Wait(ctx context.Context, xid uint64) bool
}

// Server says which server a connection leads to, and since when it runs.
type Server struct {
	System   string // system identifier; "" where the role may not know it
	Timeline string // eight hexadecimal digits
	Started  string // the server's start, in seconds since 1970
	Database uint32 // oid
}

// following is what the database has asked the feed to follow. Safe for concurrent use through Database.
type following struct {
	feed      Feed
	uncovered func(oid uint32) string
	server    func() (Server, bool)
	surveys   atomic.Int32       // under way: they ask for all their rules, every followEvery and when they have ended
	judged    atomic.Int32       // rules that the survey under way is through with
	rules     atomic.Int32       // that it is to judge; 0: none is under way
	wanted    map[uint32][]int16 // guarded by the database's mu
}

// followEvery is how often a survey has the feed follow what its rules were found to read so far. Each time the
// publication is changed, which is no small thing for the server.
const followEvery = 250 * time.Millisecond

// Survey finds out what the rules read and how batches are sent, without running them, and has the feed follow it: so that the first
// response may be stored already. Rules that were surveyed before and are not among these are let go of once
// nobody calls them. It returns what could not be looked at; fills will look then.
func (d *Database) Survey(ctx context.Context, rs []*rules.Rule) error {
	surveyed := make(map[*rules.Rule]bool)
	var failures []error
	defer d.followMeanwhile()()
	d.following.judged.Store(0)
	d.following.rules.Store(int32(len(rs)))
	defer d.following.rules.Store(0)
	d.vantages.keepOnly(rs)
	for i, r := range rs {
		d.following.judged.Store(int32(i))
		if r.Query == nil && r.Primary && r.Stores() {
			if _, err := d.Vantage(ctx, r); err != nil {
				failures = append(failures, fmt.Errorf("find the tables of rule %q: %w", r.Name, err))
			}
		}
		look := (*session).survey
		if r.Batch != nil {
			look = (*session).surveyBulk
		}
		if r.Query == nil || !r.Stores() && r.Batch == nil {
			continue
		}
		surveyed[r] = true
		k := d.know(r)
		k.surveyed.Store(true)
		err := d.run(ctx, func(ctx context.Context, s *session) error { return look(s, ctx, k) })
		if err != nil {
			err = fmt.Errorf("survey rule %q: %w", r.Name, err)
			if isFailure(classOf(err)) || ctx.Err() != nil {
				failures = slices.Insert(failures, 0, err) // first: it is the one that may pass
				break
			}
			failures = append(failures, err)
		}
	}
	d.known.Range(func(r, k any) bool {
		k.(*knowledge).surveyed.Store(surveyed[r.(*rules.Rule)])
		return true
	})
	return errors.Join(failures...)
}

// Judging returns how many rules a survey is through with, and of how many; 0 of 0 if none is under way. Of the others
// nothing is stored until somebody has asked for it, or the survey has come to them.
func (d *Database) Judging() (judged, rules int) {
	rules = int(d.following.rules.Load())
	return min(int(d.following.judged.Load()), rules), rules
}

// followMeanwhile has the feed follow what is found out from now on, from time to time; and from the end on at once,
// and no more than is wanted. Rules that were asked for before the survey came to them are among these.
func (d *Database) followMeanwhile() (end func()) {
	d.following.surveys.Add(1)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(followEvery)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				d.want(true)
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
		d.following.surveys.Add(-1)
		d.follow()
	}
}

// survey makes a finding of a rule without running it.
func (s *session) survey(ctx context.Context, k *knowledge) error {
	since, generation := s.db.compared.Load(), s.db.catalogue.generation.Load()
	e, err := s.examine(ctx, k)
	if err != nil {
		return err
	}
	relations, err := s.relations(ctx, e.oids)
	if err != nil {
		return err
	}
	f, err := s.conclude(ctx, k, see(relations, atLocks), e, generation, since)
	if err != nil {
		return err
	}
	s.db.publish(k, f, s.db.clock.Now()-cache.Instant(lookAgain)) // the first fill looks at the locks
	return nil
}

// follow asks the feed for what all rules together depend on, if that is something else than before.
func (d *Database) follow() {
	if d.primary != nil {
		d.primary.follow()
		return
	}
	if d.following.surveys.Load() == 0 {
		d.want(false)
	}
}

// want asks the feed for what all rules together depend on; with what was asked for before, if that is kept: rules that
// are yet to be judged may depend on it.
func (d *Database) want(kept bool) {
	if d.following.feed == nil {
		return
	}
	wanted := make(map[uint32][]int16)
	d.eachKnown(func(r, k any) bool {
		f := k.(*knowledge).found.Load()
		if f == nil || f.ttl || r.(*rules.Rule).Freshness == rules.TTLOnly {
			return true
		}
		for _, oid := range f.heard {
			columns := wanted[oid]
			for i := range f.rows[oid] {
				if n := f.rows[oid][i].column; f.byRows() && !slices.Contains(columns, n) {
					columns = append(columns, n)
				}
			}
			slices.Sort(columns)
			wanted[oid] = columns
		}
		return true
	})
	d.vantages.want(wanted)
	d.mu.Lock()
	defer d.mu.Unlock()
	if kept {
		for oid, columns := range d.following.wanted {
			columns = slices.Concat(columns, wanted[oid])
			slices.Sort(columns)
			wanted[oid] = slices.Compact(columns)
		}
	}
	if !maps.EqualFunc(d.following.wanted, wanted, slices.Equal) {
		d.following.wanted = maps.Clone(wanted)
		d.following.feed.Watch(wanted)
	}
}

// admit asks the log whether the changes that the fill has not seen will be heard of. Of a rule that is on its TTL they
// need not be: the writes through this process outdate it all the same, and whatever else is heard of its tables.
func (f *filling) admit(found *finding, touched []relation) {
	if f.feed.Mode == cache.FeedOff || found.ttl || f.call.Rule.Freshness == rules.TTLOnly {
		return
	}
	if f.feed.Live && !f.readsStandby() && !(f.s.comparable() && f.d.leadsToTheFeed()) {
		f.refuse(cache.RefusedSnapshot)
		return
	}
	heard := found.heard
	if found.every {
		heard = found.hearing(touched)
	}
	f.refuse(f.d.admit(f.fill.Asked, f.fill.Snapshot, heard, f.feed))
}

// admit is cache.ChangeLog.Admit for those of the tables whose changes the feed brings or may yet bring. Of the
// others nobody but this process's own writes will ever tell, and the TTL bounds the rest: they are no reason
// not to store.
func (d *Database) admit(asked cache.Position, s cache.Snapshot, heard []uint32, feed *cache.Feed) cache.Refusal {
	refusal := d.log.Admit(asked, s, heard)
	if refusal != cache.RefusedFeed || !feed.Live {
		return refusal
	}
	if reason, forGood := d.unheardOf(heard, feed); !forGood || reason == "" {
		return refusal
	}
	covered := slices.DeleteFunc(slices.Clone(heard), func(oid uint32) bool {
		_, ok := feed.Covered[oid]
		return !ok
	})
	return d.log.Admit(asked, s, covered)
}

// refuse has the fill not stored; the first reason stays.
func (f *filling) refuse(why cache.Refusal) {
	if f.fill.Refused == cache.Storable {
		f.fill.Refused = why
	}
}

// leadsToTheFeed reports whether the pool's server is the one whose changes are heard of.
func (d *Database) leadsToTheFeed() bool {
	if d.following.server == nil {
		return true
	}
	theirs, known := d.following.server()
	ours := d.server.facts()
	return known && theirs == Server{System: ours.system, Timeline: ours.timeline, Started: ours.started, Database: ours.database}
}

// unheardOf returns why changes to one of these relations are not heard of, and whether that is so for good:
// not only until the feed has come to follow it.
func (d *Database) unheardOf(oids []uint32, feed *cache.Feed) (reason string, forGood bool) {
	forGood = true
	for _, oid := range oids {
		if _, covered := feed.Covered[oid]; covered {
			continue
		}
		why := ""
		if d.following.uncovered != nil {
			why = d.following.uncovered(oid)
		}
		if r, ok := d.catalogue.relation(oid); ok && why == "" {
			why = r.unheard()
		}
		if why == "" {
			forGood = false
		} else if reason == "" {
			reason = why
		}
	}
	return reason, forGood
}
