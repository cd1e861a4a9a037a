package rules

// fields is where a rule's parameters stand in a request, found out once. Immutable.
type fields struct {
	body     bool  // there are body parameters
	bindBody bool  // a statement binds @body, or the body is forwarded
	segment  []int // for each parameter of the pattern its index in Rule.Params; -1 if it has no type
}
