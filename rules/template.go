package rules

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"
)

// templateEntry is a template as YAML has it: any value, in which a text "@name" is a hole.
type templateEntry struct {
	template Template
	holes    []hole
	node     *yaml.Node // as written, variables replaced and aliases followed; nil: none was given
}

// hole is one "@name" of a template.
type hole struct {
	name string
	path string // of the value, in the YAML
}

// Execute appends the JSON text to dst. Value appends what goes in the place of a name; it must be one valid
// JSON value. Neither keeps dst.
func (t Template) Execute(dst []byte, value func(dst []byte, name string) []byte) []byte {
	for i := range t {
		if t[i].Name == "" {
			dst = append(dst, t[i].Literal...)
			continue
		}
		dst = value(dst, t[i].Name)
	}
	return dst
}

// Names reports whether the template has a hole of that name.
func (t Template) Names(name string) bool {
	for i := range t {
		if t[i].Name == name {
			return true
		}
	}
	return false
}

func (e *templateEntry) decodeNode(d *decoder, path string, n *yaml.Node) {
	w := templateWriter{decoder: d, entry: e}
	e.node = w.value(path, n)
	w.flush()
}

// MarshalYAML writes the template as it was written.
func (e templateEntry) MarshalYAML() (any, error) { return e.node, nil }

// IsZero reports whether no template was given.
func (e templateEntry) IsZero() bool { return e.node == nil }

// templateWriter writes JSON from YAML nodes, keys in the order in which they stand there.
type templateWriter struct {
	*decoder
	entry   *templateEntry
	literal []byte // since the last hole
}

// value writes the node's value and returns a clean copy of the node.
func (w *templateWriter) value(path string, n *yaml.Node) *yaml.Node {
	n, ok := w.enter(path, n)
	if !ok {
		return n
	}
	defer w.leave()
	w.nodes[path] = n
	switch n.Kind {
	case yaml.MappingNode:
		return w.object(path, n)
	case yaml.SequenceNode:
		return w.array(path, n)
	}
	return w.scalar(path, n)
}

func (w *templateWriter) object(path string, n *yaml.Node) *yaml.Node {
	clean := &yaml.Node{Kind: yaml.MappingNode, Style: n.Style & yaml.FlowStyle}
	w.literal = append(w.literal, '{')
	for i, p := range w.pairs(path, n) {
		if i > 0 {
			w.literal = append(w.literal, ',')
		}
		w.quote(p.key)
		w.literal = append(w.literal, ':')
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: p.key}
		clean.Content = append(clean.Content, key, w.value(join(path, p.key), p.valueNode))
	}
	w.literal = append(w.literal, '}')
	return clean
}

func (w *templateWriter) array(path string, n *yaml.Node) *yaml.Node {
	clean := &yaml.Node{Kind: yaml.SequenceNode, Style: n.Style & yaml.FlowStyle}
	w.literal = append(w.literal, '[')
	for i, item := range n.Content {
		if i > 0 {
			w.literal = append(w.literal, ',')
		}
		clean.Content = append(clean.Content, w.value(path+"["+strconv.Itoa(i)+"]", item))
	}
	w.literal = append(w.literal, ']')
	return clean
}

func (w *templateWriter) scalar(path string, n *yaml.Node) *yaml.Node {
	clean := &yaml.Node{Kind: yaml.ScalarNode, Tag: n.ShortTag(), Value: n.Value}
	switch clean.Tag {
	case "!!null":
		w.literal = append(w.literal, "null"...)
	case "!!bool", "!!int", "!!float":
		w.number(path, n)
	default:
		// A text stays a text whatever a variable puts into it, so its type does not hang on the environment.
		text, ok := w.text(path, n, "a text")
		clean.Tag, clean.Value = "!!str", text
		switch {
		case !ok:
		case strings.HasPrefix(text, "@@"):
			w.quote(text[1:])
		case strings.HasPrefix(text, "@"):
			w.hole(path, text[1:])
		default:
			w.quote(text)
		}
	}
	return clean
}

// number writes what YAML takes for a number or a boolean: as it stands there if that is JSON, too.
func (w *templateWriter) number(path string, n *yaml.Node) {
	if json.Valid([]byte(n.Value)) {
		w.literal = append(w.literal, n.Value...)
		return
	}
	var value any
	if err := n.Decode(&value); err == nil {
		if text, err := json.Marshal(value); err == nil {
			w.literal = append(w.literal, text...)
			return
		}
	}
	w.mistake(path, "%s cannot be written as JSON; put it in quotes to send it as a text", n.Value)
}

func (w *templateWriter) hole(path, name string) {
	parameter, isParameter := strings.CutPrefix(name, "param.")
	if !isName(name) && !(isParameter && isName(parameter)) {
		w.mistake(path, `"@%s" names no result; write "@@%s" for a text that begins with @`, name, name)
		return
	}
	w.flush()
	w.entry.template = append(w.entry.template, TemplatePart{Name: name})
	w.entry.holes = append(w.entry.holes, hole{name: name, path: path})
}

func (w *templateWriter) flush() {
	if len(w.literal) > 0 {
		w.entry.template = append(w.entry.template, TemplatePart{Literal: w.literal})
		w.literal = nil
	}
}

func (w *templateWriter) quote(text string) {
	// The only error is about invalid UTF-8, which is replaced all the same.
	w.literal, _ = jsontext.AppendQuote(w.literal, text)
}
