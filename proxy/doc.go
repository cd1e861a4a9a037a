// Package proxy is the door by which requests come in.
//
//	accept → match rule → identity → typed parameters → key → lookup (memory → shared tier)
//	  hit   → current? fresh? → write                     no lock, no allocation of our own
//	  expired, within stale-while-revalidate → write; at most one refresh per key
//	  miss  → join or open the flight of this key → fetch → storable? current? → store → write
//	  write → run it → its change is applied before it answers
//
// Proxy.answer reads like that table. Exactly one place decides each of: may this caller have it
// (rules.Rule.AppendKey: callers who may not share do not share a key), is it storable (fill.go), is it
// fresh (cache.StoredResponse.FreshnessAt), is it current (cache.Standing.Check).
//
// A request's Outcome is written once, in the words of RFC 9211, and the header, the metrics, the access
// log and the performance endpoints are all printed from it:
//
//	requests = hits (hit, stale) + forwarded (miss, collapsed, bypass, write, failed) + refused
//
// Nothing of a fasthttp.RequestCtx outlives its handler: what a flight needs is copied at the door.
package proxy
