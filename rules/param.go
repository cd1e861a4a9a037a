package rules

import (
	"regexp"
	"time"
)

// Param is one typed input of a rule.
type Param struct {
	Name                 string
	In                   Source
	Field                string // the name in the request, where it is not Name: a header's, for one
	Type                 Type
	Optional             bool          // absent or empty is NULL
	Nullable             bool          // JSON null is accepted, and is NULL
	Default              *string       // normalised; nil: none
	Enum                 []string      // for Enum, the values allowed
	Min, Max             *string       // normalised bounds for int, number, date, timestamptz; inclusive
	MinLength, MaxLength int           // of text, in characters; MaxLength 0: no bound of its own
	Pattern              string        // RE2, for text
	Truncate             time.Duration // reserved for time parameters; 0
	List                 bool
	Separator            string // of a List in a path, query or header; ","
	MinItems, MaxItems   int    // of a List; more than MaxItems is a 400
	Unique               bool   // of a List: later duplicates are dropped

	pattern *regexp.Regexp // Pattern, compiled by Rule.Compile
}

// Source is where in the request a parameter stands.
type Source uint8

// The sources of parameters.
const (
	FromPath Source = iota
	FromQuery
	FromBody
	FromHeader
)

// Type is what a parameter's text must be.
type Type uint8

// The types of parameters. Their normal forms are Postgres's input forms, so that what is keyed is what is bound.
const (
	Text        Type = iota
	UUID             // lower case, with hyphens
	Int              // int8: no leading zeros or plus
	Bool             // true or false
	Number           // numeric: no exponent, no trailing zeros after the point
	Enum             // one of Param.Enum
	Date             // YYYY-MM-DD
	Timestamptz      // RFC 3339 in UTC
	Email            // text with one @ and a dot behind it; kept as it is
	JSON             // canonical JSON (RFC 8785 order, numbers as written)
)
