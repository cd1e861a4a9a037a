// Package bearer lets operators in: Authorization: Bearer <token> (RFC 6750), compared in constant time.
package bearer

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
	"forebay/rules"
)

// Check returns nil when the request carries the token, and else the problem to answer with:
//
//	no token is configured     403, and how to configure one: nobody is let in by leaving it out
//	no bearer token was sent   401, with WWW-Authenticate
//	another token was sent     403
func Check(ctx *fasthttp.RequestCtx, token rules.Secret) *problem.Problem {
	if token == "" {
		p := problem.New(problem.Forbidden, "This route is for administrators, and no administrator's token is configured.")
		p.Hint = "set admin.token in the configuration (or FOREBAY_ADMIN_TOKEN in the environment) and send it as Authorization: Bearer <token>"
		return p
	}
	sent, ok := sentToken(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization))
	if !ok {
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, `Bearer realm="forebay"`)
		p := problem.New(problem.Unauthorized, "This route is for administrators; send the administrator's token.")
		p.Hint = "send the value of admin.token as Authorization: Bearer <token>"
		return p
	}
	// The sums have one length, so that the time taken tells nothing of the token's length either.
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256(sent)
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return problem.New(problem.Forbidden, "The token that was sent is not the administrator's.")
	}
	return nil
}

// sentToken returns what follows the scheme, whose case does not matter (RFC 9110 s.11.1).
func sentToken(authorization []byte) ([]byte, bool) {
	scheme, rest, ok := bytes.Cut(bytes.TrimSpace(authorization), []byte{' '})
	rest = bytes.TrimSpace(rest)
	return rest, ok && len(rest) > 0 && bytes.EqualFold(scheme, []byte("bearer"))
}
