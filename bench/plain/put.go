package plain

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Put puts n values into Redis.
func Put(ctx context.Context, redisURL string, n int, of func(i int) (key string, value []byte)) error {
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		return fmt.Errorf("read Redis' URL: %w", err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range n {
			key, value := of(i)
			p.Set(ctx, key, value, 0)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put values into Redis: %w", err)
	}
	return nil
}
