package cache_test

import (
	"testing"

	"forebay/cache"
)

func TestTheCodingIsTheClientsChoice(t *testing.T) {
	t.Parallel()
	f := func(accept, want string) {
		t.Helper()
		if got := cache.ChooseEncoding([]byte(accept)); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
	f("", "")
	f("gzip", "gzip")
	f("gzip, deflate, br, zstd", "br")
	f("GZIP", "gzip")
	f("br;q=0.5, gzip;q=0.8", "gzip")
	f("br;q=0.5,gzip;q=0.500", "br")
	f("br;Q=0, gzip", "gzip")
	f("*", "br")
	f("*;q=0", "")
	f("*;q=0, gzip;q=0.001", "gzip")
	f("gzip;q=0, br;q=0, zstd;q=0, *", "")
	f("identity", "")
	f("identity;q=1, gzip;q=0.5", "")
	f("identity;q=0.5, gzip;q=0.5", "gzip")
	f("identity;q=0, deflate", "")
	f("x-gzip, deflate", "gzip") // RFC 9110 s.8.4.1.3
	// What cannot be read has no coding forced on it.
	f("gzip;q=1.5", "")
	f("gzip;q=0.1234", "")
	f("gzip;q", "")
	f("gzip;q=", "")
	f("br, gzip;q=x", "")
	f("gzip br", "")
}

func TestAMediaTypeIsChosenByItsName(t *testing.T) {
	t.Parallel()
	types := []string{"text/csv", "application/x-ndjson", "application/json"}
	for accept, want := range map[string]string{
		"text/csv":                         "text/csv",
		"TEXT/CSV; charset=utf-8":          "text/csv",
		"text/csv;q=0.5, application/json": "application/json",
		"application/json, text/csv":       "text/csv",
		"*/*":                              "",
		"text/*":                           "",
		"text/html, */*;q=0.8":             "",
		"text/csv;q=0":                     "",
		`text/csv;x="a,b;q=0", application/json;q=0.1`: "text/csv",
		"text/csv;q=2": "",
	} {
		if got := cache.ChooseMediaType([]byte(accept), types); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
}
