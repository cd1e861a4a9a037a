package rules

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"forebay/configs"
)

// testEnv is the environment of the test files: SET and EMPTY are set.
func testEnv(name string) (string, bool) {
	value, ok := map[string]string{"SET": "value", "EMPTY": ""}[name]
	return value, ok
}

// parse reads a configuration that must be right.
func parse(t *testing.T, text string) *Config {
	t.Helper()
	config, err := Parse("forebay.yaml", []byte(text), fstest.MapFS{}, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// mistakesOf reads a configuration that must be wrong.
func mistakesOf(t *testing.T, text string) string {
	t.Helper()
	_, err := Parse("forebay.yaml", []byte(text), fstest.MapFS{}, testEnv)
	if err == nil {
		t.Fatalf("no mistake was found in:\n%s", text)
	}
	return err.Error()
}

// Each file of testdata/bad begins with the mistakes that are found in it, a comment line each.
func TestBadFilesAreToldEveryMistake(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("found %d bad files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, body := splitExpected(string(text))
			// Lines are counted as in the whole file, so that an editor finds what a message says.
			blank := strings.Repeat("\n", strings.Count(want, "\n"))
			got := badMistakes(t, filepath.Base(file), blank+body)
			if *update {
				writeExpected(t, file, got, body)
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func badMistakes(t *testing.T, name, text string) string {
	t.Helper()
	_, err := Parse(name, []byte(text), os.DirFS("testdata/bad"), testEnv)
	var mistakes Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatalf("no mistakes were found: %v", err)
	}
	var b strings.Builder
	for _, m := range mistakes {
		b.WriteString("# " + m.String() + "\n")
	}
	return b.String()
}

// splitExpected splits the leading comment lines from what follows.
func splitExpected(text string) (comments, body string) {
	for strings.HasPrefix(text[len(comments):], "#") {
		line, _, _ := strings.Cut(text[len(comments):], "\n")
		comments += line + "\n"
	}
	return comments, text[len(comments):]
}

// writeExpected writes the file with the mistakes in front, which moves the lines that they name.
func writeExpected(t *testing.T, file, mistakes, body string) {
	t.Helper()
	blank := strings.Repeat("\n", strings.Count(mistakes, "\n"))
	mistakes = badMistakes(t, filepath.Base(file), blank+body)
	if err := os.WriteFile(file, []byte(mistakes+body), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The five mistakes of this file are what a newcomer might make in a first configuration.
func TestFiveMistakesMakeFiveGoodSentences(t *testing.T) {
	text, err := os.ReadFile("testdata/bad/five-mistakes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("five-mistakes.yaml", text, os.DirFS("testdata/bad"), testEnv)
	var mistakes Mistakes
	if !errors.As(err, &mistakes) || len(mistakes) != 5 {
		t.Fatalf("want five mistakes, got:\n%v", err)
	}
	for _, m := range mistakes {
		what, todo := m.Message, m.Message
		if i := strings.Index(m.Message, "; "); i > 0 {
			what, todo = m.Message[:i], m.Message[i+2:]
		}
		if m.Line == 0 || m.Column == 0 || m.Path == "" || len(what) < 10 || len(todo) < 10 || strings.HasSuffix(m.Message, ".") {
			t.Errorf("this is no good sentence: %s", m)
		}
	}
}

func TestMistakesNeverShowSecrets(t *testing.T) {
	for _, url := range []string{"postgres://u:s3cret@%zz/db", "mysql://u:s3cret@h/db", "s3cret", "postgres://u:s3cret@h", "postgres://u:s3 cret@h:port/db"} {
		got := mistakesOf(t, "postgres: {url: \""+url+"\"}\ncache: {redis: \""+strings.Replace(url, "postgres", "redis", 1)+" \"}\nroutes: [{route: GET /a, query: select 1, ttl: 0s}]")
		if strings.Contains(got, "s3") {
			t.Errorf("the secret of %s is in:\n%s", url, got)
		}
	}
}

func TestWhatTheFileLeavesOutIsTheDefault(t *testing.T) {
	config := parse(t, "upstreams: {legacy: {url: http://127.0.0.1:1, breaker: {failures: 7}}}\nserver: {max_url: 4KiB}\nttl: {find: 10s, own: 1s}\nroutes: [{route: /**, upstream: legacy}]")
	want := Config{
		Listen: "127.0.0.1:8080",
		Server: Server{
			MaxHeaderSize: 32 << 10, MaxURLLength: 4 << 10, MaxBodySize: 1 << 20, MaxConnections: 10000,
			HeaderTimeout: 10 * time.Second, BodyTimeout: 30 * time.Second, IdleTimeout: 75 * time.Second, WriteTimeout: 30 * time.Second,
			RequestTimeout: 40 * time.Second, DrainTimeout: 10 * time.Second, ServerTiming: true, TrustedProxies: []string{},
		},
		Admin: Admin{Listen: "127.0.0.1:8081"},
		Cache: Cache{Memory: 256 << 20, RedisBudget: 25 * time.Millisecond, RedisPrefix: "forebay:", Jitter: 0.1, Compress: true, CompressMin: 1 << 10},
		Upstreams: map[string]*Upstream{"legacy": {
			Name: "legacy", URL: "http://127.0.0.1:1", ConnectTimeout: 2 * time.Second, Timeout: 30 * time.Second, MaxConnections: 512,
			Breaker: Breaker{Failures: 7, OpenFor: 10 * time.Second},
		}},
		Performance: Performance{Path: "/api/v1/performance", SlowQuery: 2 * time.Second, HitRate: 50, PoolUse: 90},
		MaxLag:      time.Second,
		Log:         Log{Level: "info", Format: "auto"},
	}
	if diff := cmp.Diff(want, *config, cmpopts.IgnoreFields(Config{}, "Rules", "file")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := config.file.TTL; got["find"] != duration(10*time.Second) || got["search"] != duration(3*time.Minute) || got["own"] != duration(time.Second) {
		t.Errorf("lifetimes are %v", got)
	}
	r := config.Rules.Rule("/**")
	if r.Timeout != 40*time.Second || r.MaxBody != 1<<20 || r.MaxObjectSize != 1<<20 || !r.Pass || r.Freshness != Exact || r.TTL != 0 {
		t.Errorf("the rule is %+v", r)
	}
}

func TestARouteBecomesARule(t *testing.T) {
	config, err := Parse("dir/forebay.yaml", []byte(`
postgres: {url: "postgres://u:p@h:1/db"}
routes:
  - route: GET  /clients/{id}/{part}
    kind: find
    ttl: 2m
    negative: {404: 30s}
    stale_while_revalidate: 30s
    stale_if_error: 1h
    freshness: ttl
    timeout: 3s
    max_body: 2KiB
    max_object_size: 3KiB
    tags: [clients]
    vary: [Accept-Language]
    identity: [authorization, "cookie:session"]
    depends_on: [public.clients]
    pure: true
    plan: custom
    cors: {origins: ["*"], methods: [GET]}
    params:
      limit: {type: int, min: 01, max: 100, default: 020}
      id: uuid
      ids: {type: int, list: true, default: [1, 2], max_items: 5}
    headers: {x-tenant: {type: [a, b], optional: true, as: tenant}}
    query: queries/client.sql
    rows: one
    status: 203
    response: {data: "@rows"}
    response_headers: {location: "/clients/{id}"}
`), fstest.MapFS{"queries/client.sql": {Data: []byte("select @limit, @id, @tenant, @ids, @part, @id -- end\n")}}, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) *string { return &s }
	want := Rule{
		Name: "GET /clients/{id}/{part}", Position: Position{"dir/forebay.yaml", 4, 12}, Method: "GET",
		Kind: "find", TTL: 2 * time.Minute, Negative: map[int]time.Duration{404: 30 * time.Second},
		StaleWhileRevalidate: 30 * time.Second, StaleIfError: time.Hour, Freshness: TTLOnly, MaxLag: time.Second, Audit: 10000,
		MaxObjectSize: 3 << 10, Timeout: 3 * time.Second, MaxBody: 2 << 10,
		Params: []Param{
			{Name: "id", In: FromPath, Type: UUID},
			{Name: "part", In: FromPath, Type: Text},
			{Name: "limit", In: FromQuery, Type: Int, Min: text("1"), Max: text("100"), Default: text("20")},
			{Name: "ids", In: FromQuery, Type: Int, List: true, Separator: ",", MaxItems: 5, Default: text("{1,2}")},
			{Name: "tenant", In: FromHeader, Field: "X-Tenant", Type: Enum, Enum: []string{"a", "b"}, Optional: true},
		},
		Identity: []IdentityPart{{Header: "Authorization"}, {Cookie: "session"}}, Vary: []string{"accept-language"},
		Tags: []string{"clients"}, DependsOn: []string{"public.clients"}, Pure: true,
		CORS:   &CORS{Origins: []string{"*"}, Methods: []string{"GET"}, MaxAge: 10 * time.Minute},
		Source: "postgres u@h:1/db",
		Query: &Query{
			Statements: []Statement{{
				Name: "rows", File: "dir/queries/client.sql", Line: 1, Rows: One,
				SQL: "select $1, $2, $3, $4, $5, $2 -- end\n", Params: []int{2, 0, 4, 3, 1},
			}},
			Status:     203,
			Template:   Template{{Literal: []byte(`{"data":`)}, {Name: "rows"}, {Literal: []byte("}")}},
			Header:     []HeaderTemplate{{Name: "Location", Parts: []TemplatePart{{Literal: []byte("/clients/")}, {Name: "id"}}}},
			CustomPlan: true,
		},
	}
	got := config.Rules.Rule("GET /clients/{id}/{part}")
	if got == nil {
		t.Fatal("the rule is not in the set")
	}
	if diff := cmp.Diff(want, *got, cmpopts.IgnoreUnexported(Rule{}, Param{}, Pattern{}, Statement{}), cmpopts.IgnoreFields(Rule{}, "Pattern")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(config.Warnings) > 0 {
		t.Errorf("warned of %v", config.Warnings)
	}
}

func TestABatchIsBoundToItsItems(t *testing.T) {
	config := parse(t, `
postgres: {url: postgres://localhost/shop}
routes:
  - route: POST /clients/batch
    batch:
      item: {name: {type: text, min_length: 1}, kind: [A, B], phone: {type: text, optional: true}}
      failed: {client: "@item", error: "@error", at: "@index"}
    query: insert into clients values (@phone, @name, @kind, @body)
    rows: one
    response: {created: "@succeeded", errors: "@failed", rate: "@success_rate"}
`)
	r := config.Rules.Rule("POST /clients/batch")
	if len(r.Params) != 0 || len(r.Batch.Item) != 3 || r.Batch.MaxItems != 50 || r.Batch.Atomic {
		t.Errorf("the batch is %+v, the parameters %+v", r.Batch, r.Params)
	}
	if got := r.Query.Statements[0].Params; !slices.Equal(got, []int{2, 0, 1, -1}) {
		t.Errorf("the statement is bound to %v", got)
	}
	if !r.Batch.Failed.Names("index") || !r.Query.Template.Names("success_rate") {
		t.Error("the templates have lost their holes")
	}
}

func TestFormsKeepTheirOrderAndColumns(t *testing.T) {
	config := parse(t, `
postgres: {url: postgres://localhost/shop}
routes:
  - route: GET /export
    kind: find
    params: {format: {type: [json, csv], default: json}}
    query: select 1 as id, 2 as name
    formats:
      - {accept: text/csv, columns: {name: Name, id: ID}, filename: a.csv}
      - {param: {format: csv}, max_rows: 7, too_many: no, response: {content: "@csv"}}
      - {param: {format: json}, response: {rows: "@rows", n: "@row_count"}}
`)
	want := []Format{
		{Param: -1, Accept: "text/csv", Stream: true, Columns: []Column{{"name", "Name"}, {"id", "ID"}}, Filename: "a.csv"},
		{Param: 0, Value: "csv", MaxRows: 7, TooMany: "no"},
		{Param: 0, Value: "json", MaxRows: 10000, TooMany: "The result has more rows than this form may hold."},
	}
	if diff := cmp.Diff(want, config.Rules.Rule("GET /export").Query.Formats, cmpopts.IgnoreFields(Format{}, "Template")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARouteThatIsSwitchedOffIsCheckedAndNotMatched(t *testing.T) {
	config := parse(t, "upstreams: {a: {url: http://127.0.0.1:1}}\nroutes: [{route: GET /a, upstream: a, enabled: false}, {route: /**, upstream: a}]")
	if n := len(config.Rules.Rules()); n != 1 {
		t.Errorf("%d rules are in the set, want 1", n)
	}
	got := mistakesOf(t, "upstreams: {a: {url: http://127.0.0.1:1}}\nroutes: [{route: GET /a, upstream: b, enabled: false}]")
	if !strings.Contains(got, `there is no upstream "b"`) {
		t.Errorf("got %s", got)
	}
}

func TestWarningsDoNotFail(t *testing.T) {
	config := parse(t, "postgres: {url: postgres://localhost/shop}\nroutes: [{route: 'GET /a/{id}', query: select 1}]")
	if len(config.Warnings) != 2 || config.Warnings.Fatal() {
		t.Fatalf("warnings are %v", config.Warnings)
	}
	if got := config.Warnings[0].String(); !strings.HasPrefix(got, "forebay.yaml:2:18: warning: routes[0].route (GET /a/{id}): it has neither kind nor ttl") {
		t.Errorf("got %s", got)
	}
}

func TestAnchorsMergeAndOwnKeysWin(t *testing.T) {
	config := parse(t, `
x-read: &read {kind: find, stale_if_error: 1h, negative: &n {404: 5s}}
postgres: {url: postgres://localhost/shop}
routes:
  - {route: GET /a, <<: *read, query: select 1}
  - {route: GET /b, kind: count, <<: [{stale_if_error: 2h}, *read], negative: *n, query: select 1}
`)
	a, b := config.Rules.Rule("GET /a"), config.Rules.Rule("GET /b")
	if a.TTL != 5*time.Minute || a.StaleIfError != time.Hour || a.Negative[404] != 5*time.Second {
		t.Errorf("merged into %+v", a)
	}
	if b.TTL != time.Minute || b.StaleIfError != 2*time.Hour {
		t.Errorf("own keys lost to merged ones: %+v", b)
	}
}

func TestAFileThatIsNotThereIsSaidSo(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"), testEnv)
	if err == nil || !strings.HasPrefix(err.Error(), "cannot read configuration") || !strings.Contains(err.Error(), "no such file") || !strings.Contains(err.Error(), "; name the file with -c") {
		t.Errorf("got %v", err)
	}
}

func TestTheExampleLoadsWithoutAWarning(t *testing.T) {
	config, err := Load("../configs/example.yaml", func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Warnings) > 0 {
		t.Errorf("warnings:\n%v", config.Warnings)
	}
	if n := len(config.Rules.Rules()); n < 8 {
		t.Errorf("only %d rules", n)
	}
}

// The defaults that the example tells in its comments are those there are.
func TestTheExampleTellsTheTrueDefaults(t *testing.T) {
	example, err := configs.Files.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := newReport("example.yaml", example)
	root := parseYAML(r, example)
	f, seeds, err := defaults()
	if err != nil {
		t.Fatal(err)
	}
	d := &decoder{report: r, seeds: seeds, lookupEnv: testEnv}
	d.decode("", root, reflect.ValueOf(new(file)).Elem())
	told := regexp.MustCompile(`Default ("[^"]*"|\[\]|[^ ]*[^ .,])`)
	checked := 0
	for _, section := range []string{"server", "admin", "postgres", "cache", "performance", "log"} {
		for path, n := range r.nodes {
			if !strings.HasPrefix(path, section+".") || n.Kind != yaml.ScalarNode && n.Kind != yaml.SequenceNode {
				continue
			}
			match := told.FindStringSubmatch(r.lines[n.Line-1])
			value, ok := valueAt(reflect.ValueOf(*f), path)
			if match == nil || !ok {
				continue
			}
			if length, err := parseDuration(match[1]); err == nil {
				match[1] = duration(length).String() // 75s is 1m15s
			}
			if got := strings.Trim(match[1], `"[]`); got != value && !(got == "nothing" && value == "") {
				t.Errorf("%s: the example says %q, and it is %q", path, got, value)
			}
			checked++
		}
	}
	if checked < 25 {
		t.Errorf("only %d defaults were found in the example", checked)
	}
}

// valueAt returns the value at a path of the file's structs, as text.
func valueAt(v reflect.Value, path string) (string, bool) {
	for key := range strings.SplitSeq(path, ".") {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return "", false
		}
		if v = fieldOf(v, key); !v.IsValid() {
			return "", false
		}
	}
	if v.Kind() == reflect.Slice && v.Len() == 0 {
		return "", true
	}
	return fmt.Sprint(v.Interface()), v.Kind() != reflect.Struct
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"listen: 127.0.0.1:1", "routes: [{route: GET /a, query: select 1}]", "a: &a [*a]", "x-a: &a {b: *a}\n<<: *a", "ttl: {a: 1s}",
		"routes: [{route: 'GET /{a}', params: {a: [x]}, response: [\"@rows\", ${A}]}]", "postgres: {url: '${A:-b}'}\nroutes: [{route: GET /a, query: 'select @id'}]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		config, err := Parse("fuzz.yaml", []byte(text), fstest.MapFS{}, testEnv)
		if err == nil {
			if _, err := config.Dump(); err != nil {
				t.Fatalf("dump: %v", err)
			}
			return
		}
		var mistakes Mistakes
		if !errors.As(err, &mistakes) || !mistakes.Fatal() {
			t.Fatalf("not a mistake of the file: %v", err)
		}
		for _, m := range mistakes {
			if m.File == "" || m.Line < 1 || m.Column < 1 || m.Message == "" {
				t.Fatalf("a mistake without a place: %+v", m)
			}
		}
	})
}
