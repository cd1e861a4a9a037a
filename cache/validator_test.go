package cache_test

import (
	"testing"

	"forebay/cache"
)

func TestConditionsNameWhatAnEncodingIsOf(t *testing.T) {
	t.Parallel()
	f := func(tags, want string) {
		t.Helper()
		if got := string(cache.AppendPlainTags(nil, []byte(tags))); got != want {
			t.Errorf("%s becomes %s, want %s", tags, got, want)
		}
	}
	for _, coding := range []string{"gzip", "br", "zstd"} {
		f(cache.EncodedTag(`"a"`, coding), `"a-`+coding+`", "a"`)
	}
	f(`W/"a-br"`, `W/"a-br", W/"a"`)
	f(`"a", "b-gzip" , "c-zstd"`, `"a", "b-gzip" , "c-zstd", "b", "c"`)
	f(`"a-deflate"`, `"a-deflate"`)
	f(`"gzip"`, `"gzip"`)
	f(`*`, `*`)
	f(``, ``)
	f(`"a-gzip`, `"a-gzip`)
	f(`a-gzip"`, `a-gzip"`)
}

func TestWhatIsNoEntityTagHasNoneOfAnEncoding(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{``, `"`, `a`, `"a`, `abc`} {
		if got := cache.EncodedTag(tag, "gzip"); got != "" {
			t.Errorf("%s under gzip is %s", tag, got)
		}
	}
}

func TestETagsMatchWeaklyAndStrongly(t *testing.T) {
	t.Parallel()
	f := func(tags, etag string, weakly, strongly bool) {
		t.Helper()
		if got := cache.MatchesETag([]byte(tags), etag); got != weakly {
			t.Errorf("%s names %s weakly: %t", tags, etag, got)
		}
		if got := cache.MatchesETagStrongly([]byte(tags), etag); got != strongly {
			t.Errorf("%s names %s strongly: %t", tags, etag, got)
		}
	}
	f(`"a"`, `"a"`, true, true)
	f(` "b" ,W/"c",, "a"	`, `"a"`, true, true)
	f(`W/"a"`, `"a"`, true, false)
	f(`"a"`, `W/"a"`, true, false)
	f(`W/"a"`, `W/"a"`, true, false)
	f(`W/"a", "a"`, `"a"`, true, true)
	f(` * `, `"a"`, true, true)
	f(`*`, ``, false, false)
	f(`"b"`, `"a"`, false, false)
	f(`"a`, `"a"`, false, false)
	f(`a`, `"a"`, false, false)
	f(`"b" "a"`, `"a"`, false, false)
	f(`*, "a"`, `"a"`, false, false)
	f(`"*"`, `"a"`, false, false)
	f(`"b,"a","`, `"a"`, false, false)
	f(`w/"a"`, `"a"`, false, false)
	f(`"A"`, `"a"`, false, false)
	f(`"a-gzip"`, `"a"`, false, false)
	f(``, `"a"`, false, false)
}
