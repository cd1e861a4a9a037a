package rules

import (
	"slices"
	"time"

	"forebay/cache"
)

// Rule is one route of the configuration, validated and compiled. Immutable; safe for concurrent use.
type Rule struct {
	Name     string   // "GET /api/v1/clients/{id}": the route as written, unique; metric label and log value
	Position Position // of its route in the file
	Index    int      // its place in Set.Rules; set by NewSet
	Method   string   // "" means every method
	Pattern  Pattern

	Kind string // the ttl class it names: count, search, find, analytics or one of the file's own; "" if none
	TTL  time.Duration
	// Negative holds the lifetime per status other than 200; a status without one is not stored.
	// A row-less `rows: one` (404) has the rule's TTL unless it is named here.
	Negative             map[int]time.Duration
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration
	Freshness            Freshness
	MaxLag               time.Duration // news of changes may be so late; under Bounded what is outdated may be served for so long
	OnLost               OnLost
	Audit                int           // one hit in so many is compared with its source; 0: none
	MaxObjectSize        int           // bytes of body; larger responses are served and not stored
	Timeout              time.Duration // of the whole request, waiting included

	Params    []Param        // all inputs, in the order in which they are keyed
	Identity  []IdentityPart // what partitions the key by caller; empty: public
	Vary      []string       // lower-case request header names that are part of the key
	Tags      []string
	DependsOn []string // tables declared, "schema.table" or "table"
	Reads     bool     // a POST that only reads
	Primary   bool     // a query that does not run on a standby; an upstream that reads the primary after the request came, to be judged by DependsOn
	Pure      bool     // declares that the IMMUTABLE functions its statements reach read no tables
	MaxBody   int      // bytes of request body accepted
	CORS      *CORS    // nil: no CORS headers

	// Exactly one of Query, Upstream is set, and Batch only beside Query.
	Query    *Query
	Batch    *Batch
	Upstream string // name of an upstream
	Pass     bool   // of an upstream rule: no TTL, everything is forwarded and streamed, nothing stored
	Source   string // which database or service that is, without secrets: two with other data never share a key

	generation [8]byte // of everything that decides the body: query text, role, settings, response shape
	prefix     []byte  // the beginning of every key of the rule
	fields     fields  // where its parameters stand in a request
}

// Freshness is how a rule's stored responses are judged.
type Freshness uint8

const (
	// Exact : a stored response is outdated by every known change to what it depends on.
	Exact Freshness = iota
	// TTLOnly : by time and purges only. Such responses are shared between instances and survive restarts.
	TTLOnly
	// Bounded : as Exact, but what a change outdated may be served for MaxLag after it, while one refresh runs.
	Bounded
)

// String returns the freshness as the configuration has it.
func (f Freshness) String() string { return [...]string{"exact", "ttl", "bounded"}[f] }

// OnLost is what becomes of a rule's stored responses while changes cannot be heard of.
type OnLost uint8

const (
	// BypassOnLost : the source is asked each time.
	BypassOnLost OnLost = iota
	// TTLOnLost : time and purges judge them meanwhile.
	TTLOnLost
	// ServeOnLost : as TTLOnLost, and expired ones are served while they are refreshed.
	ServeOnLost
)

// String returns the policy as the configuration has it.
func (o OnLost) String() string { return [...]string{"bypass", "ttl", "serve"}[o] }

// Writes reports whether the rule may change the database or the upstream's state.
func (r *Rule) Writes() bool {
	switch r.Method {
	case "GET", "HEAD", "OPTIONS":
		return false
	}
	return !r.Reads
}

// ReadsBody reports whether parameters come from the request's body. GET and HEAD have none that means
// anything (RFC 9110 s.9.3.1), so none is read.
func (r *Rule) ReadsBody() bool {
	if r.Method == "GET" || r.Method == "HEAD" {
		return false
	}
	for i := range r.Params {
		if r.Params[i].In == FromBody {
			return true
		}
	}
	return r.Batch != nil
}

// KeyedByTarget reports whether two requests by GET with the same target always have the same key: nothing of
// their headers or bodies is part of it.
func (r *Rule) KeyedByTarget() bool {
	return r.Method == "GET" && !r.ReadsBody() && !r.fields.accept && (r.Query == nil || !r.choosesByAccept()) &&
		len(r.fields.header) == 0 && len(r.Vary) == 0 && len(r.Identity) == 0
}

// choosesByAccept reports whether the Accept field may choose another form of the result.
func (r *Rule) choosesByAccept() bool {
	return slices.ContainsFunc(r.Query.Formats, func(f Format) bool { return f.Accept != "" })
}

// Stores reports whether the rule's responses may be stored at all.
func (r *Rule) Stores() bool { return r.TTL > 0 && !r.Writes() && !r.Pass }

// Dependencies returns what every response of the rule depends on beside its relations: the rule itself
// and its tags.
func (r *Rule) Dependencies() []cache.Dependency {
	d := make([]cache.Dependency, 0, 1+len(r.Tags))
	d = append(d, cache.Rule(r.Name))
	for _, t := range r.Tags {
		d = append(d, cache.Tag(t))
	}
	return d
}

// Query is what a SQL rule runs: one statement, or several named ones in one pipeline and one snapshot.
type Query struct {
	Statements []Statement
	Status     int      // of a success; 200 unless the rule says otherwise
	Template   Template // of the response body; when empty, the body is the one statement's result itself
	Header     []HeaderTemplate
	Formats    []Format // other forms of the same result, in the order of the file; empty for most rules
	CustomPlan bool     // plan_cache_mode = force_custom_plan
}

// Rows is the shape of a statement's result.
type Rows uint8

const (
	// Many rows are encoded as a JSON array of objects.
	Many Rows = iota
	// One row is encoded as a JSON object; no row is a 404.
	One
	// Value is the one column of the one row, passed through if it is json or jsonb, else encoded.
	Value
	// None: the result is not looked at and the body is empty.
	None
)

// Statement is a SQL text with its parameters numbered.
type Statement struct {
	Name   string // as templates name it; "rows" for a rule's only statement
	File   string // where the text comes from; the configuration file itself for an inline one
	Line   int    // in File, of the text's first line
	SQL    string // with $1…$n
	Params []int  // Params[i] is the index, in Rule.Params, of what $(i+1) is bound to; -1 is @body
	Rows   Rows

	places []place // of the text as it was written
	seams  []seam  // where it and SQL differ
}

// Batch is a rule whose body is an array of items, each run through the rule's one statement.
type Batch struct {
	MaxItems int
	Atomic   bool     // all items or none
	Item     []Param  // the fields of an item; Statement.Params index into this list instead of Rule.Params
	Failed   Template // of one failed item: @item, @error, @index
	// Rule.Query.Template is the response's: @succeeded, @failed (arrays), @total, @succeeded_count,
	// @failed_count, @success_rate (percent, two decimals).
}

// Format is one form of a query's result, chosen by a parameter's value or by the Accept header.
type Format struct {
	Param    int      // index in Rule.Params of the parameter that chooses it; -1 if Accept does
	Value    string   // of that parameter
	Accept   string   // media type: text/csv, application/x-ndjson or application/json
	Stream   bool     // streamed row by row, any number, as an attachment, never stored
	Columns  []Column // of CSV: which, in which order, with which title; empty: all as named by the query
	Filename string   // of the attachment
	MaxRows  int      // above it 413; 0: no limit. Always set where Stream is not
	TooMany  string   // the detail of that 413
	Template Template // where Stream is not: @rows, @csv, @row_count, @generated_at and the statements' names
}

// Column is a column of a CSV form.
type Column struct{ Name, Title string }

// HeaderTemplate is a response field whose value may name columns of the one row: /clients/{id}.
type HeaderTemplate struct {
	Name  string
	Parts []TemplatePart
}

// Template is a JSON text with holes. The literals between holes are valid JSON once the holes are filled.
type Template []TemplatePart

// TemplatePart is a literal, or the name of what goes in its place when Name is set.
type TemplatePart struct {
	Literal []byte
	Name    string
}

// Upstream is an HTTP service.
type Upstream struct {
	Name           string
	URL            string // scheme, host, optional base path
	ConnectTimeout time.Duration
	Timeout        time.Duration // to the end of the response's header
	MaxConnections int
	Breaker        Breaker
	ForwardHost    bool // send the client's Host instead of the URL's
}

// Breaker is when a circuit opens and for how long.
type Breaker struct {
	Failures int           // in a row
	OpenFor  time.Duration // before one probe is let through
}

// IdentityPart names a request header, or a cookie, whose value tells callers apart.
type IdentityPart struct {
	Header string // canonical name; empty when Cookie is set
	Cookie string
}

// CORS is what browsers of other origins may do with a rule.
type CORS struct {
	Origins     []string // exact origins, or "*"
	Methods     []string
	Headers     []string
	Expose      []string
	Credentials bool
	MaxAge      time.Duration
}

// Position is a place in a configuration file. Line and column count from 1.
type Position struct {
	File         string
	Line, Column int
}
