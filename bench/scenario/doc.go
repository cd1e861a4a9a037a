// Package scenario plays what users do and what goes wrong, and says how it went: the five scenarios of the
// NEXUS clients API before and after, how soon a change is seen, and what becomes of requests while a database
// is down, a crowd comes at once, or somebody is up to no good. Each gives a section of the report, whose
// figures carry the goals that they are held against.
package scenario
