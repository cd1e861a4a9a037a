package redis

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"
	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
)

const (
	oraclePrefix = "o:"
	oracleChain  = oraclePrefix + "chain"
	oracleLog    = oraclePrefix + "log"
)

// Who of an instance speaks to Redis.
const (
	asReader = iota // of the chain
	asOwner
	asFollower // of the shared log
	asSender   // to it
	asGetter   // of values; Sets go by the same client
	oracleRoles
)

// oracleInstance is a forebay as far as the chain sees one: a store of ours with its log, a feed that the world
// moves, and a memory tier. What the store does by itself in goroutines, the world has it do in steps.
type oracleInstance struct {
	w        *oracleWorld
	n        int
	clock    cache.Clock
	log      *cache.ChangeLog
	store    *Store
	owner    *owner
	follower *follower
	busy     [oracleRoles]bool // a step of this kind waits for Redis
	killed   bool
	sleeps   int // until this step of the world
	server   int // of Redis, to which it is connected

	session   bool // the feed is there
	noticed   bool // that it is not
	delivered uint64
	waitFor   []*oracleTx
	beats     []oracleBeat
	feed      *cache.Feed
	covered   map[uint32]cache.Coverage
	columns   []int16 // by which its feed tells rows apart
	epochs    int

	required oracleRequired
	memory   map[*oracleKey]*oracleResponse
	fills    []*oracleFill
	sets     []*oracleResponse
}

type oracleBeat struct {
	asOf     cache.Instant
	snapshot cache.Snapshot // its Replayed is the end of the database's log
}

// oracleRequired are the stamps that what is served must have reached: of each row, and of each list for each row.
type oracleRequired [oracleTables][oracleRows]struct {
	any    uint64
	status [oracleStatuses]uint64
}

type oracleResponse struct {
	key *oracleKey
	*cache.StoredResponse
	shared bool // another instance stored it
}

type oracleFill struct {
	key          *oracleKey
	dependencies []cache.Dependency
	asked        cache.Position
	standby      bool
	snapshot     cache.Snapshot
	body         []byte
}

// newOracleInstance starts the instance of that number, which knows nothing.
func (w *oracleWorld) newOracleInstance(n int) *oracleInstance {
	i := &oracleInstance{
		w: w, n: n, clock: cache.NewClock(w.start), covered: map[uint32]cache.Coverage{}, memory: map[*oracleKey]*oracleResponse{}, noticed: true, columns: []int16{1, 2},
	}
	w.births++
	i.log = cache.NewChangeLog(i.epochName())
	var err error
	i.store, err = New(Config{URL: w.url, Prefix: oraclePrefix, Budget: time.Hour, ShareExact: true, MaxLag: time.Second},
		Deps{Log: i.log, Clock: i.clock, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	i.store.exact.chain.most = w.marks
	for role, client := range map[int]goredis.UniversalClient{
		asReader: i.store.chainClient, asFollower: i.store.tail, asSender: i.store.control, asGetter: i.store.client,
	} {
		client.AddHook(&oracleHook{i, role})
	}
	i.owner = newOwner(i.store)
	i.owner.every = 2 + w.rng.IntN(8)
	i.follower = newFollower(i.store)
	i.log.SetFeed(&cache.Feed{Mode: cache.FeedWAL, Reason: "begins"})
	if w.without.columns && n == 0 || !w.without.columns && w.rng.IntN(4) == 0 {
		i.columns = []int16{1}
	}
	return i
}

// epochName is as long each time, so that one can be put in the place of another.
func (i *oracleInstance) epochName() string {
	i.epochs++
	return fmt.Sprintf("epoch %08d/%08d", i.w.births, i.epochs)
}

// kill ends it at once, wherever it is.
func (i *oracleInstance) kill() {
	i.killed = true
	for _, client := range []goredis.UniversalClient{i.store.chainClient, i.store.tail, i.store.control, i.store.client} {
		_ = client.Close()
	}
}

// end ends it as an operator does: the chain is ended, and what waits is said.
func (i *oracleInstance) end() {
	if !i.busy[asOwner] {
		i.take(asOwner, func() { i.owner.finish(context.Background()) })
	}
	i.kill()
}

// take takes a step of a goroutine of the store, unless that one waits for Redis.
func (i *oracleInstance) take(role int, step func()) {
	if i.killed || i.busy[role] {
		return
	}
	i.busy[role] = true
	step()
	i.busy[role] = false
}

func (i *oracleInstance) readChain() {
	i.take(asReader, func() {
		_, _ = i.store.readChainOnce(context.Background())
		i.w.without.read(i)
	})
}

func (i *oracleInstance) writeChain() { i.take(asOwner, func() { i.owner.step(context.Background()) }) }

func (i *oracleInstance) followLog() {
	i.take(asFollower, func() { _ = i.follower.step(context.Background()) })
}

func (i *oracleInstance) tellLog() {
	i.take(asSender, func() { _ = i.store.sendNow(context.Background(), true) })
}

// fill opens a fill, or takes one a step further.
func (i *oracleInstance) fill() {
	w := i.w
	if len(i.fills) < 4 && (len(i.fills) == 0 || w.rng.IntN(1000) < w.days.fills) {
		i.ask(w.key())
		return
	}
	n := w.rng.IntN(len(i.fills))
	f := i.fills[n]
	switch {
	case f.snapshot.IsZero() && f.standby:
		f.snapshot = cache.Snapshot{Replayed: w.db.replayed}
	case f.snapshot.IsZero():
		f.snapshot = w.db.snapshot()
	case f.body == nil:
		f.body = w.db.body(f.standby)
	default:
		i.fills = slices.Delete(i.fills, n, n+1)
		i.keep(f)
	}
}

// ask opens a fill.
func (i *oracleInstance) ask(k *oracleKey) {
	standby := !i.w.without.begin && i.w.rng.IntN(5) == 0
	i.fills = append(i.fills, &oracleFill{key: k, dependencies: k.dependencies(i.columns), asked: i.log.Position(), standby: standby})
}

// body is all that the rows hold: what a response holds of it is for its key to say.
func (d *oracleDatabase) body(standby bool) []byte {
	from, b := &d.primary, []byte(nil)
	if standby {
		from = &d.standby
	}
	for table := range from {
		for row := range from[table] {
			b = binary.LittleEndian.AppendUint64(b, from[table][row].stamp)
		}
	}
	return b
}

// keep stores what was read, here and later in Redis.
func (i *oracleInstance) keep(f *oracleFill) {
	if i.log.Admit(f.asked, f.snapshot, f.key.tables) != cache.Storable {
		return
	}
	now := i.clock.Now()
	r := &oracleResponse{key: f.key, StoredResponse: &cache.StoredResponse{
		Traits: &cache.Traits{Status: 200, Rule: "r"}, Body: f.body, Stored: now, Lifetime: 1000 * time.Hour,
		Standing: i.log.Stand([]byte(f.key.name), f.asked, f.snapshot, f.dependencies),
	}}
	if r.Standing.Check() != cache.Current {
		return
	}
	i.w.counts.stored++
	if i.w.rng.IntN(2) == 0 {
		i.memory[f.key] = r
	}
	i.sets = append(i.sets, r)
}

// set stores in Redis what waits for it.
func (i *oracleInstance) set() {
	if len(i.sets) == 0 || i.killed {
		return
	}
	n := i.w.rng.IntN(len(i.sets))
	r := i.sets[n]
	i.sets = slices.Delete(i.sets, n, n+1)
	if i.w.without.found { // it is said to be current, without a look
		s := r.Standing
		again := *r.StoredResponse
		again.Standing = i.log.Stand([]byte(r.key.name), i.log.Position(), s.Snapshot(), s.Dependencies())
		again.Traits = &cache.Traits{Status: 200, Rule: fmt.Sprintf("%016x", uint64(s.Asked()))}
		r = &oracleResponse{key: r.key, StoredResponse: &again}
	}
	_ = i.store.Set(context.Background(), []byte(r.key.name), r.StoredResponse)
}

// look asks for a response as a request does, and has it checked if it is served.
func (i *oracleInstance) look(k *oracleKey) {
	w := i.w
	if i.killed || i.noticed {
		return
	}
	if r := i.memory[k]; r != nil {
		if r.Standing.Check() == cache.Current {
			w.served(i, r)
			return
		}
		delete(i.memory, k)
	}
	if w.without.moment {
		i.forgetMoments()
	}
	before := i.store.metrics.chainHits.Get()
	var found *cache.StoredResponse
	err := errCut
	i.take(asGetter, func() { found, err = i.store.Get(context.Background(), []byte(k.name)) }) // others would wait for it
	if i.killed || i.noticed {
		return
	}
	if found == nil {
		if err == nil && len(i.fills) < 4 && w.rng.IntN(10) == 0 {
			i.ask(k)
		}
		return
	}
	r := &oracleResponse{key: k, StoredResponse: found, shared: i.store.metrics.chainHits.Get() > before}
	if r.Standing.Check() != cache.Current {
		return
	}
	w.served(i, r)
	if w.rng.IntN(4) == 0 {
		i.memory[k] = r
	}
}

// oracleHook puts the oracle between a client and the servers.
type oracleHook struct {
	i    *oracleInstance
	role int
}

// DialHook is that of a client whose commands go another way.
func (h *oracleHook) DialHook(next goredis.DialHook) goredis.DialHook { return next }

// ProcessHook takes a command.
func (h *oracleHook) ProcessHook(goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error { return h.i.trip(ctx, h.role, []goredis.Cmder{cmd}) }
}

// ProcessPipelineHook takes several.
func (h *oracleHook) ProcessPipelineHook(goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error { return h.i.trip(ctx, h.role, cmds) }
}

var errCut = errors.New("the connection broke")

// trip takes commands to the server that the instance is connected to, if they get there, and back, if they do.
// Others go on in the meantime.
func (i *oracleInstance) trip(ctx context.Context, role int, cmds []goredis.Cmder) error {
	w, server := i.w, i.server
	writes := role != asFollower && len(cmds) == 1 && !isRead(cmds[0])
	fate := w.rng.IntN(1000)
	if role == asGetter { // or setter
		fate = w.rng.IntN(4000)
	}
	switch {
	case fate >= w.days.failing:
		fate = -1
	case w.days.kind == failingDays:
		fate = 0
	}
	w.meanwhile()
	switch {
	case i.killed || fate >= 0 && (!writes || fate%3 == 0):
		if !i.killed && writes && w.without.passed && role == asReader {
			return i.pretend(cmds[0])
		}
		return fail(cmds, errCut)
	case fate >= 0 && fate%3 == 1: // it lands some time
		w.late = append(w.late, func() { _ = w.servers[server].do(context.Background(), again(cmds)) })
		return fail(cmds, errCut)
	}
	w.without.sent(i, cmds)
	err := w.servers[server].do(ctx, cmds)
	w.without.answered(i, cmds)
	w.meanwhile()
	switch {
	case i.killed, fate >= 0:
		return fail(cmds, errCut)
	case ctx.Err() != nil:
		return fail(cmds, ctx.Err())
	}
	return err
}

func isRead(cmd goredis.Cmder) bool {
	switch cmd.(type) {
	case *goredis.StringCmd, *goredis.StringSliceCmd, *goredis.XMessageSliceCmd, *goredis.XStreamSliceCmd:
		return true
	}
	return false
}

func fail(cmds []goredis.Cmder, err error) error {
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
	return err
}

// again returns the commands as they were.
func again(cmds []goredis.Cmder) []goredis.Cmder {
	list := make([]goredis.Cmder, len(cmds))
	for n, cmd := range cmds {
		args := slices.Clone(cmd.Args())
		if _, ok := cmd.(*goredis.StatusCmd); ok {
			list[n] = goredis.NewStatusCmd(context.Background(), args...)
		} else {
			list[n] = goredis.NewCmd(context.Background(), args...)
		}
	}
	return list
}
