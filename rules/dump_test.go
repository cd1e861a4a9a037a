package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// What is dumped is the configuration itself: read again it has the same settings and the same rules.
func TestADumpReadsBackAsTheSameConfiguration(t *testing.T) {
	config, err := Load("../configs/example.yaml", testEnv)
	if err != nil {
		t.Fatal(err)
	}
	dump, err := config.Dump()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(dump), "url: <redacted>", "url: postgres://forebay@127.0.0.1:5432/shop", 1)
	again, err := Parse("../configs/example.yaml", []byte(text), os.DirFS("../configs"), testEnv)
	if err != nil {
		t.Fatalf("%v\n%s", err, dump)
	}
	unexported := cmpopts.IgnoreUnexported(Rule{}, Param{}, Pattern{}, Set{}, Statement{})
	lines := cmpopts.IgnoreFields(Position{}, "Line", "Column")
	text1 := cmpopts.IgnoreFields(Statement{}, "Line")
	if diff := cmp.Diff(*config, *again, unexported, lines, text1, cmpopts.IgnoreFields(Config{}, "file", "Warnings")); diff != "" {
		t.Errorf("settings (-first +again):\n%s", diff)
	}
	if diff := cmp.Diff(config.Rules.Rules(), again.Rules.Rules(), unexported, lines, text1); diff != "" {
		t.Errorf("rules (-first +again):\n%s", diff)
	}
}

func TestADumpShowsWhatIsInEffectAndNoSecrets(t *testing.T) {
	config, err := Parse("forebay.yaml", []byte(`
admin: {token: s3cret}
postgres: {url: "postgres://u:s3cret@localhost/shop"}
cache: {redis: "redis://:s3cret@localhost"}
routes:
  - {route: GET /a, kind: find, params: {q: text}, query: "select '$${SET}', @q"}
  - {route: POST /a, batch: {item: {a: int}}, query: select @a, rows: none, response: {n: "@total", t: "@@t"}}
`), fstest.MapFS{}, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Dump()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(got), "s3cret") {
		t.Error("a secret is shown")
	}
	golden := filepath.Join("testdata", "dump.yaml")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
