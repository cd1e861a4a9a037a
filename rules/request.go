package rules

// Request is what of a request can reach a rule's parameters. The caller lends the bytes until the
// Input made of them is no longer used.
type Request struct {
	Method      string
	Path        []byte // as sent, still percent-encoded; matching and parameters both start from it
	Query       []byte // as sent, without '?'
	ContentType []byte
	Body        []byte
	// Header returns the values of a header field as sent, one for each line; none if absent.
	Header func(name string) [][]byte
}
