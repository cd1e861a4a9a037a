package changes

import (
	"testing"

	"forebay/cache"
)

func TestAChangeOutdatesWhatDependsOnItAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `create table clients (id int primary key, name text); insert into clients values (1, 'a'), (2, 'b');
		create table other (id int primary key)`)
	clients, other := w.oid("clients"), w.oid("other")
	p := w.follow(map[uint32][]int16{clients: {1}, other: nil})
	table := p.store(w, cache.Relation(clients))
	first := p.store(w, cache.Row(clients, 1, "1"), cache.Whole(clients))
	second := p.store(w, cache.Row(clients, 1, "2"), cache.Whole(clients))
	apart := p.store(w, cache.Relation(other))
	w.exec(`update clients set name = 'c' where id = 1`)
	table.outdated("the update")
	first.outdated("the update")
	second.current("an update of another row")
	apart.current("an update of another table")
	if c := first.Cause(); c.Touched[0].Relation != clients || c.Touched[0].Operation != "UPDATE" || c.Touched[0].Rows != 1 || c.LSN == 0 {
		t.Errorf("cause %+v; want an UPDATE of one row", c)
	}
	again := p.store(w, cache.Relation(clients))
	p.caught(w)
	again.current("a change that it saw")
}
