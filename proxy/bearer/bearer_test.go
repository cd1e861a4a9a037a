package bearer

import (
	"testing"

	"github.com/valyala/fasthttp"

	"forebay/rules"
)

func TestOnlyTheConfiguredTokenIsLetIn(t *testing.T) {
	t.Parallel()
	f := func(token rules.Secret, authorization string, want int) {
		t.Helper()
		var ctx fasthttp.RequestCtx
		if authorization != "" {
			ctx.Request.Header.Set("Authorization", authorization)
		}
		got := 0
		p := Check(&ctx, token)
		if p != nil {
			got = p.Status
		}
		if got != want {
			t.Errorf("token %q, Authorization %q: got %d, want %d", string(token), authorization, got, want)
		}
		if challenged := len(ctx.Response.Header.Peek("WWW-Authenticate")) > 0; challenged != (want == 401) {
			t.Errorf("Authorization %q: WWW-Authenticate sent: %v", authorization, challenged)
		}
	}
	f("s3cret", "Bearer s3cret", 0)
	f("s3cret", "bearer  s3cret ", 0)
	f("s3cret", "", 401)
	f("s3cret", "Basic s3cret", 401)
	f("s3cret", "Bearer", 401)
	f("s3cret", "Bearer ", 401)
	f("s3cret", "Bearer s3cre", 403)
	f("s3cret", "Bearer s3cret s3cret", 403)
	// Without a token configured nobody is let in, least of all with an empty one.
	f("", "", 403)
	f("", "Bearer ", 403)
	f("", "Bearer x", 403)
}

func TestTheHintNamesTheSetting(t *testing.T) {
	t.Parallel()
	p := Check(new(fasthttp.RequestCtx), "")
	if p == nil || p.Hint == "" {
		t.Fatalf("got %v, want a hint", p)
	}
}
