package rules

// Normalise appends the normal form of a text given for the parameter, as it stands in a path, query or header;
// a List's is a Postgres array literal. The error is for people and does not name the parameter. Bounds
// that are set are checked, so a bound is normalised before it is set.
func (p *Param) Normalise(dst []byte, text []byte) ([]byte, error) { return append(dst, text...), nil }

// AppendJSON appends a parameter's value as JSON.
func (p *Param) AppendJSON(dst []byte, a Argument) []byte { return dst }
