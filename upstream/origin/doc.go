// Package origin is the source behind rules that forward: one HTTP service, behind one circuit breaker
// and one pool of connections.
//
//	Fetch   a storable rule's request: whole, buffered, judged for storing
//	Pass    everything else: forwarded as it is, streamed both ways, nothing stored
//
// # What a storable request carries
//
// Fetch sends nothing of the client's request but what the key is made of: path and query as rules wrote
// them, the fields that the rule varies on, and those that tell callers apart. The rest of what it sends is
// the same for every client. So two requests with one key are one request to the service, byte for byte,
// and what the key does not know cannot decide the answer: there is nothing to poison the cache with.
//
// This also settles Vary. A response that varies on a field which was sent varies on what is keyed. One that varies
// on a field which was not sent is not stored (RFC 9111 s.4.1 would have it keyed): it was selected by the field's
// absence, which is not what every client asks for, so the request goes again, with all of its own fields. (What
// varies on Origin is stored for those who send none, as most do: see Answers.) No
// secondary key is needed, and an index of variants never grows. The price: a field that the service needs must be
// named, in vary or identity. PostgREST, for one, needs Accept, Accept-Profile, Prefer and Range named where
// clients send them. Conditional requests stay here: their fields are never sent.
//
// A request with credentials that the rule does not name (Personal) is no request for the rule's key: it
// goes by Pass.
//
// # How a request is sent
//
// The pool and the parser of responses are fasthttp's; the exchange itself is not its RoundTripper, which
// sends a whole body before it looks for the answer, normalises the target, and gives back connections
// that hold bytes nobody asked for. Here the target travels as it came, an early answer is seen while the
// body is still on its way, and a connection is used again only if the exchange on it ended cleanly and
// nothing has arrived since.
//
// A request is repeated once, and only if it is a GET, HEAD or OPTIONS without a body, went out on a
// connection that had been used before, and not one byte came back: the service closed it meanwhile.
//
// # Limits
//
// Trailers and interim responses other than 101 are not forwarded. A Date that a service sends is written
// anew by the server. Of the protocols to upgrade to, websocket alone is tunnelled.
//
// An HTTP/1.0 client gets a body of unknown length to the end of its connection, which is reset where the
// body is cut. A client that goes on sending after an early refusal may lose it to a reset, since the server
// does not read on before it closes.
package origin
