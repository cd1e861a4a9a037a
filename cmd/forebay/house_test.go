package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's, from this package.
const root = "../.."

// rooms lists what each room may stand on, beside itself: imports run downwards only. A room that is not
// listed may not exist.
var rooms = map[string][]string{
	"cmd/forebay":            {"*"},
	"tools/withservers":      {"bench/private"},
	"proxy":                  {"proxy/performance", "proxy/problem", "proxy/health", "rules", "cache", "cache/memory", "upstream/postgres", "upstream/origin"},
	"proxy/performance":      {"proxy/problem", "proxy/health", "proxy/bearer", "rules", "cache"},
	"proxy/admin":            {"proxy/problem", "proxy/health", "proxy/bearer", "rules", "cache"},
	"proxy/problem":          {"rules"},
	"proxy/health":           {},
	"proxy/bearer":           {"proxy/problem", "rules"},
	"rules":                  {"cache", "configs"},
	"cache":                  {},
	"cache/memory":           {"cache"},
	"cache/redis":            {"cache"},
	"cache/cachetest":        {"cache"},
	"upstream/postgres":      {"cache", "rules", "upstream/postgres/wire"},
	"upstream/postgres/wire": {},
	"upstream/origin":        {"cache", "rules"},
	"upstream/changes":       {"cache", "rules"},
	"bench":                  {"bench/clients", "bench/gauge", "bench/load", "bench/paths", "bench/peers", "bench/report", "bench/scale", "bench/scenario", "bench/stage"},
	"bench/bare":             {},
	"bench/clients":          {"bench/load"},
	"bench/gauge":            {},
	"bench/legacy":           {},
	"bench/load":             {},
	"bench/paths":            {"bench/bare", "bench/gauge", "bench/load", "bench/plain", "bench/private", "bench/report", "bench/stage", "configs/nexus"},
	"bench/plain":            {},
	"bench/peers":            {"bench/bare", "bench/gauge", "bench/load", "bench/private", "bench/report", "bench/stage"},
	"bench/private":          {},
	"bench/report":           {"bench/gauge"},
	"bench/scale":            {"bench/bare", "bench/gauge", "bench/load", "bench/private", "bench/report", "bench/stage"},
	"bench/scenario":         {"bench/bare", "bench/clients", "bench/gauge", "bench/load", "bench/private", "bench/report", "bench/stage"},
	"bench/stage":            {"bench/clients", "bench/gauge", "bench/load", "bench/private", "configs/nexus"},
	"configs":                {},
	"configs/nexus":          {},
}

// fences keep a library to the rooms that need it. The harness is outside of forebay, as a client of it and as
// the services it is compared with: it needs HTTP and SQL of its own.
var fences = map[string][]string{
	"github.com/valyala/fasthttp": {"proxy", "upstream/origin", "bench"},
	"github.com/jackc/pgx":        {"upstream/postgres", "upstream/changes", "bench"},
	"github.com/jackc/pglogrepl":  {"upstream/changes"},
	"github.com/redis/go-redis":   {"cache/redis", "bench"},
	"net/http":                    {"cmd/forebay"}, // the client of the admin listener
}

// productFile is one Go file of the repository that is not a test.
type productFile struct {
	path, room string
	file       *ast.File
	lines      int
	fset       *token.FileSet
}

// sources parses all product files.
func sources(t *testing.T) []productFile {
	t.Helper()
	var all []productFile
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		all = append(all, productFile{path: rel, room: filepath.ToSlash(filepath.Dir(rel)), file: file, lines: strings.Count(string(text), "\n"), fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found only %d files: looked in the wrong place", len(all))
	}
	return all
}

func TestHouseImportsRunDownwards(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		allowed, known := rooms[s.room]
		if !known {
			t.Errorf("%s: the room %s is not in the plan of the house", s.path, s.room)
			continue
		}
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if spec.Name != nil && (spec.Name.Name == "." || spec.Name.Name == "_" && path != "embed") {
				t.Errorf("%s: %s import of %s", s.path, spec.Name.Name, path)
			}
			if ours, ok := strings.CutPrefix(path, "forebay/"); ok && !slices.Contains(allowed, "*") && !slices.Contains(allowed, ours) {
				t.Errorf("%s: %s may not stand on %s", s.path, s.room, ours)
			}
			for library, inside := range fences {
				if strings.HasPrefix(path+"/", library+"/") && !slices.ContainsFunc(inside, func(r string) bool { return strings.HasPrefix(s.room+"/", r+"/") }) {
					t.Errorf("%s: %s belongs in %s only", s.path, library, strings.Join(inside, ", "))
				}
			}
		}
	}
}

func TestHouseSizesNamesAndDocs(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(^|/)(util|utils|common|helper|helpers|types|base|manager|impl|misc)(\.go|/|$)`)
	docs := map[string]int{}
	for _, s := range sources(t) {
		if s.lines > 500 {
			t.Errorf("%s has %d lines; at most 500", s.path, s.lines)
		}
		if forbidden.MatchString(s.path) {
			t.Errorf("%s: a room without a name", s.path)
		}
		if s.file.Doc != nil {
			docs[s.room]++
		} else {
			docs[s.room] += 0
		}
		for _, d := range s.file.Decls {
			checkDecl(t, s, d)
		}
	}
	for room, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d package docs; want one", room, n)
		}
	}
}

// checkDecl holds one declaration to the house's rules.
func checkDecl(t *testing.T, s productFile, d ast.Decl) {
	t.Helper()
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.Name == "init" && d.Recv == nil {
			t.Errorf("%s: init()", s.path)
		}
		if n := s.fset.Position(d.End()).Line - s.fset.Position(d.Pos()).Line + 1; n > 80 {
			t.Errorf("%s: %s has %d lines; at most 80", s.path, d.Name.Name, n)
		}
		if exported(d) && !strings.HasPrefix(d.Doc.Text(), d.Name.Name+" ") {
			t.Errorf("%s: the docstring of %s does not begin with its name", s.path, d.Name.Name)
		}
	case *ast.GenDecl:
		if d.Tok != token.TYPE {
			return
		}
		for _, spec := range d.Specs {
			spec := spec.(*ast.TypeSpec)
			doc := spec.Doc.Text()
			if doc == "" {
				doc = d.Doc.Text()
			}
			if spec.Name.IsExported() && !strings.HasPrefix(doc, spec.Name.Name+" ") {
				t.Errorf("%s: the docstring of %s does not begin with its name", s.path, spec.Name.Name)
			}
		}
	}
}

// exported reports whether a function, and the type it belongs to, can be seen from outside.
func exported(d *ast.FuncDecl) bool {
	if !d.Name.IsExported() {
		return false
	}
	if d.Recv == nil {
		return true
	}
	receiver := d.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if index, ok := receiver.(*ast.IndexExpr); ok {
		receiver = index.X
	}
	name, ok := receiver.(*ast.Ident)
	return ok && name.IsExported()
}

func TestHouseNoPackageStateChanges(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		state := map[string]bool{}
		for _, d := range s.file.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				for _, spec := range g.Specs {
					for _, name := range spec.(*ast.ValueSpec).Names {
						state[name.Name] = name.Name != "_" && name.Name != "version"
					}
				}
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok && a.Tok != token.DEFINE {
				for _, left := range a.Lhs {
					if id, ok := left.(*ast.Ident); ok && state[id.Name] && (id.Obj == nil || id.Obj.Decl != nil && isPackageVar(s.file, id)) {
						t.Errorf("%s: the package variable %s changes", s.path, id.Name)
					}
				}
			}
			return true
		})
	}
}

// isPackageVar reports whether the identifier is the file's package variable and not a local of its name.
func isPackageVar(f *ast.File, id *ast.Ident) bool {
	object := f.Scope.Lookup(id.Name)
	return object != nil && id.Obj == object
}

// metricName finds the names under which metrics are made.
var metricName = regexp.MustCompile("[`\"](forebay_[a-z_]*[a-z])(?:[`\"{])")

func TestHouseEveryMetricIsInTheReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	for _, s := range sources(t) {
		text, err := os.ReadFile(filepath.Join(root, s.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metricName.FindAllStringSubmatch(string(text), -1) {
			made[m[1]] = true
		}
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("`(forebay_[a-z_]+)").FindAllStringSubmatch(string(readme), -1) {
		told[m[1]] = true
	}
	for name := range made {
		if !told[name] {
			t.Errorf("the metric %s is not in README.md", name)
		}
	}
	for name := range told {
		if !made[name] {
			t.Errorf("README.md tells of a metric %s that nothing makes", name)
		}
	}
}

func TestHouseNothingTellsWhereItWasMade(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		text, err := os.ReadFile(filepath.Join(root, s.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"/work/", "/root/", "TODO", "FIXME", "XXX"} {
			if strings.Contains(string(text), word) && !strings.HasSuffix(s.path, "house_test.go") {
				t.Errorf("%s contains %q", s.path, word)
			}
		}
	}
}
