package rules

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	maxDepth = 64      // of values within values; more is an alias that contains itself
	maxNodes = 200_000 // of one file, aliases followed; more is a file made to exhaust memory
)

// decoder fills the structs of file.go from the parsed YAML. The YAML package could do so itself, but then
// an error would know its line and not its path, and each type would need its own words to be understood.
// Values that the file does not give stay as they are, which is how it goes over the defaults.
// Not safe for concurrent use.
type decoder struct {
	*report
	lookupEnv func(string) (string, bool)
	seeds     map[reflect.Type]reflect.Value // what a new value of a type starts from
	depth     int
	visited   int
}

// nodeDecoder is a type that is written in YAML in a way of its own.
type nodeDecoder interface {
	decodeNode(d *decoder, path string, n *yaml.Node)
}

// pair is a key of a mapping with its value.
type pair struct {
	key       string
	keyNode   *yaml.Node
	valueNode *yaml.Node
}

// decode fills v, which must be settable, from the node. A key without a value is a key left out.
func (d *decoder) decode(path string, n *yaml.Node, v reflect.Value) {
	n, ok := d.enter(path, n)
	if !ok {
		return
	}
	defer d.leave()
	if isNull(n) {
		return
	}
	d.nodes[path] = n
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(d.fresh(v.Type().Elem()).Addr())
		}
		v = v.Elem()
	}
	if own, ok := v.Addr().Interface().(nodeDecoder); ok {
		own.decodeNode(d, path, n)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.fields(path, n, v)
	case reflect.Map:
		d.entries(path, n, v)
	case reflect.Slice:
		d.items(path, n, v)
	default:
		d.scalar(path, n, v)
	}
}

// enter follows aliases and keeps the walk finite.
func (d *decoder) enter(path string, n *yaml.Node) (*yaml.Node, bool) {
	for hops := 0; n.Kind == yaml.AliasNode && hops < maxDepth; hops++ {
		n = n.Alias
	}
	if d.exhausted() {
		return n, false
	}
	d.visited++
	if d.visited == maxNodes || d.depth == maxDepth {
		d.mistakeAt(d.positionOf(n), path[:min(len(path), 60)], "values are nested deeper or repeated more often than a configuration has use for; look for an alias (*name) that contains itself")
		d.visited = maxNodes
		return n, false
	}
	d.depth++
	return n, true
}

func (d *decoder) leave() { d.depth-- }

// exhausted reports whether the walk was given up.
func (d *decoder) exhausted() bool { return d.visited >= maxNodes }

// fresh makes a value of the type, as the defaults have it.
func (d *decoder) fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if seed, ok := d.seeds[t]; ok {
		v.Set(seed)
	}
	return v
}

func (d *decoder) fields(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.mistake(path, "want a mapping of keys to values, got %s%s", describe(n), keysOf(v.Type()))
		return
	}
	for _, p := range d.pairs(path, n) {
		if field := fieldOf(v, p.key); field.IsValid() {
			d.decode(join(path, p.key), p.valueNode, field)
			continue
		}
		if path == "" && strings.HasPrefix(p.key, "x-") {
			continue // a place for anchors
		}
		d.mistakeAt(d.positionOf(p.keyNode), join(path, p.key), unknownKey+"%q%s", p.key, meant(p.key, keys(v.Type())))
	}
}

func (d *decoder) entries(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.mistake(path, "want a mapping of names to values, got %s", describe(n))
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, p := range d.pairs(path, n) {
		key := reflect.New(v.Type().Key()).Elem()
		switch key.Kind() {
		case reflect.Int:
			number, err := strconv.Atoi(p.key)
			if err != nil {
				d.mistakeAt(d.positionOf(p.keyNode), join(path, p.key), "want a whole number as the key, got %q", p.key)
				continue
			}
			key.SetInt(int64(number))
		default:
			key.SetString(p.key)
		}
		value := d.fresh(v.Type().Elem())
		if old := v.MapIndex(key); old.IsValid() {
			value.Set(old)
		}
		d.decode(join(path, p.key), p.valueNode, value)
		if value.Kind() == reflect.Pointer && value.IsNil() {
			value.Set(d.fresh(value.Type().Elem()).Addr())
		}
		v.SetMapIndex(key, value)
	}
}

func (d *decoder) items(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.mistake(path, "want a list, got %s; write it as [a, b]", describe(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		value := d.fresh(v.Type().Elem())
		d.decode(at, item, value)
		if isNull(item) {
			d.mistakeAt(d.positionOf(item), at, "this item of the list is empty; give it a value or remove it")
		}
		if value.Kind() == reflect.Pointer && value.IsNil() {
			value.Set(d.fresh(value.Type().Elem()).Addr())
		}
		list = reflect.Append(list, value) // also after a mistake: the next item keeps its place
	}
	v.Set(list)
}

func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if text, ok := d.text(path, n, "a text"); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		if text, ok := d.bare(path, n, "true or false"); ok {
			switch text {
			case "true", "false":
				v.SetBool(text == "true")
			default:
				d.mistake(path, "want true or false, got %q", text)
			}
		}
	case reflect.Int:
		if text, ok := d.bare(path, n, "a whole number"); ok {
			number, err := strconv.Atoi(text)
			if err != nil {
				d.mistake(path, "want a whole number, got %q", text)
				return
			}
			v.SetInt(int64(number))
		}
	case reflect.Float64:
		if text, ok := d.bare(path, n, "a number"); ok {
			number, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
				d.mistake(path, "want a number, got %q", text)
				return
			}
			v.SetFloat(number)
		}
	default:
		panic(fmt.Sprintf("BUG: a configuration value of type %s", v.Type()))
	}
}

// text returns the scalar's text, variables replaced. A number or a yes is a text, too, where one is wanted.
func (d *decoder) text(path string, n *yaml.Node, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.mistake(path, "want %s, got %s", want, describe(n))
		return "", false
	}
	before := len(d.list)
	text, _ := d.expand(path, n)
	return text, len(d.list) == before
}

// bare is text for what YAML writes without quotes. Around a variable quotes are only good manners.
func (d *decoder) bare(path string, n *yaml.Node, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.mistake(path, "want %s, got %s", want, describe(n))
		return "", false
	}
	before := len(d.list)
	text, replaced := d.expand(path, n)
	if len(d.list) > before {
		return "", false
	}
	if !replaced && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		d.mistake(path, "want %s, got the text %q; write it without quotes", want, text)
		return "", false
	}
	return text, true
}

// pairs returns the mapping's keys and values in the order written. What is merged in with << comes after,
// and yields to the mapping's own keys.
func (d *decoder) pairs(path string, n *yaml.Node) []pair {
	var own, merged []pair
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		for hops := 0; key.Kind == yaml.AliasNode && hops < maxDepth; hops++ {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			d.mistakeAt(d.positionOf(n.Content[i]), path, "want a word as the key, got %s", describe(key))
		case key.ShortTag() == "!!merge":
			merged = append(merged, d.merged(path, value)...)
		case seen[key.Value] != nil:
			d.mistakeAt(d.positionOf(n.Content[i]), join(path, key.Value), "key %q is given twice, first on line %d; keep one of them", key.Value, seen[key.Value].Line)
		default:
			seen[key.Value] = key
			own = append(own, pair{key.Value, key, value})
		}
	}
	for _, p := range merged {
		if seen[p.key] == nil {
			seen[p.key] = p.keyNode
			own = append(own, p)
		}
	}
	return own
}

// merged returns the pairs of what << names: a mapping, or a list of them of which the first wins.
func (d *decoder) merged(path string, n *yaml.Node) []pair {
	n, ok := d.enter(path, n)
	if !ok {
		return nil
	}
	defer d.leave()
	switch n.Kind {
	case yaml.MappingNode:
		return d.pairs(path, n)
	case yaml.SequenceNode:
		var all []pair
		for _, item := range n.Content {
			all = append(all, d.merged(path, item)...)
		}
		return all
	}
	d.mistakeAt(d.positionOf(n), path, "<< merges a mapping, got %s; give it an alias such as *name", describe(n))
	return nil
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// keys returns the keys that a struct is written with.
func keys(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := yamlKey(t.Field(i)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func keysOf(t reflect.Type) string { return "; its keys are " + strings.Join(keys(t), ", ") }

func yamlKey(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func fieldOf(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		if key != "" && yamlKey(v.Type().Field(i)) == key {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe names what a node is, in the words of a reader.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.Value == "" || isNull(n) {
			return "nothing"
		}
	}
	return "a single value"
}
