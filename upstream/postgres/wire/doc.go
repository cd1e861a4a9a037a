// Package wire writes Postgres wire values as JSON and as CSV, without building Go values in between.
//
// # What is exact
//
// A value is written as Postgres's own to_json would write it in the same session, byte for byte: that
// is the promise, and a property test holds it against a real server for every type. It rests on one
// observation: to_json writes all but a few types as their text output, so the text format is exact by
// construction and only a few types need work here:
//
//   - bool becomes true or false.
//   - int2, int4, int8, float4, float8, numeric stay bare when they are JSON numbers; NaN and the
//     infinities become strings.
//   - date, timestamp, timestamptz take the form of ISO 8601 with a T and a full offset.
//   - json and jsonb are copied.
//   - Arrays become nested JSON arrays, composites become objects; what is in them follows the same rules.
//     Domains are what they stand on.
//   - hstore becomes an object, as its cast to json does it.
//   - Everything else becomes a string: text, bytea, uuid, enums, ranges, intervals, geometry, network
//     addresses and every type that this package never heard of.
//
// Text output follows settings of the session; SessionSettings lists those that matter.
//
// # What needs the server
//
// to_json uses a type's own cast to json, and an anonymous record has field names that are not sent.
// NeedsToJSON tells such columns; the statement has to say to_json(column) for them, and NewEncoder
// refuses them.
//
// # Formats
//
// FormatOf says in which format a column should be asked for. Binary is taken where the server's text
// output costs more than ours or is longer: timestamps, dates, uuid, bytea. Both formats are understood
// for these, so that a session on the simple protocol, where all is text, gives the same bytes.
//
// # Trust
//
// Values are what a Postgres server sent. A value that cannot be what its column says is an error
// (ErrMismatch), never a panic and never broken JSON, with one exception: json and jsonb are copied
// unread, since the server has already checked them.
package wire
