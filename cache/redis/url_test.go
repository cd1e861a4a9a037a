package redis

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestURLsSayWhatTheySeemToSay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]target{
		"redis://cache":                   {kind: "redis", addrs: []string{"cache:6379"}},
		"redis://cache:6380/3":            {kind: "redis", addrs: []string{"cache:6380"}, db: 3},
		"redis://cache/?db=3":             {kind: "redis", addrs: []string{"cache:6379"}, db: 3},
		"redis://[::1]:6380":              {kind: "redis", addrs: []string{"[::1]:6380"}},
		"rediss://cache":                  {kind: "redis", tls: true, addrs: []string{"cache:6379"}},
		"redis://:s%40c%2Fret@cache":      {kind: "redis", addrs: []string{"cache:6379"}, password: "s@c/ret"},
		"redis://me:a:b@cache":            {kind: "redis", addrs: []string{"cache:6379"}, user: "me", password: "a:b"},
		"redis+cluster://a,b:7001,c":      {kind: "redis+cluster", addrs: []string{"a:6379", "b:7001", "c:6379"}},
		"rediss+cluster://u:p@a,b/0":      {kind: "redis+cluster", tls: true, addrs: []string{"a:6379", "b:6379"}, user: "u", password: "p"},
		"redis+sentinel://a,b:26380/main": {kind: "redis+sentinel", addrs: []string{"a:26379", "b:26380"}, master: "main"},
		"redis+sentinel://u:p@a/main?db=2&sentinel_username=su&sentinel_password=sp": {
			kind: "redis+sentinel", addrs: []string{"a:26379"}, master: "main", db: 2, user: "u", password: "p", sentinelUser: "su", sentinelPassword: "sp",
		},
	} {
		got, err := parseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(target{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", text, d)
		}
	}
}

func TestURLsThatAreWrongAreRefusedWithoutShowingThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"cache:6379":                       "no scheme",
		"http://u:secret@cache":            "unknown scheme",
		"redis://":                         "hosts",
		"redis://u:secret@":                "hosts",
		"redis://u:secret@cache:port":      "hosts",
		"redis://u:sec%ret@cache":          "%25",
		"redis://u:secret@cache/two":       "database",
		"redis://u:secret@cache/-1":        "database",
		"redis://u:secret@a,b":             "several hosts",
		"redis://u:secret@cache?db=x":      "db",
		"redis://u:secret@cache?timeout=1": "unknown option",
		"redis+sentinel://u:secret@a,b":    "master's name",
		"redis+cluster://u:secret@a/1":     "database 0",
		"redis+cluster://u:secret@a?db=1":  "database 0",
		"redis+sentinel://a/m?%zz=secret":  "not a query",
	} {
		_, err := parseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", text, err, want)
		} else if strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: shows the password: %v", text, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, text := range []string{"redis://u:p@cache:1/2?db=3", "redis+sentinel://a,b/m", "rediss+cluster://a,[::1]:2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseURL(text)
		if err == nil && len(got.addrs) == 0 {
			t.Errorf("%q points nowhere", text)
		}
	})
}
