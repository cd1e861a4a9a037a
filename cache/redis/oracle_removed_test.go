package redis

import (
	"encoding/binary"
	"slices"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"forebay/cache"
)

// oracleRemoved are pieces of the chain's rule taken out, to see that each is needed.
type oracleRemoved struct {
	predecessor bool // an entry is taken in whatever entry it names as the one before
	trimmed     bool // what was before the first entry read does not matter
	memory      bool // nor what was forgotten for want of room
	number      bool // a value is judged by whatever chain there is
	present     bool // that the owner goes on is not shown anew in another epoch of the reader
	answer      bool // a look at the head is enough for that
	coverage    bool // a relation's changes are taken to be there from the beginning on
	columns     bool // rows are taken to be told apart by any column
	found       bool // a response is said to be current when it is written, without a look
	position    bool // it is said to be found current where the chain ends
	process     bool // what any process stored is judged as this one's own is
	moment      bool // the loader is taken to have asked only now
	begin       bool // it does not matter where the loader's own feed begins
	last        bool // an append does not look what it is appended to
	passed      bool // nor is a write that failed the end
}

// sent is told of commands before they go.
func (r *oracleRemoved) sent(i *oracleInstance, cmds []goredis.Cmder) {
	for _, cmd := range cmds {
		b, ok := stored(cmd)
		if !ok {
			continue
		}
		if r.position && chainedBytes(b) {
			at := b[len(b)-8:]
			binary.LittleEndian.PutUint64(at, max(binary.LittleEndian.Uint64(at), i.store.exact.chain.last.ms))
			reseal(b)
		}
		if r.found {
			v, _ := parseValue(b)
			asked, _ := strconv.ParseUint(v.response.Rule, 16, 64)
			binary.LittleEndian.PutUint64(b[96:], asked)
			reseal(b)
		}
	}
}

// stored returns the bytes of a SET.
func stored(cmd goredis.Cmder) ([]byte, bool) {
	if _, ok := cmd.(*goredis.StatusCmd); !ok || len(cmd.Args()) < 3 {
		return nil, false
	}
	b, ok := cmd.Args()[2].([]byte)
	return b, ok
}

func chainedBytes(b []byte) bool {
	return len(b) > fixedSize && binary.LittleEndian.Uint32(b[16:])&flagChained != 0
}

func reseal(b []byte) { binary.LittleEndian.PutUint64(b[8:], checksum(b)) }

// answered is told of answers before they are looked at.
func (r *oracleRemoved) answered(i *oracleInstance, cmds []goredis.Cmder) {
	c := i.store.exact.chain
	for _, cmd := range cmds {
		switch cmd := cmd.(type) {
		case *goredis.StringCmd:
			if (r.number || r.process) && cmd.Err() == nil {
				cmd.SetVal(string(r.value(i, []byte(cmd.Val()))))
			}
		case *goredis.XMessageSliceCmd:
			if cmd.Args()[1] != oracleChain {
				continue
			}
			if r.predecessor && cmd.Name() == "xrange" {
				linked(cmd.Val(), c.last)
			}
		}
	}
}

// value changes a value so that what the piece would have refused passes.
func (r *oracleRemoved) value(i *oracleInstance, b []byte) []byte {
	v, err := parseValue(b)
	if err != nil {
		return b
	}
	if c := i.store.exact.chain; r.number && chainedBytes(b) && c.id != 0 {
		binary.LittleEndian.PutUint64(b[len(b)-16:], c.id)
	}
	if r.process {
		binary.LittleEndian.PutUint64(b[168:], i.store.instance)
		copy(b[fixedSize+4+len(v.key)+4:], i.log.Epoch())
	}
	reseal(b)
	return b
}

// linked has each entry name the one read before it.
func linked(messages []goredis.XMessage, before streamID) {
	for _, m := range messages {
		m.Values[fieldPredecessor] = before.String()
		before, _ = parseStreamID(m.ID)
	}
}

// read is told when an instance has read the chain.
func (r *oracleRemoved) read(i *oracleInstance) {
	c := i.store.exact.chain
	if r.trimmed && c.id != 0 && c.old == nil {
		c.base = 0
	}
	if r.memory {
		r.forget(c)
	}
	if r.answer && c.id != 0 && len(c.looks) > 0 {
		c.asOf = c.looks[len(c.looks)-1].at
	}
	for oid, cover := range c.covered {
		if r.coverage {
			cover.since = 1
		}
		if r.columns {
			cover.columns = []int16{1, 2}
		}
		c.covered[oid] = cover
	}
}

// forget drops what stands for changes that are not remembered one by one.
func (r *oracleRemoved) forget(c *chain) {
	for _, generation := range []map[cache.Dependency]*links{c.young, c.old} {
		for _, l := range generation {
			l.forgotten = 0
		}
	}
	if c.old != nil {
		c.base = 0
	}
}

// newEpoch begins one of the instance.
func (r *oracleRemoved) newEpoch(i *oracleInstance) {
	c := i.store.exact.chain
	looks, asOf := slices.Clone(c.looks), c.asOf
	i.log.NewEpoch(i.epochName())
	if r.present {
		c.epoch--
		c.looks, c.asOf = looks, asOf
	}
}

// forgetMoments has whatever the loader takes seem asked for now.
func (i *oracleInstance) forgetMoments() {
	t := i.store.exact.tap
	t.moments = []tapMoment{{position: i.log.Position(), lsn: 0}}
}

// pretend answers an append that failed as if it had not.
func (i *oracleInstance) pretend(cmd goredis.Cmder) error {
	script, ok := cmd.(*goredis.Cmd)
	if !ok || cmd.Args()[1] != i.owner.append.flagged.Hash() {
		return fail([]goredis.Cmder{cmd}, errCut)
	}
	script.SetVal(int64(1))
	return nil
}
