package rules

// given is where a request has a parameter's value.
type given struct {
	text  []byte // as sent: still encoded in a query string or JSON
	times int    // how often it is there
}

// piece is one name=value of a query string.
type piece struct{ raw []byte }

// ReadInput reads the request's parameters into in: every one checked and in its normal form.
func (r *Rule) ReadInput(req *Request, m *Match, in *Input) *InputError { return nil }
