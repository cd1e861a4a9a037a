package postgres

import (
	"maps"
	"sync"
	"sync/atomic"

	"forebay/upstream/postgres/wire"
)

// catalogue is what is known of the database's own catalogue, until it changes. Safe for concurrent use.
//
// Whoever reads from the server notes the generation before and hands it in with what was read: what was
// read in an earlier generation is used once and not kept.
type catalogue struct {
	generation atomic.Uint64 // grows with each change that was noticed

	mu        sync.RWMutex // guards all below
	types     wire.Catalogue
	shapes    map[string]*shape // of statements that cannot stay prepared, by name
	relations map[uint32]relation
	functions *functions        // nil until somebody asked
	names     map[uint32]string // of relations as they were last known, for people
}

// maxNames is how many names are remembered beyond the present state of the catalogue.
const maxNames = 10000

func newCatalogue() *catalogue {
	c := &catalogue{names: make(map[uint32]string)}
	c.reset()
	return c
}

// advance forgets everything but names: the database's catalogue has changed.
func (c *catalogue) advance() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
	c.generation.Add(1)
}

func (c *catalogue) reset() {
	c.types = wire.Catalogue{}
	c.shapes = make(map[string]*shape)
	c.relations = make(map[uint32]relation)
	c.functions = nil
}

// missingTypes returns the types known and those of oids that are not.
func (c *catalogue) missingTypes(oids []uint32) (wire.Catalogue, []uint32) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.types, c.types.Missing(oids)
}

// addTypes returns the types known with more among them.
func (c *catalogue) addTypes(more wire.Catalogue, generation uint64) wire.Catalogue {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := maps.Clone(c.types) // others may be reading the old map
	maps.Copy(all, more)
	if c.generation.Load() == generation {
		c.types = all
	}
	return all
}

// shape returns the shape of a statement that cannot stay prepared, or nil.
func (c *catalogue) shape(name string, generation uint64) *shape {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if s := c.shapes[name]; s != nil && s.generation == generation {
		return s
	}
	return nil
}

func (c *catalogue) setShape(name string, s *shape) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.shapes) > maxPrepared {
		clear(c.shapes)
	}
	c.shapes[name] = s
}

func (c *catalogue) dropShapes() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.shapes)
	c.types = wire.Catalogue{}
}

// relation returns what is known of a relation.
func (c *catalogue) relation(oid uint32) (relation, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.relations[oid]
	return r, ok
}

func (c *catalogue) addRelations(more []relation, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.names) > maxNames {
		clear(c.names)
	}
	for _, r := range more {
		c.names[r.oid] = r.String()
	}
	if c.generation.Load() != generation {
		return
	}
	for _, r := range more {
		c.relations[r.oid] = r
	}
}

// name returns what the relation was called when it was last read, or "".
func (c *catalogue) name(oid uint32) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.names[oid]
}

// knownFunctions returns the functions of the database, or nil if they have not been read.
func (c *catalogue) knownFunctions() *functions {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.functions
}

func (c *catalogue) setFunctions(f *functions, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation.Load() == generation {
		c.functions = f
	}
}
