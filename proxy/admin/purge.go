package admin

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"forebay/proxy/problem"
)

// maxTargets bounds what one purge may name.
const maxTargets = 1000

// PurgeRequest is the body of POST /purge: everything that any of its members names is purged.
type PurgeRequest struct {
	URLs     []string `json:"urls,omitempty"`     // paths with their query strings, /api/v1/clients/42: all variants and identities
	Prefixes []string `json:"prefixes,omitempty"` // of paths: every URL that begins with one; see PurgeResult.WholeRules
	Tags     []string `json:"tags,omitempty"`
	Tables   []string `json:"tables,omitempty"` // schema.table, or table
	Rules    []string `json:"rules,omitempty"`  // by their names, "GET /api/v1/clients/{id}"
	All      bool     `json:"all,omitempty"`
	Mode     Mode     `json:"mode,omitempty"`    // hard unless said otherwise
	DryRun   bool     `json:"dry_run,omitempty"` // only count
}

// Mode is what a purge does to what it matches.
type Mode string

const (
	// Hard makes it unservable.
	Hard Mode = "hard"
	// Soft makes it expired: stale-while-revalidate and stale-if-error may still serve it.
	Soft Mode = "soft"
)

// PurgeResult tells what a purge did.
type PurgeResult struct {
	Matched int  `json:"matched"` // responses that this instance's memory tier holds of it
	Mode    Mode `json:"mode"`
	DryRun  bool `json:"dry_run"`
	Shared  bool `json:"shared"` // other instances hear of it
	// WholeRules are those of which all was purged, since keys do not tell which of their paths begin with a prefix that
	// reaches into a parameter or /**.
	WholeRules []string `json:"whole_rules,omitempty"`
	Note       string   `json:"note,omitempty"` // what kept it from being shared, for one
}

func (a *Admin) purge(ctx *fasthttp.RequestCtx) {
	var r PurgeRequest
	if bad := decode(ctx.PostBody(), &r); bad != nil {
		problem.Write(ctx, bad)
		return
	}
	a.runPurge(ctx, r)
}

// purgeURL purges the URL that the request itself names, or, as other caches allow, the tags that its
// Surrogate-Key lists. Fastly-Soft-Purge: 1 makes it soft.
func (a *Admin) purgeURL(ctx *fasthttp.RequestCtx) {
	r := PurgeRequest{Mode: Hard}
	if string(ctx.Request.Header.Peek("Fastly-Soft-Purge")) == "1" {
		r.Mode = Soft
	}
	if tags := strings.Fields(string(ctx.Request.Header.Peek("Surrogate-Key"))); len(tags) > 0 {
		r.Tags = tags
	} else {
		r.URLs = []string{string(ctx.Request.Header.RequestURI())}
	}
	a.runPurge(ctx, r)
}

func (a *Admin) runPurge(ctx *fasthttp.RequestCtx, r PurgeRequest) {
	if bad := r.normalise(); bad != nil {
		problem.Write(ctx, bad)
		return
	}
	within, cancel := context.WithTimeout(context.Background(), actTimeout)
	defer cancel()
	result, err := a.deps.Purge(within, r)
	if err != nil {
		a.fail(ctx, "purge", err)
		return
	}
	result.Mode, result.DryRun = r.Mode, r.DryRun
	a.write(ctx, result)
}

// normalise reports everything that is wrong with the request, and brings URLs into the form of a
// request target.
func (r *PurgeRequest) normalise() *problem.Problem {
	var wrong []problem.FieldError
	say := func(field, detail string) {
		wrong = append(wrong, problem.FieldError{Field: field, In: "body", Detail: detail})
	}
	switch r.Mode {
	case "":
		r.Mode = Hard
	case Hard, Soft:
	default:
		say("mode", fmt.Sprintf("is %q; want hard or soft", string(r.Mode)))
	}
	for _, paths := range [][]string{r.URLs, r.Prefixes} {
		for i := range paths {
			paths[i] = targetOf(paths[i])
		}
	}
	checkNames(say, "urls", r.URLs, true)
	checkNames(say, "prefixes", r.Prefixes, true)
	checkNames(say, "tags", r.Tags, false)
	checkNames(say, "tables", r.Tables, false)
	checkNames(say, "rules", r.Rules, false)
	switch named := len(r.URLs) + len(r.Prefixes) + len(r.Tags) + len(r.Tables) + len(r.Rules); {
	case named > maxTargets:
		say("", fmt.Sprintf("%d things are named; at most %d go into one purge", named, maxTargets))
	case named == 0 && !r.All:
		say("", `nothing is named: give urls, prefixes, tags, tables or rules, or "all": true for everything`)
	}
	if len(wrong) == 0 {
		return nil
	}
	p := problem.New(problem.InvalidParameter, "This purge cannot be run: "+strings.TrimSpace(wrong[0].Field+" "+wrong[0].Detail)+".")
	p.Errors = wrong
	return p
}

// checkNames says which of a member's items cannot name anything.
func checkNames(say func(field, detail string), member string, items []string, paths bool) {
	for i, item := range items {
		switch at := fmt.Sprintf("%s[%d]", member, i); {
		case item == "":
			say(at, "is empty")
		case paths && item[0] != '/':
			say(at, fmt.Sprintf("is %q; want a path that begins with /, or an absolute URL", item))
		}
	}
}

// targetOf returns the path and query of an absolute URL, and any other text as it is.
func targetOf(text string) string {
	if !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.RequestURI()
}
