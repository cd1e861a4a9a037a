package redis

import (
	"context"
	"errors"
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

func TestWhatRedisAnswersIsNoFaultOfIts(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		nil, goredis.Nil, fmt.Errorf("get: %w", serverError("WRONGTYPE Operation against a key holding the wrong kind of value")),
	} {
		if !answered(err) {
			t.Errorf("%v opens the breaker", err)
		}
	}
	for _, err := range []error{
		context.DeadlineExceeded, errors.New("EOF"), serverError("LOADING Redis is loading the dataset in memory"),
		serverError("READONLY You can't write against a read only replica."), serverError("NOAUTH Authentication required."),
		goredis.ErrAutoPipelineQueueFull,
	} {
		if answered(err) {
			t.Errorf("%v does not open the breaker", err)
		}
	}
}
