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
