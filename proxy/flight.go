package proxy

import (
	"sync"
	"time"

	"forebay/cache"
)

// flights are the fetches under way, at most one per key. Safe for concurrent use.
type flights struct {
	mu  sync.Mutex // guards all below
	all map[string]*flight
	wg  sync.WaitGroup
}

// flight is one fetch that any number of requests wait for.
type flight struct {
	began cache.Instant // before anything was asked
	key   string
	done  chan struct{} // closed when landing is set; nil: nobody waits for it. Guarded by flights.mu until somebody does
	landing
}

// landing is what a flight brought home.
type landing struct {
	response *cache.StoredResponse // nil: see err
	err      error
	tier     bool   // found in the shared tier, not at the source
	detail   string // of what was found there
	stored   bool
	waited   time.Duration         // for a connection to the source
	refusal  cache.Refusal         // why it was not stored
	private  bool                  // for its own request alone: whoever joined asks for itself
	stale    *cache.StoredResponse // found in the shared tier, for emergencies only
}

func newFlights() *flights { return &flights{all: make(map[string]*flight)} }

// fetching is the work of a flight. The function that comes with the landing, if any, runs after everybody has
// been told.
type fetching func(*flight) (landing, func())

// join returns the flight of the key, opening one when there is none; then fetch is not nil, and whoever opened
// it has to start it. Prepare is called only to open one, before join returns.
func (fs *flights) join(key []byte, now cache.Instant, prepare func() fetching) (f *flight, fetch fetching) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f = fs.all[string(key)]; f != nil {
		f.mayWait()
		return f, nil
	}
	f = &flight{key: string(key), began: now}
	fs.all[f.key] = f
	fs.wg.Add(1)
	return f, prepare()
}

// mayWait makes what those who wait need. Called with the lock held.
func (f *flight) mayWait() {
	if f.done == nil {
		f.done = make(chan struct{})
	}
}

// start flies on a goroutine of the flight's own, which no request that leaves takes along.
func (fs *flights) start(f *flight, fetch fetching) {
	fs.mu.Lock()
	f.mayWait()
	fs.mu.Unlock()
	go fs.run(f, fetch)
}

// run flies on the caller's goroutine, whose stack has grown already: for fetches that keep to their time, by
// a caller that would only wait.
func (fs *flights) run(f *flight, fetch fetching) {
	after := fs.fly(f, fetch)
	if after == nil {
		fs.wg.Done()
		return
	}
	go func() {
		defer fs.wg.Done()
		after()
	}()
}

// has reports whether the key is being fetched.
func (fs *flights) has(key []byte) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.all[string(key)] != nil
}

func (fs *flights) fly(f *flight, fetch fetching) (after func()) {
	landed, after := fetch(f)
	// Out of the map before anyone learns the result: who comes from now on asks anew, so an error is
	// never handed to a later arrival.
	fs.mu.Lock()
	delete(fs.all, f.key)
	f.landing = landed
	waiting := f.done
	fs.mu.Unlock()
	if waiting != nil {
		close(waiting)
	}
	return after
}

// wait blocks until every flight has landed.
func (fs *flights) wait() { fs.wg.Wait() }

// satisfies reports whether what the flight brought may be given to a request that arrived when the log
// stood at arrived. Schedule that it closes:
//
//	flight: asks, reads the old row
//	write:  marks its change, answers its caller
//	reader: arrives, joins the flight (it must see the write)
//	flight: lands with the old row: good for those who came before the write, not for the reader
//
// That the flight asked after the change was marked proves nothing: a stream may bring a commit before
// snapshots see it (cache.Standing.Saw).
//
// Token is the position that a standby must have replayed for the reader, who may know of a commit that no log does.
func (f *flight) satisfies(arrived cache.Position, token uint64) bool {
	if f.response == nil {
		return true
	}
	s := f.response.Standing
	if s == nil || !s.Saw(arrived) {
		return false
	}
	replayed := s.Snapshot().Replayed
	return replayed == 0 || replayed >= token
}
