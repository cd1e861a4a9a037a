// Package problem is forebay's one way to say that a request was not answered as asked: problem details
// (RFC 9457), application/problem+json.
//
// A Problem is for the one who sent the request. It says what went wrong in one human sentence and never
// carries an internal error's text, an address or a statement. Its type is a URN that a program may
// compare; the table below is all of them, and a type keeps its meaning for good.
//
//	urn:forebay:problem:…     status  when
//	malformed                 400     broken JSON, a repeated single parameter, a bad escape in the path
//	too-many-items            400     a batch or a list above its limit
//	unauthorized              401     a route for administrators without a token
//	forbidden                 403     a wrong token, or no token is configured
//	not-found                 404     no row, or no such thing behind the route
//	no-route                  404     no rule matches the path
//	method-not-allowed        405     the path has rules, but none for this method; Allow names those it has
//	request-timeout           408     the request did not arrive whole in time
//	conflict                  409     the database refused: a unique or foreign key, an exclusion
//	precondition-failed       412     If-Match or If-None-Match of a write does not hold; nothing was changed
//	content-too-large         413     the request's body is above the rule's limit
//	result-too-large          413     the result is above the form's limit; the detail names the streaming forms
//	uri-too-long              414     the request target is above the limit
//	unsupported-media-type    415     a body that is not JSON where JSON is wanted
//	invalid-parameter         422     a parameter or field of the wrong type, range, length or enum; see errors
//	constraint                422     the database refused the value: not null, check, a wrong format
//	too-many-requests         429     a limit of requests per time
//	header-too-large          431     the request's header is above the limit
//	internal                  500     forebay's own fault
//	not-implemented           501     a method that forebay does not speak, or a condition of a write that nothing can judge
//	bad-gateway               502     the upstream's answer cannot be used, or it refused the connection
//	unavailable               503     the database or service is down or its circuit is open; see Retry-After
//	pool-exhausted            503     no database connection became free in time; see Retry-After
//	overloaded                503     forebay itself holds too many requests or connections; see Retry-After
//	timeout                   504     the answer did not come before the deadline
package problem

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"

	"forebay/rules"
)

// ContentType is the media type of a written problem.
const ContentType = "application/problem+json"

// Problem is one problem's details. A zero field is not written; a zero Title or Status is the type's. Not
// safe for concurrent use while it is being filled, and safe after.
type Problem struct {
	Type       Type
	Title      string // of the type, not of the occurrence
	Status     int
	Detail     string        // one human sentence about this occurrence
	Code       string        // Postgres's SQLSTATE, where it helps the caller
	Hint       string        // what the caller can do
	Errors     []FieldError  // each field at fault
	Instance   string        // a URI reference of this occurrence
	RetryAfter time.Duration // written as the field Retry-After, in whole seconds, rounded up; 0: none
}

// FieldError says what is wrong with one field of the request.
type FieldError = rules.FieldError

// New makes a problem with its type's title and status.
func New(t Type, detail string) *Problem {
	return &Problem{Type: t, Title: t.Title(), Status: t.Status(), Detail: detail}
}

// OfStatus makes a problem of the type that is most general for the status, for those who know no more.
func OfStatus(status int, detail string) *Problem {
	p := New(typeOf(status), detail)
	if p.Status != status {
		p.Status, p.Title = status, fasthttp.StatusMessage(status)
	}
	return p
}

// OfInput makes the problem that says what is wrong with a request's parameters.
func OfInput(e *rules.InputError) *Problem {
	p := OfStatus(e.Status, e.Detail)
	if e.TooMany {
		p = New(TooManyItems, e.Detail)
	}
	p.Errors = e.Fields
	return p
}

// AppendJSON appends the problem as a JSON object.
func (p *Problem) AppendJSON(dst []byte) []byte {
	title, status := p.Title, p.Status
	if title == "" {
		title = p.Type.Title()
	}
	if status == 0 {
		status = p.Type.Status()
	}
	dst = append(dst, `{"type":`...)
	dst = appendString(dst, string(p.Type.orBlank()))
	dst = append(dst, `,"title":`...)
	dst = appendString(dst, title)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = appendMember(dst, "detail", p.Detail)
	dst = appendMember(dst, "instance", p.Instance)
	dst = appendMember(dst, "code", p.Code)
	dst = appendMember(dst, "hint", p.Hint)
	if len(p.Errors) > 0 {
		dst = append(dst, `,"errors":[`...)
		for i, e := range p.Errors {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"field":`...)
			dst = appendString(dst, e.Field)
			dst = appendMember(dst, "in", e.In)
			dst = appendMember(dst, "detail", e.Detail)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// Error returns the detail, or the title when there is none.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	if p.Title != "" {
		return p.Title
	}
	return p.Type.Title()
}

// Write makes the problem the response's body and status. Fields that the response already has stay, but
// for those that describe a body: nothing of an earlier attempt at a body is left.
func Write(ctx *fasthttp.RequestCtx, p *Problem) {
	status := p.Status
	if status == 0 {
		status = p.Type.Status()
	}
	r := &ctx.Response
	r.SetStatusCode(status)
	for _, name := range []string{
		fasthttp.HeaderContentEncoding, fasthttp.HeaderETag, fasthttp.HeaderLastModified,
		fasthttp.HeaderContentDisposition, fasthttp.HeaderAge, fasthttp.HeaderExpires,
	} {
		r.Header.Del(name)
	}
	r.Header.SetContentType(ContentType)
	r.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	r.Header.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	if p.RetryAfter > 0 {
		seconds := int64((p.RetryAfter + time.Second - 1) / time.Second)
		r.Header.Set(fasthttp.HeaderRetryAfter, strconv.FormatInt(seconds, 10))
	}
	r.SetBodyRaw(p.AppendJSON(nil))
}

func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return appendString(dst, value)
}

// appendString quotes s. Its error only says that invalid UTF-8 was replaced, which is what is wanted here.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
