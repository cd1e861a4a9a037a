package health

import "testing"

func TestPostgresDownIsDegradedWhileTheCacheAnswersAndUnhealthyAfter(t *testing.T) {
	t.Parallel()
	parts := []Part{{Name: Postgres, Level: Down, Essential: true}, {Name: Redis, Level: Off}}
	if got := Overall(parts, true); got != DegradedStatus {
		t.Errorf("with a filled cache: %s, want degraded", got)
	}
	if got := Overall(parts, false); got != Unhealthy {
		t.Errorf("with an empty cache: %s, want unhealthy", got)
	}
	parts = append(parts, Part{Name: Upstreams, Of: "legacy", Level: Up})
	if got := Overall(parts, false); got != DegradedStatus {
		t.Errorf("with an upstream that still answers: %s, want degraded", got)
	}
}

func TestRedisDownIsDegradedAndStillReady(t *testing.T) {
	t.Parallel()
	parts := []Part{{Name: Postgres, Essential: true}, {Name: Redis, Level: Down, Reason: "connection refused"}}
	if got := Overall(parts, false); got != DegradedStatus {
		t.Errorf("got %s, want degraded", got)
	}
	if !Ready(parts) {
		t.Error("not ready, want ready: forebay answers without Redis")
	}
}

func TestAnEssentialPartThatIsDownIsNotReady(t *testing.T) {
	t.Parallel()
	if Ready([]Part{{Name: Postgres, Level: Down, Essential: true}}) {
		t.Error("ready, want not ready")
	}
	if !Ready([]Part{{Name: Postgres, Level: Degraded, Essential: true}, {Name: Upstreams, Level: Down}}) {
		t.Error("not ready, want ready: only what is essential and down counts")
	}
}

func TestWhatIsNotConfiguredIsNotMissing(t *testing.T) {
	t.Parallel()
	if got := Overall([]Part{{Name: Postgres, Level: Off}, {Name: Upstreams, Of: "legacy"}, {Name: ChangeFeed, Level: Off}}, false); got != Healthy {
		t.Errorf("got %s, want healthy", got)
	}
}

func TestAPartsOwnWordComesBeforeItsLevel(t *testing.T) {
	t.Parallel()
	if got := (Part{Name: Breaker, Level: Down, State: "open"}).Word(); got != "open" {
		t.Errorf("got %q, want open", got)
	}
	if got := (Part{Name: Postgres, Level: Down}).Word(); got != "down" {
		t.Errorf("got %q, want down", got)
	}
}
