package postgres_test

import "forebay/upstream/postgres"

// bothWays are the two ways to talk to a database: directly, and as behind a pooler that gives each
// transaction any of its connections.
var bothWays = map[string]func(*postgres.Config){
	"prepared":   func(c *postgres.Config) { c.PreparedStatements = true },
	"unprepared": func(c *postgres.Config) { c.PreparedStatements = false },
}
