package rules

import (
	"strings"
	"testing"
)

func TestURLsOfARedisAreJudgedByTheirKind(t *testing.T) {
	f := func(url, mistake string) {
		t.Helper()
		c := compiler{report: newReport("f", nil)}
		c.redisURL("cache.redis", url)
		switch {
		case mistake == "" && len(c.list) > 0:
			t.Errorf("%s: %v", url, c.list)
		case mistake != "" && (len(c.list) != 1 || !strings.Contains(c.list[0].Message, mistake)):
			t.Errorf("%s: got %v, want %s", url, c.list, mistake)
		}
	}
	f("redis://localhost", "")
	f("redis://user:pa%40ss@localhost:6379/3", "")
	f("rediss://[::1]:6380/?db=2", "")
	f("redis+cluster://a:1,b:2,c", "")
	f("rediss+sentinel://u:p@a:26379,b:26379/main?db=1", "")
	f("localhost:6379", "not the URL of a Redis")
	f("redis://u:p%zz@localhost", "not the URL of a Redis")
	f("http://localhost", "does not begin with http://")
	f("redis://a,b", "several hosts")
	f("redis+sentinel://a,b", "does not name the master")
	f("redis+cluster://a,,b", "hosts is missing")
	f("redis://a:x", "not host:port")
}

func TestADatabaseIsNamedWithoutSecrets(t *testing.T) {
	f := func(url, want string) {
		t.Helper()
		if got := databaseName(url); got != want {
			t.Errorf("%s is named %q, want %q", url, got, want)
		}
	}
	f("postgres://u:secret@h:1/db?sslmode=require", "postgres u@h:1/db")
	f("postgres://u:sec/r@et@h1:1,h2:2/db", "postgres u@h1:1,h2:2/db")
	f("postgresql://localhost/db?search_path=tenant&user=u&password=secret", "postgres @localhost/db user=u search_path=tenant")
	f("host=h password=secret dbname=db user=u", "postgres host=h dbname=db user=u")
}
