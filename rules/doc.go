// Package rules turns a configuration file into an immutable set of rules, and a request into the rule
// that answers it, its typed parameters and its cache key.
//
//	file ── Load ──> Set ── Match(method, path) ──> Rule ── ReadInput(request) ──> Input ── AppendKey ──> key
//
// Every mistake of a file is reported at once, each with file:line:column and what to do about it. What a
// rule does not name is neither keyed nor forwarded, so nothing unnamed can split or poison the cache.
package rules
