package rules

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAnUpstreamIsSentWhatWasUnderstood(t *testing.T) {
	t.Parallel()
	var r *Rule
	f := func(target, want string) {
		t.Helper()
		in, err := readRequest(t, r, requestTo("GET", target, nil))
		got := ""
		if err != nil {
			got = err.Detail
		} else if got = string(in.Path); len(in.Query) > 0 {
			got += "?" + string(in.Query)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}

	r = upstreamRule(t, "GET /things/{id}/**",
		Param{Name: "id", In: FromPath, Type: UUID},
		Param{Name: "limit", In: FromQuery, Type: Int, Default: pointer("20")},
		Param{Name: "q", In: FromQuery, Type: Text, Optional: true},
		Param{Name: "tags", In: FromQuery, Type: Text, List: true, Optional: true})
	f("/things/AAAAAAAA-0000-1111-2222-333333333333/a/%7Eb%3b?junk=1&q=a+b%26c&limit=020",
		"/things/aaaaaaaa-0000-1111-2222-333333333333/a/~b%3B?limit=20&q=a%20b%26c")
	f("/things/AAAAAAAA-0000-1111-2222-333333333333?tags=x%26,%22y&q=", "/things/aaaaaaaa-0000-1111-2222-333333333333?limit=20&tags=x%26,%22y")
	for _, path := range []string{"a//b", "a%2Fb", "a%5cb", "a\\b", "a%00", "a%0ab", "a%zz"} {
		f("/things/AAAAAAAA-0000-1111-2222-333333333333/"+path, "/things/aaaaaaaa-0000-1111-2222-333333333333/"+path+"?limit=20")
	}

	r = upstreamRule(t, "GET /p/{name}", Param{Name: "name", In: FromPath, Type: Text})
	f("/p/gr%6fup%2fname;v=1?", "/p/group%2Fname%3Bv%3D1")
	f("/p/x?b=2&a=1&&b=1&c", "/p/x?a=1&b=2&b=1&c")
	f("/p/x?b=%7e%2f/%c3%a9é+%20", "/p/x?b=~%2F/%C3%A9%C3%A9+%20")
	f("/p/x?b=100%&a=%4g\"", "/p/x?a=%4g%22&b=100%")
	f("/p/x?b=%%341", "/p/x?b=%%341")
	f("/p/x?a[]=2&a[0]=1&A=3", "/p/x?a%5B%5D=2&a%5B0%5D=1&A=3")
	f("/p/x?a+b=2&a%20b=1&a.b=3&a_b=4", "/p/x?a+b=2&a%20b=1&a.b=3&a_b=4")
	f("/p/x?z=1;a=2&b=3", "/p/x?z=1;a=2&b=3") // some take ; for a separator, so nothing is moved

	r = upstreamRule(t, "/**")
	r.Pass = true
	f("//a/../%zz/%41?b=2&a=%7E", "//a/../%zz/%41?b=2&a=%7E")
}

func TestARuleThatStoresMakesNoKeyOfAPathWithDots(t *testing.T) {
	t.Parallel()
	r := upstreamRule(t, "GET /**")
	for _, path := range []string{"/a/../b", "/%2e%2e/b", "/a/..%2fb", "/./a", "//a"} {
		if in, err := readRequest(t, r, requestTo("GET", path, nil)); err != nil || !in.Unkeyed || string(in.Path) != path {
			t.Errorf("%s: %v, forwarded as %q and keyed: %v", path, err, in.Path, !in.Unkeyed)
		}
	}
	for _, path := range []string{"/", "/a/", "/.well-known/x", "/a;b=c/d"} {
		if in, err := readRequest(t, r, requestTo("GET", path, nil)); err != nil || in.Unkeyed {
			t.Errorf("%s: %v, keyed: %v", path, err, !in.Unkeyed)
		}
	}
}

// An upstream reads the same values, in the same order, from what is forwarded as from what was sent.
func TestForwardingKeepsTheMeaningOfAQueryString(t *testing.T) {
	t.Parallel()
	r := upstreamRule(t, "GET /x")
	text := rapid.StringMatching(`([a-cA-C.=+~é]|%2[0-9a-fA-F]|%[4-6][1-3a-c]|%C3%A9){0,4}`)
	rapid.Check(t, func(rt *rapid.T) {
		pieces := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return text.Draw(t, "name") + "=" + text.Draw(t, "value") }), 0, 6).Draw(rt, "pieces")
		query := strings.Join(pieces, "&")
		in, err := readRequest(t, r, requestTo("GET", "/x?"+query, nil))
		if err != nil {
			rt.Fatal(err)
		}
		sent, errSent := url.ParseQuery(query)
		forwarded, errForwarded := url.ParseQuery(string(in.Query))
		if errSent != nil || errForwarded != nil || !reflect.DeepEqual(sent, forwarded) {
			rt.Fatalf("?%s became ?%s: %v, want %v", query, in.Query, forwarded, sent)
		}
		again, err := readRequest(t, r, requestTo("GET", "/x?"+string(in.Query), nil))
		if err != nil || string(again.Query) != string(in.Query) {
			rt.Fatalf("?%s became ?%s, and that ?%s, %v", query, in.Query, again.Query, err)
		}
	})
}

// The order between pieces of different names is nobody's meaning.
func TestReorderedQueryStringsAreForwardedAlike(t *testing.T) {
	t.Parallel()
	r := upstreamRule(t, "GET /x")
	rapid.Check(t, func(rt *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}`), 1, 6, rapid.ID[string]).Draw(rt, "names")
		pieces := make([]string, len(names))
		for i, name := range names {
			pieces[i] = name + "=" + rapid.StringMatching(`[a-z0-9]{0,3}`).Draw(rt, "value")
		}
		shuffled := rapid.Permutation(slices.Clone(pieces)).Draw(rt, "shuffled")
		a := keyOf(t, r, requestTo("GET", "/x?"+strings.Join(pieces, "&"), nil))
		b := keyOf(t, r, requestTo("GET", "/x?"+strings.Join(shuffled, "&"), nil))
		if a != b {
			rt.Fatalf("%v and %v have different keys", pieces, shuffled)
		}
	})
}
