package rules

import (
	"bytes"
	"fmt"
	"slices"
)

// Set is the immutable set of rules of one configuration. Safe for concurrent use.
type Set struct {
	rules  []*Rule
	byName map[string]*Rule
	root   *node
}

// Match is what Set.Match found. Reused between requests, one at a time; its paths point into the request.
type Match struct {
	Rule  *Rule
	Allow []string // of MethodNotAllowed: the methods that the path has rules for, sorted

	path    [maxPathParams][]byte // the segments that the pattern's parameters took, as sent
	scratch []byte                // a decoded segment
}

// MatchResult tells whether a request has a rule.
type MatchResult uint8

// What Match found.
const (
	Matched MatchResult = iota
	NoRoute
	MethodNotAllowed
)

// Conflict is a rule that can never match, because another one takes all its requests.
type Conflict struct {
	Rule *Rule
	With *Rule
}

// String says what conflicts and what to do about it.
func (c Conflict) String() string {
	return fmt.Sprintf("%q never matches: %q (line %d) takes the same requests; remove one of them or change its path or method",
		c.Rule.Name, c.With.Name, c.With.Position.Line)
}

// node is the state after some segments of a path.
type node struct {
	literals map[string]*node // by decoded segment
	param    *node
	here     endings // rules whose pattern ends here
	rest     endings // rules whose /** begins here
}

// endings are the rules of one pattern, at most one for each method.
type endings []*Rule

// NewSet arranges the rules for matching. The first of two rules for the same requests wins; each that
// can never match is reported.
func NewSet(rules []*Rule) (*Set, []Conflict) {
	s := &Set{rules: rules, byName: make(map[string]*Rule, len(rules)), root: new(node)}
	var conflicts []Conflict
	for i, r := range rules {
		r.Index = i
		if _, taken := s.byName[r.Name]; !taken {
			s.byName[r.Name] = r
		}
		n := s.root
		for _, seg := range r.Pattern.segments {
			n = n.child(seg)
		}
		list := &n.here
		if r.Pattern.rest {
			list = &n.rest
		}
		if i := slices.IndexFunc(*list, func(o *Rule) bool { return o.Method == r.Method }); i >= 0 {
			conflicts = append(conflicts, Conflict{Rule: r, With: (*list)[i]})
			continue
		}
		*list = append(*list, r)
	}
	return s, conflicts
}

func (n *node) child(seg segment) *node {
	if seg.param {
		if n.param == nil {
			n.param = new(node)
		}
		return n.param
	}
	c := n.literals[seg.literal]
	if c == nil {
		if n.literals == nil {
			n.literals = make(map[string]*node)
		}
		c = new(node)
		n.literals[seg.literal] = c
	}
	return c
}

// Rules returns all enabled rules in the order of the file. Not to be written.
func (s *Set) Rules() []*Rule { return s.rules }

// Rule returns the rule of that name, or nil.
func (s *Set) Rule(name string) *Rule { return s.byName[name] }

// Match finds the rule for a request: the path as sent, without its query string. At each segment a
// literal goes before a parameter, and that before /**; of one pattern's rules the one for the method
// goes before the one for every method. HEAD takes GET's rule where it has none of its own. A pattern
// without a rule for the method is passed over, so a catch-all still answers.
//
// A path with . or .. segments is matched by a /** at the root and by nothing else: whoever resolves
// them behind that rule could have been asked for the result as well, while any other rule would be
// left by its back door.
func (s *Set) Match(method string, path []byte, m *Match) MatchResult {
	m.Rule, m.Allow = nil, m.Allow[:0]
	if len(path) == 0 || path[0] != '/' || bytes.IndexByte(path, 0) >= 0 {
		return NoRoute
	}
	w := walk{method: method, m: m}
	if hasDotSegment(path) {
		m.Rule = w.choose(s.root.rest)
	} else {
		m.Rule = w.find(s.root, path, 0)
	}
	switch {
	case m.Rule != nil:
		return Matched
	case len(m.Allow) > 0:
		slices.Sort(m.Allow)
		return MethodNotAllowed
	}
	return NoRoute
}

// walk is one search of the tree.
type walk struct {
	method string
	m      *Match
}

// find returns the most specific rule below n for what is left of the path: nothing, or a slash and more.
func (w *walk) find(n *node, path []byte, params int) *Rule {
	if len(path) == 0 {
		if r := w.choose(n.here); r != nil {
			return r
		}
		return w.choose(n.rest)
	}
	raw, left := path[1:], []byte(nil)
	if i := bytes.IndexByte(raw, '/'); i >= 0 {
		raw, left = raw[:i], raw[i:]
	}
	if seg, ok := w.decode(raw); ok {
		if c := n.literals[string(seg)]; c != nil {
			if r := w.find(c, left, params); r != nil {
				return r
			}
		}
		if n.param != nil && len(raw) > 0 {
			if r := w.find(n.param, left, params+1); r != nil {
				w.m.path[params] = raw
				return r
			}
		}
	}
	if len(n.rest) == 0 {
		return nil
	}
	return w.choose(n.rest)
}

// decode returns the segment decoded, in the match's scratch if it must be.
func (w *walk) decode(raw []byte) ([]byte, bool) {
	if bytes.IndexByte(raw, '%') < 0 {
		return raw, true
	}
	seg, ok := appendPathDecoded(w.m.scratch[:0], raw)
	w.m.scratch = seg
	return seg, ok
}

// choose returns the rule for the method, and notes the methods there are when there is none.
func (w *walk) choose(list endings) *Rule {
	var get, every *Rule
	for _, r := range list {
		switch r.Method {
		case w.method:
			return r
		case "GET":
			get = r
		case "":
			every = r
		}
	}
	if get != nil && w.method == "HEAD" {
		return get
	}
	if every != nil {
		return every
	}
	for _, r := range list {
		w.allow(r.Method)
		if r.Method == "GET" {
			w.allow("HEAD")
		}
	}
	return nil
}

func (w *walk) allow(method string) {
	if !slices.Contains(w.m.Allow, method) {
		w.m.Allow = append(w.m.Allow, method)
	}
}
