package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"forebay/cache"
)

// The partitions have their columns in orders of their own.
const partitionedSchema = `
create table clients (id int, region text, name text, primary key (id, region)) partition by list (region);
create table clients_eu partition of clients for values in ('eu');
create table americas (name text, gone int, region text not null, id int not null) partition by range (id);
alter table americas drop gone;
alter table clients attach partition americas for values in ('us', 'br');
create table americas_1 (gone int, id int not null, name text, region text not null);
alter table americas_1 drop gone;
alter table americas attach partition americas_1 for values from (0) to (100);
create table clients_rest partition of clients default;
insert into clients values (1, 'eu', 'Ann'), (2, 'us', 'Bob'), (3, 'br', 'Cai'), (4, 'as', 'Dan');
`

const partitionedRoutes = `
- route: GET /clients/{id}
  ttl: 60s
  params: {id: int}
  query: select name from clients where id = @id
- route: GET /regions/{region}
  ttl: 60s
  params: {region: text}
  query: select id, name from clients where region = @region order by id
- route: GET /count
  ttl: 60s
  query: select count(*) from clients
  rows: value
- route: GET /europe
  ttl: 60s
  query: select count(*) from clients_eu
  rows: value
`

// Rows of a partitioned table are told apart wherever they are: whoever changes one in a partition, by the table's
// name or by its own, or moves one, outdates what read it and nothing else.
func TestRowsOfPartitionedTables(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, partitionedSchema, partitionedRoutes)
	s.watch(t)
	requests := []string{"GET /clients/1", "GET /clients/2", "GET /clients/3", "GET /clients/4", "GET /regions/eu", "GET /regions/us", "GET /regions/br", "GET /regions/as", "GET /regions/af", "GET /count", "GET /europe"}
	change := func(what, outdated string) {
		t.Helper()
		standing := make(map[string]*cache.Standing)
		for _, request := range requests {
			standing[request] = s.stored(t, request)
		}
		s.exec(t, what)
		for name := range strings.SplitSeq(outdated, " ") {
			eventually(t, what+" outdates "+name, func() bool { return standing["GET /"+name].Check() == cache.Outdated })
		}
		for _, request := range requests {
			name := strings.TrimPrefix(request, "GET /")
			if got := standing[request].Check(); got != cache.Current && !strings.Contains(" "+outdated+" ", " "+name+" ") {
				t.Errorf("%s: %s is %s, because of %+v", what, name, got, standing[request].Cause())
			}
		}
	}
	change("update clients set name = 'Bea' where id = 2", "clients/2 regions/us count")
	change("update americas_1 set name = 'Ben' where id = 2", "clients/2 regions/us count")
	change("insert into americas_1 (id, region, name) values (9, 'br', 'Eve')", "regions/br count")
	change("update clients set region = 'eu' where id = 3", "clients/3 regions/br regions/eu count europe") // moves
	change("update clients set region = 'us' where id = 4", "clients/4 regions/as regions/us count")
	change("delete from clients where id = 1", "clients/1 regions/eu count europe")
	change("truncate americas_1", "clients/1 clients/2 clients/3 clients/4 regions/eu regions/us regions/br regions/as regions/af count")
	change("truncate clients", strings.ReplaceAll(strings.Join(requests, " "), "GET /", ""))

	f := s.fill(t, "GET /regions/us")
	if got := s.Classification(s.call(t, "GET /regions/us", "").Rule); fmt.Sprint(got.Rows, got.Whole) != "[clients[region]] []" || len(f.Dependencies) != 2 {
		t.Errorf("a list is judged %+v and depends on %q; want rows of the one table", got, f.Dependencies)
	}
}

// What comes and goes with a whole partition is noticed as DDL is, and from then on its rows are told apart, or are
// none.
func TestPartitionsThatComeAndGo(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, partitionedSchema, partitionedRoutes)
	africa := func(what, want string) {
		t.Helper()
		standing := s.stored(t, "GET /regions/af")
		s.exec(t, what)
		s.compare(t)
		eventually(t, what+" outdates", func() bool { return standing.Check() == cache.Outdated })
		if got := s.body(t, "GET /regions/af"); got != want {
			t.Errorf("after %s: %s; want %s", what, got, want)
		}
	}
	s.exec(t, "create table africa (name text, id int not null, region text not null, primary key (id, region)); insert into africa values ('Fay', 7, 'af'); alter table clients detach partition clients_rest")
	africa("alter table clients attach partition africa for values in ('af')", `[{"id":7,"name":"Fay"}]`)
	africa("insert into africa (id, region, name) values (8, 'af', 'Gus')", `[{"id":7,"name":"Fay"},{"id":8,"name":"Gus"}]`)
	one := s.stored(t, "GET /clients/2")
	africa("update clients set name = 'Fee' where id = 7", `[{"id":7,"name":"Fee"},{"id":8,"name":"Gus"}]`)
	if got := one.Check(); got != cache.Current {
		t.Errorf("another row is %s, because of %+v", got, one.Cause())
	}
	africa("alter table clients detach partition africa", `[]`)
	africa("alter table clients attach partition africa for values in ('af')", `[{"id":7,"name":"Fee"},{"id":8,"name":"Gus"}]`)
	africa("drop table africa", `[]`)
}

// A partition that is being detached CONCURRENTLY is left out by statements from its first transaction on; the second
// waits for whoever reads the table.
func TestAPartitionThatIsBeingDetached(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, partitionedSchema, partitionedRoutes)
	// With this constraint the partition itself stays as it is.
	s.exec(t, "alter table clients detach partition clients_rest; alter table clients_eu add check (region is not null and region = 'eu')")
	s.compare(t)
	standing := s.stored(t, "GET /regions/eu")
	reader, owner := connect(t, s.url), connect(t, s.url)
	script(t, reader, "begin; select from clients")
	done := make(chan error, 1)
	go func() {
		_, err := owner.Exec(context.WithoutCancel(t.Context()), "alter table clients detach partition clients_eu concurrently")
		done <- err
	}()
	eventually(t, "statements leave the partition out", func() bool { return s.one(t, "select count(*) from clients where region = 'eu'") == "0" })
	s.compare(t)
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("what read it is %s", got)
	}
	eventually(t, "its rows are gone", func() bool { return s.body(t, "GET /regions/eu") == "[]" })
	script(t, reader, "rollback")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A partition's partition that goes is noticed where nothing is heard of but DDL.
func TestAPartitionsPartitionThatGoes(t *testing.T) {
	t.Parallel()
	s := newSite(t, partitionedSchema, partitionedRoutes)
	s.compare(t)
	s.stored(t, "GET /clients/2")
	s.compare(t) // all that it read is known from here on
	standing := s.stored(t, "GET /clients/2")
	s.exec(t, "alter table americas detach partition americas_1")
	s.compare(t)
	if got := standing.Check(); got != cache.Outdated {
		t.Errorf("what read it is %s", got)
	}
	if got := s.body(t, "GET /clients/2"); got != "[]" {
		t.Errorf("%s is left", got)
	}
}

// A purge of a partition concerns what read it by the name of its table.
func TestPurgeOfAPartition(t *testing.T) {
	t.Parallel()
	s := newFollowed(t, partitionedSchema, partitionedRoutes)
	whole, part := s.stored(t, "GET /clients/2"), s.stored(t, "GET /europe")
	list, err := s.TableDependencies(t.Context(), "clients_eu")
	if err != nil {
		t.Fatal(err)
	}
	s.log.Purge(cache.Purge{Dependencies: list})
	if a, b := whole.Check(), part.Check(); a != cache.Outdated || b != cache.Outdated {
		t.Errorf("the table is %s, the partition %s", a, b)
	}
}

// To plan for a partition locks what it is of, if the session does not remember it: nothing of that is read, unless
// a function does.
func TestAPartitionReadByItsNameIsNotItsTable(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, server, partitionedSchema+`
		create function everyone() returns setof clients language sql stable as 'select * from clients';
		create view americans as select * from americas;
		create view europeans as select count(*) from clients_eu where exists (select from clients where region = 'us');`)
	for query, want := range map[string]string{
		"select count(*) from clients_eu":                                         "clients_eu",
		"select count(*) from americas_1":                                         "americas_1",
		"select count(*) from americas":                                           "americas",
		"select count(*) from americans, clients_eu":                              "americans americas clients_eu",
		"select count(*) from clients_eu e join clients c using (id)":             "clients",
		"select * from europeans":                                                 "clients europeans",
		"select count(*) from clients_eu, everyone()":                             "clients",
		"select count(*) from clients_eu where id in (select id from everyone())": "clients",
	} {
		s := newSiteOn(t, database, "- {route: GET /n, ttl: 60s, query: \""+query+"\"}")
		for round := range 3 {
			f := s.fill(t, "GET /n")
			if got := s.tables(f); got != want {
				t.Errorf("round %d: %s depends on %q; want %q", round, query, got, want)
			}
		}
	}
}
