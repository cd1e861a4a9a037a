package redis

import (
	"context"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// oldServer answers scripts as servers before Redis 7 do: they know no flags.
type oldServer struct{ sha string }

type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

func (oldServer) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (oldServer) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

func (o oldServer) ProcessHook(goredis.ProcessHook) goredis.ProcessHook {
	return func(_ context.Context, cmd goredis.Cmder) error {
		text, _ := cmd.Args()[1].(string)
		switch {
		case text == o.sha:
			cmd.SetErr(serverError("NOSCRIPT No matching script. Please use EVAL."))
		case strings.HasPrefix(text, "#!"):
			cmd.SetErr(serverError("ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'"))
		default:
			cmd.(*goredis.Cmd).SetVal("done")
			return nil
		}
		return cmd.Err()
	}
}

func TestAScriptGoesWithoutFlagsWhereTheyAreNotKnown(t *testing.T) {
	t.Parallel()
	s := newScript("return 1")
	client := goredis.NewClient(&goredis.Options{Addr: "localhost:1"})
	defer client.Close()
	client.AddHook(oldServer{sha: s.flagged.Hash()})
	for range 2 {
		if reply, err := s.run(t.Context(), client, "key").Text(); reply != "done" || err != nil {
			t.Errorf("%q, %v", reply, err)
		}
	}
	if !s.old.Load() {
		t.Error("it would be asked with flags again and again")
	}
}
