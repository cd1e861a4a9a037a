package proxy

import (
	"bytes"
	"context"

	"github.com/valyala/fasthttp"
)

// Do answers a request as if a client without credentials had sent it, without a connection: for the
// benchmark and the dashboard of the performance endpoints. The body is the caller's.
func (p *Proxy) Do(ctx context.Context, method, target, body string) (status int, answer []byte, hit bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, false, err
	}
	var request fasthttp.Request
	request.Header.SetMethod(method)
	request.SetRequestURI(target)
	request.Header.SetHost("forebay")
	if body != "" {
		request.Header.SetContentType("application/json")
		request.SetBodyString(body)
	}
	var exchange fasthttp.RequestCtx
	exchange.Init(&request, nil, nil)
	p.Handle(&exchange)
	response := &exchange.Response
	outcome := response.Header.Peek("Cache-Status")
	return response.StatusCode(), bytes.Clone(response.Body()), bytes.Contains(outcome, []byte("forebay; hit")), nil
}
