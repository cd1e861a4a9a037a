package rules

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v4"

	"forebay/configs"
)

var update = flag.Bool("update", false, "write the files that are generated")

const variablePattern = `\$\{` // a value that the environment fills in may stand anywhere

// parameter is a paramEntry in its long form; the short forms are told in the Mapper.
type parameter paramEntry

// schemaOf makes the JSON Schema from the YAML types, the comments on their fields, and the defaults.
func schemaOf(t *testing.T) []byte {
	t.Helper()
	comments := commentsOf(t, "file.go", "entry.go")
	r := &jsonschema.Reflector{
		Anonymous: true, FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true,
		Namer:  definitionName,
		Mapper: mapType,
		LookupComment: func(typ reflect.Type, field string) string {
			name := typ.Name()
			if name == "parameter" {
				name = "paramEntry"
			}
			return comments[name+"."+field]
		},
	}
	root := r.ReflectFromType(reflect.TypeFor[file]())
	for _, extra := range []reflect.Type{reflect.TypeFor[parameter](), reflect.TypeFor[statementEntry]()} {
		for name, definition := range r.ReflectFromType(extra).Definitions {
			root.Definitions[name] = definition
		}
	}
	f, seeds, err := defaults()
	if err != nil {
		t.Fatal(err)
	}
	describeDefaults(root.Definitions, reflect.ValueOf(*f))
	for _, seed := range seeds {
		describeDefaults(root.Definitions, seed)
	}
	for _, definition := range root.Definitions {
		for pair := definition.Properties.Oldest(); pair != nil; pair = pair.Next() {
			allowVariables(pair.Value)
		}
	}
	file := root.Definitions["file"]
	file.PatternProperties = map[string]*jsonschema.Schema{"^x-": {Description: "A place for anchors (&name) that routes repeat with *name or merge with <<."}}
	root.Definitions["route"].Required = []string{"route"}
	root.Title = "forebay configuration"
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func definitionName(t reflect.Type) string {
	return strings.TrimSuffix(strings.TrimSuffix(t.Name(), "Section"), "Entry")
}

// mapType tells how the types look that are written in a way of their own.
func mapType(t reflect.Type) *jsonschema.Schema {
	ref := func(name string) *jsonschema.Schema { return &jsonschema.Schema{Ref: "#/$defs/" + name} }
	object := func(of *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "object", AdditionalProperties: of}
	}
	text := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }
	allowed := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "array", Items: text()} }
	anyOf := func(list ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: list} }
	typeName := func() *jsonschema.Schema {
		s := &jsonschema.Schema{Type: "string"}
		for _, name := range typeNames {
			if name != "" {
				s.Enum = append(s.Enum, name)
			}
		}
		return s
	}
	scalar := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }
	number, boolean := &jsonschema.Schema{Type: "number"}, &jsonschema.Schema{Type: "boolean"}
	switch t {
	case reflect.TypeFor[duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+d)?([0-9.]+(ms|s|m|h))*$|` + variablePattern}
	case reflect.TypeFor[size]():
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9.]+ ?([kKMGT]i?)?B$|` + variablePattern}
	case reflect.TypeFor[Secret]():
		return text()
	case reflect.TypeFor[readsEntry]():
		return anyOf(boolean, &jsonschema.Schema{Enum: []any{"true", "false", "primary"}})
	case reflect.TypeFor[typeEntry]():
		return anyOf(typeName(), allowed())
	case reflect.TypeFor[valueEntry]():
		return anyOf(scalar(), number, boolean, &jsonschema.Schema{Type: "array"})
	case reflect.TypeFor[templateEntry]():
		return anyOf(&jsonschema.Schema{Type: "object"}, &jsonschema.Schema{Type: "array"}, scalar(), number, boolean)
	case reflect.TypeFor[ordered[paramEntry]]():
		return object(anyOf(typeName(), allowed(), ref("parameter")))
	case reflect.TypeFor[ordered[statementEntry]]():
		return object(ref("statement"))
	case reflect.TypeFor[ordered[string]]():
		return object(text())
	case reflect.TypeFor[map[int]duration]():
		return &jsonschema.Schema{Type: "object", PatternProperties: map[string]*jsonschema.Schema{"^[2-5][0-9][0-9]$": mapType(reflect.TypeFor[duration]())}, AdditionalProperties: jsonschema.FalseSchema}
	}
	return nil
}

// allowVariables lets ${NAME} stand where the schema wants anything narrower than a text.
func allowVariables(s *jsonschema.Schema) {
	variable := &jsonschema.Schema{Type: "string", Pattern: variablePattern}
	if s.Enum == nil && s.Type != "integer" && s.Type != "number" && s.Type != "boolean" {
		return
	}
	own := &jsonschema.Schema{Type: s.Type, Enum: s.Enum}
	s.Type, s.Enum, s.AnyOf = "", nil, []*jsonschema.Schema{own, variable}
}

// describeDefaults writes into the definitions what the struct's values are.
func describeDefaults(definitions jsonschema.Definitions, v reflect.Value) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	name := definitionName(v.Type())
	if name == "param" {
		name = "parameter"
	}
	definition := definitions[name]
	if v.Kind() != reflect.Struct || definition == nil {
		return
	}
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		property, ok := definition.Properties.Get(yamlKey(field))
		if !ok || strings.Contains(field.Tag.Get("yaml"), "omitempty") && value.IsZero() {
			describeDefaults(definitions, value)
			continue
		}
		switch x := value.Interface().(type) {
		case duration:
			property.Default = x.String()
		case size:
			property.Default = x.String()
		case string, Secret, bool, int, float64:
			if field.Name != "Route" && field.Name != "Origins" {
				property.Default = x
			}
		default:
			describeDefaults(definitions, value)
		}
	}
}

// commentsOf returns the comment above each field of the structs in the files, as Type.Field, on one line.
func commentsOf(t *testing.T, files ...string) map[string]string {
	t.Helper()
	comments := make(map[string]string)
	for _, name := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if list, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range list.Fields.List {
					for _, ident := range field.Names {
						comments[spec.Name.Name+"."+ident.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return comments
}

func TestTheSchemaOfTheTypesIsTheOneInConfigs(t *testing.T) {
	want := schemaOf(t)
	if *update {
		if err := os.WriteFile("../configs/schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("configs/schema.json is not what the types say (-want +got); run go generate ./rules:\n%s", diff)
	}
}

// schemaNode is as much of a schema as these tests read.
type schemaNode struct {
	Ref                  string                `json:"$ref"`
	Type                 string                `json:"type"`
	Description          string                `json:"description"`
	Properties           map[string]schemaNode `json:"properties"`
	PatternProperties    map[string]schemaNode `json:"patternProperties"`
	Definitions          map[string]schemaNode `json:"$defs"`
	AdditionalProperties additional            `json:"additionalProperties"`
	Items                *schemaNode           `json:"items"`
	AnyOf                []schemaNode          `json:"anyOf"`
}

// additional is a schema, or false for none.
type additional struct{ *schemaNode }

func (a *additional) UnmarshalJSON(text []byte) error {
	if string(text) == "false" || string(text) == "true" {
		return nil
	}
	a.schemaNode = new(schemaNode)
	return json.Unmarshal(text, a.schemaNode)
}

func committedSchema(t *testing.T) schemaNode {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s schemaNode
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryKeyOfTheSchemaIsDescribed(t *testing.T) {
	s := committedSchema(t)
	if len(s.Definitions) < 15 {
		t.Fatalf("the schema has %d definitions; it is cut short", len(s.Definitions))
	}
	for name, definition := range s.Definitions {
		for key, property := range definition.Properties {
			if len(property.Description) < 10 {
				t.Errorf("%s.%s is not described", name, key)
			}
		}
	}
}

func TestEveryKeyOfTheSchemaAppearsInTheExample(t *testing.T) {
	example, err := configs.Files.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Load(example, &document); err != nil {
		t.Fatal(err)
	}
	w := schemaWalk{t: t, root: committedSchema(t), used: make(map[string]bool)}
	w.walk("", "", w.root, document.Content[0])
	for name, definition := range w.root.Definitions {
		for key := range definition.Properties {
			if !w.used[name+"."+key] {
				t.Errorf("configs/example.yaml does not show %s of a %s", key, name)
			}
		}
	}
}

// schemaWalk follows a file through the schema and notes which keys of which definition it uses.
type schemaWalk struct {
	t    *testing.T
	root schemaNode
	used map[string]bool
}

func (w *schemaWalk) walk(path, definition string, s schemaNode, n *yaml.Node) {
	w.t.Helper()
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if s.Ref != "" {
		definition = strings.TrimPrefix(s.Ref, "#/$defs/")
		s = w.root.Definitions[definition]
	}
	for _, option := range s.AnyOf {
		isMapping := option.Ref != "" || option.Type == "object"
		if isMapping == (n.Kind == yaml.MappingNode) {
			w.walk(path, definition, option, n)
		}
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			property, ok := s.Properties[key]
			switch {
			case ok:
				w.used[definition+"."+key] = true
				w.walk(join(path, key), definition, property, value)
			case s.AdditionalProperties.schemaNode != nil:
				w.walk(join(path, key), definition, *s.AdditionalProperties.schemaNode, value)
			case s.Properties != nil && !strings.HasPrefix(key, "x-") && key != "<<":
				w.t.Errorf("the schema does not know %s", join(path, key))
			}
		}
	case yaml.SequenceNode:
		for i, child := range n.Content {
			if s.Items != nil {
				w.walk(item(path, i), definition, *s.Items, child)
			}
		}
	}
}
