package rules

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// routeEntry is one route as YAML has it.
type routeEntry struct {
	// METHOD path, or a path for every method. {name} stands for one segment, /** at the end for the rest.
	Route string `yaml:"route"`
	// false takes the route out: requests go on to the next that matches.
	Enabled bool `yaml:"enabled"`
	// The kind of read, a key of ttl, whose lifetime its responses have.
	Kind string `yaml:"kind,omitempty"`
	// A lifetime of its own, over that of its kind; 0s never stores.
	TTL *duration `yaml:"ttl,omitempty"`
	// Lifetimes of responses by status other than 200, as in {404: 30s}. A rows: one without a row has ttl unless named here.
	Negative map[int]duration `yaml:"negative,omitempty"`
	// How long after its lifetime a response may still be served while one request refreshes it. Never one that a change has outdated.
	StaleWhileRevalidate duration `yaml:"stale_while_revalidate,omitempty"`
	// How long after its lifetime a response may be served because the source fails; labelled stale. At least stale_while_revalidate.
	StaleIfError duration `yaml:"stale_if_error,omitempty"`
	// exact, bounded or ttl, over the file's freshness.
	Freshness string `yaml:"freshness,omitempty" jsonschema:"enum=exact,enum=bounded,enum=ttl"`
	// A bound of its own, over the file's max_lag.
	MaxLag *duration `yaml:"max_lag,omitempty"`
	// bypass, ttl or serve, over the file's on_lost.
	OnLost string `yaml:"on_lost,omitempty" jsonschema:"enum=bypass,enum=ttl,enum=serve"`
	// One hit in so many is checked against its source, over the file's audit.
	Audit *int `yaml:"audit,omitempty"`
	// Larger bodies are served and not stored.
	MaxObjectSize size `yaml:"max_object_size"`
	// For the whole request, waiting included, over server.request_timeout.
	Timeout *duration `yaml:"timeout,omitempty"`
	// Names by which its stored responses can be purged together.
	Tags []string `yaml:"tags,omitempty"`
	// Request headers that the response depends on; they become part of the key.
	Vary []string `yaml:"vary,omitempty"`
	// What tells callers apart: Authorization, another request header, or cookie:NAME. Without it the route's responses are public.
	Identity []string `yaml:"identity,omitempty"`
	// Tables the response depends on beside those that forebay finds by itself.
	DependsOn []string `yaml:"depends_on,omitempty"`
	// Declares that the IMMUTABLE functions which the statement reaches read no tables.
	Pure bool `yaml:"pure,omitempty"`
	// true: a POST that only reads, so that its responses may be stored. primary: of a query, one that reads, and never
	// from a standby; of an upstream, that it reads the primary after the request has come, keeps nothing between
	// requests, and that depends_on names all its tables.
	Reads readsEntry `yaml:"reads,omitempty"`
	// Largest request body accepted, over server.max_body.
	MaxBody *size `yaml:"max_body,omitempty"`
	// auto lets Postgres choose; custom plans each run anew, for statements with optional filters.
	Plan string `yaml:"plan,omitempty" jsonschema:"enum=auto,enum=custom"`
	// What browsers of other origins may do.
	CORS *corsEntry `yaml:"cors,omitempty"`
	// Typed parameters: of the path where it names them, otherwise of the query string.
	Params ordered[paramEntry] `yaml:"params,omitempty"`
	// Typed parameters from request headers, by field name.
	Headers ordered[paramEntry] `yaml:"headers,omitempty"`
	// Typed fields of the JSON object in the request body.
	Body ordered[paramEntry] `yaml:"body,omitempty"`
	// The statement: a file (one word ending in .sql, relative to this file) or the SQL itself. @name is a parameter.
	Query string `yaml:"query,omitempty"`
	// What the statement's result becomes: many (array of objects), one (object; no row is a 404), value (its one column) or none.
	Rows string `yaml:"rows,omitempty" jsonschema:"enum=many,enum=one,enum=value,enum=none"`
	// Several statements instead of query: sent together, read in one snapshot.
	Queries ordered[statementEntry] `yaml:"queries,omitempty"`
	// The JSON body, where "@name" stands for a statement's result and "@@name" for the text @name.
	Response templateEntry `yaml:"response,omitempty"`
	// Response headers; {name} stands for a column of the one row, or a parameter.
	ResponseHeaders ordered[string] `yaml:"response_headers,omitempty"`
	// Status of a success.
	Status int `yaml:"status,omitempty"`
	// A JSON array of items, each run through the statement.
	Batch *batchEntry `yaml:"batch,omitempty"`
	// Other forms of the result. The first that the Accept header or a parameter asks for is used.
	Formats []*formatEntry `yaml:"formats,omitempty"`
	// Forward to this upstream instead of running SQL.
	Upstream string `yaml:"upstream,omitempty"`
}

// name returns the route as rules are named: with single spaces.
func (e *routeEntry) name() string { return strings.Join(strings.Fields(e.Route), " ") }

// paramEntry is a parameter as YAML has it: a type's name, a list of the values allowed, or a mapping.
type paramEntry struct {
	// uuid, int, bool, number, text, date, timestamptz, email or json; or the list of the values allowed.
	Type typeEntry `yaml:"type"`
	// Absent or empty is NULL; otherwise that is answered 422.
	Optional bool `yaml:"optional,omitempty"`
	// JSON null is accepted and is NULL.
	Nullable bool `yaml:"nullable,omitempty"`
	// What an absent parameter is.
	Default *valueEntry `yaml:"default,omitempty"`
	// The smallest value of an int, number, date or timestamptz.
	Min *valueEntry `yaml:"min,omitempty"`
	// The largest value of an int, number, date or timestamptz.
	Max *valueEntry `yaml:"max,omitempty"`
	// The fewest characters of a text.
	MinLength int `yaml:"min_length,omitempty"`
	// The most characters of a text; 0 sets no bound.
	MaxLength int `yaml:"max_length,omitempty"`
	// A regular expression (RE2) that a text must match.
	Pattern string `yaml:"pattern,omitempty"`
	// Several values: a JSON array in a body, elsewhere one text with separators.
	List bool `yaml:"list,omitempty"`
	// What separates the values of a list outside a body.
	Separator string `yaml:"separator,omitempty"`
	// The fewest values of a list.
	MinItems int `yaml:"min_items,omitempty"`
	// The most values of a list; more are answered 400. 0 sets no bound.
	MaxItems int `yaml:"max_items,omitempty"`
	// Drop later duplicates in a list.
	Unique bool `yaml:"unique,omitempty"`
	// The name in SQL, where it is not the one in the request.
	As string `yaml:"as,omitempty"`
}

// typeEntry is a parameter's type: a name, or the values of an enum.
type typeEntry struct {
	Name string
	Enum []string
}

// valueEntry is a default or a bound: a single value, or a list's.
type valueEntry struct {
	Text string
	List []string // where YAML has a list
}

// readsEntry is what a route declares of its reading: nothing, true or primary.
type readsEntry string

// statementEntry is one of several statements.
type statementEntry struct {
	// The file of the statement, relative to this file.
	File string `yaml:"file,omitempty"`
	// The statement itself, instead of a file.
	SQL string `yaml:"sql,omitempty"`
	// What its result becomes: many, one, value or none.
	Rows string `yaml:"rows,omitempty" jsonschema:"enum=many,enum=one,enum=value,enum=none"`
}

// batchEntry is what makes a route a batch.
type batchEntry struct {
	// The most items; more are answered 400.
	MaxItems int `yaml:"max_items"`
	// true keeps all items or none; false keeps the good ones.
	Atomic bool `yaml:"atomic"`
	// The fields of one item, typed as in params.
	Item ordered[paramEntry] `yaml:"item"`
	// What stands in "@failed" for one failed item, made of "@item", "@error" and "@index".
	Failed templateEntry `yaml:"failed,omitempty"`
}

// formatEntry is one further form of a result.
type formatEntry struct {
	// The media type that chooses it when the Accept header names it. text/csv and application/x-ndjson stream any number of rows.
	Accept string `yaml:"accept,omitempty" jsonschema:"enum=text/csv,enum=application/x-ndjson,enum=application/json"`
	// The parameter's value that chooses it, as in {format: csv}.
	Param ordered[string] `yaml:"param,omitempty"`
	// The columns of CSV in their order, each with its title; without it all, named as in the query.
	Columns ordered[string] `yaml:"columns,omitempty"`
	// The name under which a streamed form is saved.
	Filename string `yaml:"filename,omitempty"`
	// More rows than this are answered 413. Streamed forms have no limit.
	MaxRows int `yaml:"max_rows,omitempty"`
	// The detail of that 413.
	TooMany string `yaml:"too_many,omitempty"`
	// The JSON body of a form that is not streamed; "@csv" stands for the rows as CSV text.
	Response templateEntry `yaml:"response,omitempty"`
}

// corsEntry is what a route allows to other origins.
type corsEntry struct {
	// Origins as browsers send them (https://app.example.com), or "*".
	Origins []string `yaml:"origins"`
	// Methods allowed; empty allows those that the path has routes for.
	Methods []string `yaml:"methods,omitempty"`
	// Request headers allowed beyond the safelisted ones.
	Headers []string `yaml:"headers,omitempty"`
	// Response headers that scripts may read beyond the safelisted ones.
	Expose []string `yaml:"expose,omitempty"`
	// Allow cookies and Authorization; not together with the origin "*".
	Credentials bool `yaml:"credentials,omitempty"`
	// How long a browser may remember a preflight's answer.
	MaxAge duration `yaml:"max_age"`
}

// ordered is a mapping that keeps the order in which it was written.
type ordered[T any] []entry[T]

type entry[T any] struct {
	Key   string
	Value T
}

func (o *ordered[T]) decodeNode(d *decoder, path string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.mistake(path, "want a mapping of names to values, got %s", describe(n))
		return
	}
	list := make(ordered[T], 0, len(n.Content)/2)
	for _, p := range d.pairs(path, n) {
		value := d.fresh(reflect.TypeFor[T]())
		d.decode(join(path, p.key), p.valueNode, value)
		if isNull(p.valueNode) {
			d.mistakeAt(d.positionOf(p.keyNode), join(path, p.key), "%q has no value; give it one or remove it", p.key)
			continue
		}
		list = append(list, entry[T]{p.key, value.Interface().(T)})
	}
	*o = list
}

// MarshalYAML writes the mapping in its order.
func (o ordered[T]) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range o {
		key, value := new(yaml.Node), new(yaml.Node)
		if err := key.Encode(e.Key); err != nil {
			return nil, err
		}
		if err := value.Encode(e.Value); err != nil {
			return nil, err
		}
		n.Content = append(n.Content, key, value)
	}
	return n, nil
}
