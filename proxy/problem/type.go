package problem

// Type is a kind of problem: a URN that programs may compare.
type Type string

// The types of problems. The package's table says when each is used.
const (
	Malformed            Type = "urn:forebay:problem:malformed"
	TooManyItems         Type = "urn:forebay:problem:too-many-items"
	Unauthorized         Type = "urn:forebay:problem:unauthorized"
	Forbidden            Type = "urn:forebay:problem:forbidden"
	NotFound             Type = "urn:forebay:problem:not-found"
	NoRoute              Type = "urn:forebay:problem:no-route"
	MethodNotAllowed     Type = "urn:forebay:problem:method-not-allowed"
	RequestTimeout       Type = "urn:forebay:problem:request-timeout"
	Conflict             Type = "urn:forebay:problem:conflict"
	PreconditionFailed   Type = "urn:forebay:problem:precondition-failed"
	ContentTooLarge      Type = "urn:forebay:problem:content-too-large"
	ResultTooLarge       Type = "urn:forebay:problem:result-too-large"
	URITooLong           Type = "urn:forebay:problem:uri-too-long"
	UnsupportedMediaType Type = "urn:forebay:problem:unsupported-media-type"
	InvalidParameter     Type = "urn:forebay:problem:invalid-parameter"
	Constraint           Type = "urn:forebay:problem:constraint"
	TooManyRequests      Type = "urn:forebay:problem:too-many-requests"
	HeaderTooLarge       Type = "urn:forebay:problem:header-too-large"
	Internal             Type = "urn:forebay:problem:internal"
	NotImplemented       Type = "urn:forebay:problem:not-implemented"
	BadGateway           Type = "urn:forebay:problem:bad-gateway"
	Unavailable          Type = "urn:forebay:problem:unavailable"
	PoolExhausted        Type = "urn:forebay:problem:pool-exhausted"
	Overloaded           Type = "urn:forebay:problem:overloaded"
	Timeout              Type = "urn:forebay:problem:timeout"
)

// kind is a row of the table of types.
type kind struct {
	of     Type
	status int
	title  string
}

// kinds returns the table, in the order of statuses: the first of a status is its most general.
func kinds() []kind {
	return []kind{
		{Malformed, 400, "The request is malformed"},
		{TooManyItems, 400, "The request has too many items"},
		{Unauthorized, 401, "A token is needed"},
		{Forbidden, 403, "Not allowed"},
		{NotFound, 404, "Not found"},
		{NoRoute, 404, "No such route"},
		{MethodNotAllowed, 405, "Method not allowed"},
		{RequestTimeout, 408, "The request did not arrive in time"},
		{Conflict, 409, "Conflict with what is stored"},
		{PreconditionFailed, 412, "A condition of the request does not hold"},
		{ContentTooLarge, 413, "The request's body is too large"},
		{ResultTooLarge, 413, "The result is too large"},
		{URITooLong, 414, "The request target is too long"},
		{UnsupportedMediaType, 415, "The request's media type is not supported"},
		{InvalidParameter, 422, "A parameter is invalid"},
		{Constraint, 422, "The value breaks a constraint"},
		{TooManyRequests, 429, "Too many requests"},
		{HeaderTooLarge, 431, "The request's header is too large"},
		{Internal, 500, "Internal error"},
		{NotImplemented, 501, "Not implemented"},
		{BadGateway, 502, "The upstream's answer cannot be used"},
		{Unavailable, 503, "The upstream is unavailable"},
		{PoolExhausted, 503, "No database connection is free"},
		{Overloaded, 503, "Too many requests at once"},
		{Timeout, 504, "The answer did not come in time"},
	}
}

// Title returns the type's title.
func (t Type) Title() string { return t.row().title }

// Status returns the type's HTTP status.
func (t Type) Status() int { return t.row().status }

func (t Type) row() kind {
	for _, k := range kinds() {
		if k.of == t {
			return k
		}
	}
	return kind{of: t, status: 500, title: "Internal error"}
}

// orBlank returns the type, or RFC 9457's word for none.
func (t Type) orBlank() Type {
	if t == "" {
		return "about:blank"
	}
	return t
}

// typeOf returns the most general type of a status; a status without one has none.
func typeOf(status int) Type {
	for _, k := range kinds() {
		if k.status == status {
			return k.of
		}
	}
	return ""
}
