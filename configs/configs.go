// Package configs holds the files that forebay brings along: the defaults that every configuration starts
// from, the example that explains every key, and the JSON Schema for editors. Nothing but the files themselves.
package configs

import "embed"

// Files are defaults.yaml, example.yaml and schema.json. Safe for concurrent use.
//
//go:embed defaults.yaml example.yaml schema.json
var Files embed.FS
