package rules

// Set is the immutable set of rules of one configuration. Safe for concurrent use.
type Set struct {
	rules []*Rule
}

// Rules returns all enabled rules in the order of the file. Not to be written.
func (s *Set) Rules() []*Rule { return s.rules }

// Pattern is a compiled path pattern.
type Pattern struct {
	Text string // as written
}

const maxPathParams = 8

// Match is what Set.Match found. Reused between requests; Path points into the request.
type Match struct {
	Rule  *Rule
	Allow []string // of MethodNotAllowed: the methods that the path has rules for
	path  [maxPathParams][]byte
}

// MatchResult tells whether a request has a rule.
type MatchResult uint8

// What Match found.
const (
	Matched MatchResult = iota
	NoRoute
	MethodNotAllowed
)
