// Package nexus holds the NEXUS clients API as configuration: schema, data, statements and rules. Nothing but
// the files themselves: no Go code knows a client.
package nexus

import "embed"

// Files are schema.sql, data.sql, forebay.yaml, queries/*.sql and README.md. Safe for concurrent use.
//
//go:embed schema.sql data.sql forebay.yaml queries/*.sql README.md
var Files embed.FS
