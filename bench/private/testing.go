package private

import (
	"context"
	"os"
)

// DatabaseURL returns the URL of a Postgres superuser for tests: the one that FOREBAY_TEST_DATABASE_URL
// names, which `make test` starts once for all packages, or else of a server started here. The caller
// must call stop when done.
func DatabaseURL(ctx context.Context) (url string, stop func(), err error) {
	if url := os.Getenv("FOREBAY_TEST_DATABASE_URL"); url != "" {
		return url, func() {}, nil
	}
	pg, err := StartPostgres(ctx, "fsync = off")
	if err != nil {
		return "", nil, err
	}
	return pg.URL("postgres"), pg.Stop, nil
}

// RedisURL is DatabaseURL for Redis, with FOREBAY_TEST_REDIS_URL.
func RedisURL(ctx context.Context) (url string, stop func(), err error) {
	if url := os.Getenv("FOREBAY_TEST_REDIS_URL"); url != "" {
		return url, func() {}, nil
	}
	r, err := StartRedis(ctx)
	if err != nil {
		return "", nil, err
	}
	return r.URL(), r.Stop, nil
}
