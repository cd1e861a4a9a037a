package rules

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"forebay/configs"
)

// Load reads the configuration file and the SQL files it names. Every mistake is found in one go: the error,
// unless the file itself cannot be read, is a Mistakes. Those that are mere warnings do not fail; they are
// in Config.Warnings. LookupEnv says what ${NAME} stands for, as os.LookupEnv does.
func Load(path string, lookupEnv func(string) (string, bool)) (*Config, error) {
	config, found, err := Inspect(path, lookupEnv)
	return whole(config, found, err)
}

// Parse is Load for a text at hand. Name stands in mistakes for the file; SQL files are read from dir, and
// called by their path beside name.
func Parse(name string, text []byte, dir fs.FS, lookupEnv func(string) (string, bool)) (*Config, error) {
	config, found, err := inspect(name, text, dir, lookupEnv)
	return whole(config, found, err)
}

// whole keeps a configuration that has no mistakes.
func whole(config *Config, found Mistakes, err error) (*Config, error) {
	switch {
	case err != nil:
		return nil, err
	case found.Fatal():
		return nil, found
	}
	return config, nil
}

// Inspect is Load for who wants to go on behind mistakes: it returns all of them, warnings too, and what of the
// configuration is sound. That is not to be served: its rules are those whose statements can be looked at further,
// and without a postgres section that is sound it has none. It is nil where nothing could be read.
func Inspect(path string, lookupEnv func(string) (string, bool)) (*Config, Mistakes, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read configuration %q: %w; name the file with -c", path, withoutPath(err))
	}
	return inspect(path, text, os.DirFS(filepath.Dir(path)), lookupEnv)
}

func inspect(name string, text []byte, dir fs.FS, lookupEnv func(string) (string, bool)) (*Config, Mistakes, error) {
	if lookupEnv == nil {
		lookupEnv = func(string) (string, bool) { return "", false }
	}
	f, seeds, err := defaults()
	if err != nil {
		return nil, nil, err
	}
	r := newReport(name, text)
	c := &compiler{report: r, dir: dir, base: filepath.Dir(name), file: f, config: new(Config), paths: make(map[*Rule]string)}
	if root := parseYAML(r, text); root != nil {
		d := &decoder{report: r, lookupEnv: lookupEnv, seeds: seeds}
		d.decode("", root, reflect.ValueOf(f).Elem())
		if d.exhausted() {
			return nil, r.list, nil
		}
	}
	if !r.given("") && len(r.list) == 0 {
		r.mistake("", "the file is empty; begin with a route, as in configs/example.yaml")
	}
	r.settle()
	c.compile()
	c.nameRules()
	r.list.Sort(r.file)
	if r.list.Fatal() {
		c.keepSound()
	}
	c.config.Warnings = r.list
	c.config.file = f
	return c.config, r.list, nil
}

// defaults returns what every file starts from, and what each new route, upstream and so on in it does.
func defaults() (*file, map[reflect.Type]reflect.Value, error) {
	const name = "configs/defaults.yaml"
	text, err := configs.Files.ReadFile("defaults.yaml")
	if err != nil {
		return nil, nil, fmt.Errorf("read the built-in defaults: %w", err)
	}
	r := newReport(name, text)
	root := parseYAML(r, text)
	if root == nil {
		return nil, nil, fmt.Errorf("parse the built-in defaults: %w", r.list)
	}
	none := func(string) (string, bool) { return "", false }
	d := &decoder{report: r, lookupEnv: none, seeds: make(map[reflect.Type]reflect.Value)}
	seeded := []struct {
		key  string
		seed reflect.Value
	}{
		{"x-each-statement", reflect.New(reflect.TypeFor[statementEntry]())},
		{"x-each-parameter", reflect.New(reflect.TypeFor[paramEntry]())},
		{"x-each-format", reflect.New(reflect.TypeFor[formatEntry]())},
		{"x-each-batch", reflect.New(reflect.TypeFor[batchEntry]())},
		{"x-each-cors", reflect.New(reflect.TypeFor[corsEntry]())},
		{"x-each-upstream", reflect.New(reflect.TypeFor[upstreamSection]())},
		{"x-each-route", reflect.New(reflect.TypeFor[routeEntry]())},
	}
	for _, p := range d.pairs("", root) {
		for _, s := range seeded {
			if s.key == p.key {
				d.fields(p.key, p.valueNode, s.seed.Elem())
			}
		}
	}
	f := new(file)
	d.decode("", root, reflect.ValueOf(f).Elem())
	for _, s := range seeded {
		d.seeds[s.seed.Elem().Type()] = s.seed.Elem()
	}
	if len(r.list) > 0 {
		return nil, nil, fmt.Errorf("read the built-in defaults: %w", r.list)
	}
	return f, d.seeds, nil
}

// nameRules says of each mistake that was found before its rule had a name which rule it is in.
func (c *compiler) nameRules() {
	for i := range c.list {
		m := &c.list[i]
		number, _, _ := strings.Cut(strings.TrimPrefix(m.Path, "routes["), "]")
		index, err := strconv.Atoi(number)
		if m.Rule == "" && err == nil && index < len(c.file.Routes) && !strings.HasSuffix(m.Path, "].route") {
			m.Rule = c.file.Routes[index].name()
		}
	}
}

// parseYAML returns the root of the one document, or nil after noting why there is none.
func parseYAML(r *report, text []byte) *yaml.Node {
	var document yaml.Node
	err := yaml.Load(text, &document)
	if err == nil {
		if len(document.Content) == 0 {
			return nil
		}
		return document.Content[0]
	}
	at := Position{File: r.file, Line: 1, Column: 1}
	message := err.Error()
	var one *yaml.LoadError
	var many *yaml.LoadErrors
	switch {
	case errors.As(err, &one):
		message = strings.TrimPrefix(one.Message, "yaml: ")
		if one.Mark.Line > 0 {
			at.Line, at.Column = one.Mark.Line, max(1, one.Mark.Column)
		}
	case errors.As(err, &many) && len(many.Errors) > 0:
		message = strings.TrimPrefix(many.Errors[0].Message, "yaml: ")
	}
	if strings.HasPrefix(message, "no documents") {
		return nil
	}
	r.mistakeAt(at, "", "this is not YAML: %s%s", message, r.yamlAdvice(at, message))
	return nil
}

// yamlAdvice tells what most often is behind an error of the parser.
func (r *report) yamlAdvice(at Position, message string) string {
	line := ""
	if at.Line <= len(r.lines) {
		line = r.lines[at.Line-1]
	}
	rest := line[min(at.Column-1, len(line)):]
	switch {
	case strings.HasPrefix(rest, "\t") || strings.HasPrefix(line, "\t"):
		return "; indent with spaces instead of tabs"
	case strings.HasPrefix(rest, "@"):
		return `; a value that begins with @ needs quotes, as in "@rows"`
	case strings.HasPrefix(rest, "%") || strings.HasPrefix(rest, "`"):
		return "; put the value in quotes"
	case strings.Contains(message, "mapping values are not allowed"):
		return "; a value with a colon and a space in it needs quotes, and keys of one mapping the same indentation"
	case strings.Contains(message, "multiple"):
		return "; a configuration is one document: remove what follows ---"
	}
	return "; look at the brackets, quotes and indentation just before this place"
}

// withoutPath is an error of the file system without the path, which the message around it names already.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
