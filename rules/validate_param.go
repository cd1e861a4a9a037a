package rules

import (
	"net/textproto"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// typeNames are the types of parameters as YAML names them, in the order of the constants. An enum has no
// name: its values are listed.
var typeNames = [...]string{Text: "text", UUID: "uuid", Int: "int", Bool: "bool", Number: "number", Enum: "", Date: "date", Timestamptz: "timestamptz", Email: "email", JSON: "json"}

// bodyName is what @body binds: the whole object, so no parameter may have that name.
const bodyName = "body"

func (e *paramEntry) decodeNode(d *decoder, path string, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		type plain paramEntry // without this method
		d.fields(path, n, reflect.ValueOf((*plain)(e)).Elem())
		return
	}
	e.Type.decodeNode(d, path, n)
}

// MarshalYAML writes the short form where the type is all there is to say.
func (e paramEntry) MarshalYAML() (any, error) {
	if !e.List {
		e.Separator = ""
	}
	if reflect.DeepEqual(e, paramEntry{Type: e.Type}) {
		return e.Type, nil
	}
	type plain paramEntry // without this method
	return plain(e), nil
}

func (e *typeEntry) decodeNode(d *decoder, path string, n *yaml.Node) {
	*e = typeEntry{}
	if n.Kind != yaml.SequenceNode {
		e.Name, _ = d.text(path, n, "a type's name, or the list of the values allowed")
		return
	}
	for i, value := range n.Content {
		if text, ok := d.text(item(path, i), value, "a value"); ok {
			e.Enum = append(e.Enum, text)
		}
	}
	if len(n.Content) == 0 {
		d.mistake(path, "this list of allowed values is empty, so nothing is; list at least one")
	}
}

// MarshalYAML writes the type's name, or the values of the enum.
func (e typeEntry) MarshalYAML() (any, error) {
	if e.Enum != nil {
		return e.Enum, nil
	}
	return e.Name, nil
}

func (e *valueEntry) decodeNode(d *decoder, path string, n *yaml.Node) {
	*e = valueEntry{}
	switch n.Kind {
	case yaml.SequenceNode:
		e.List = make([]string, 0, len(n.Content))
		for i, value := range n.Content {
			if text, ok := d.text(item(path, i), value, "a value"); ok {
				e.List = append(e.List, text)
			}
		}
	default:
		e.Text, _ = d.text(path, n, "a single value or a list of them")
	}
}

// MarshalYAML writes the value as the text it is.
func (e valueEntry) MarshalYAML() (any, error) {
	if e.List != nil {
		return e.List, nil
	}
	return e.Text, nil
}

// params fills Rule.Params: those of the path in its order, then those of the query string, the headers and
// the body, each in the order of the file.
func (r *routeCompiler) params() {
	inPath := r.rule.Pattern.Names()
	declared := r.entry.Params
	for _, name := range inPath {
		i := slices.IndexFunc(declared, func(e entry[paramEntry]) bool { return e.Key == name })
		if i < 0 {
			r.addParam(r.at("route"), name, paramEntry{Type: typeEntry{Name: "text"}}, FromPath)
			continue
		}
		r.addParam(join(r.at("params"), name), name, declared[i].Value, FromPath)
	}
	for _, e := range declared {
		if !slices.Contains(inPath, e.Key) {
			r.addParam(join(r.at("params"), e.Key), e.Key, e.Value, FromQuery)
		}
	}
	if r.entry.Upstream != "" {
		return
	}
	for _, e := range r.entry.Headers {
		path := join(r.at("headers"), e.Key)
		if !isToken(e.Key) {
			r.mistake(path, "%q cannot be the name of a header; write it as in X-Tenant", e.Key)
			continue
		}
		r.addParam(path, textproto.CanonicalMIMEHeaderKey(e.Key), e.Value, FromHeader)
	}
	for _, e := range r.entry.Body {
		r.addParam(join(r.at("body"), e.Key), e.Key, e.Value, FromBody)
	}
	r.paramsBelong()
}

func (r *routeCompiler) addParam(path, field string, e paramEntry, in Source) {
	p, ok := r.param(path, field, e, in)
	if !ok {
		r.broken = append(r.broken, p.Name)
		return
	}
	if i := slices.IndexFunc(r.rule.Params, func(o Param) bool { return o.Name == p.Name }); i >= 0 {
		r.mistake(path, "@%s is a parameter of the %s already; give this one another name with as", p.Name, r.rule.Params[i].In.place())
		return
	}
	r.rule.Params = append(r.rule.Params, p)
}

// paramsBelong judges whether the request has the parts that parameters are declared for.
func (r *routeCompiler) paramsBelong() {
	method := r.rule.Method
	switch {
	case len(r.entry.Body) > 0 && (method == "GET" || method == "HEAD"):
		r.mistake(r.at("body"), "a %s has no body to read these from; declare them under params, or make the route a POST with reads: true", method)
	case len(r.entry.Body) > 0 && r.entry.Batch != nil:
		r.mistake(r.at("body"), "the body of a batch is its array; declare the fields of its items under batch.item")
	case len(r.entry.Body) == 0 && r.entry.Batch == nil && r.entry.Upstream == "" && slices.Contains([]string{"POST", "PUT", "PATCH"}, method):
		for _, p := range r.rule.Params {
			if p.In == FromQuery {
				r.warn(join(r.at("params"), p.field()), "it is read from the query string of a %s; if it is a field of the JSON body, declare it under body", method)
			}
		}
	}
}

// param compiles one parameter.
func (c *compiler) param(path, field string, e paramEntry, in Source) (Param, bool) {
	before := len(c.list)
	p := Param{
		Name: field, In: in, Optional: e.Optional, Nullable: e.Nullable, MinLength: e.MinLength, MaxLength: e.MaxLength, Pattern: e.Pattern,
		List: e.List, Separator: e.Separator, MinItems: e.MinItems, MaxItems: e.MaxItems, Unique: e.Unique,
	}
	if e.As != "" {
		p.Name, p.Field = e.As, field
	}
	switch {
	case !isName(p.Name):
		c.mistake(path, "%q cannot be the name of a parameter, which has letters, digits and _ only; name it with as, and write @ and that name in SQL", p.Name)
	case p.Name == bodyName:
		c.mistake(path, "@%s is the whole body, so no parameter can be called that; name it otherwise with as", bodyName)
	}
	c.paramType(path, e, &p)
	c.paramPlace(path, &p, e)
	c.paramBounds(path, e, &p)
	c.paramList(path, e, &p)
	if len(c.list) == before && e.Default != nil {
		c.paramDefault(path+".default", e.Default, &p)
	}
	return p, len(c.list) == before
}

func (c *compiler) paramType(path string, e paramEntry, p *Param) {
	if c.given(path + ".type") {
		path += ".type"
	}
	if e.Type.Enum != nil {
		p.Type, p.Enum = Enum, e.Type.Enum
		for i, value := range p.Enum {
			switch {
			case value == "":
				c.mistake(path, "an empty value can never be sent, as an empty parameter counts as absent; remove it and say optional: true")
			case slices.Contains(p.Enum[:i], value):
				c.mistake(path, "%q is listed twice; keep one of them", value)
			}
		}
		return
	}
	known := slices.DeleteFunc(slices.Clone(typeNames[:]), func(name string) bool { return name == "" })
	if e.Type.Name == "" {
		c.mistake(path, "it has no type; give it one of %s, or the list of the values allowed", strings.Join(known, ", "))
		return
	}
	if i := slices.Index(typeNames[:], e.Type.Name); i >= 0 {
		p.Type = Type(i)
		return
	}
	c.mistake(path, "%q is no type%s", e.Type.Name, meant(ourTypeName(e.Type.Name), known))
}

// ourTypeName translates what other languages call the types.
func ourTypeName(name string) string {
	switch strings.ToLower(name) {
	case "string", "str", "varchar":
		return "text"
	case "integer", "bigint", "int8":
		return "int"
	case "float", "double", "numeric", "decimal":
		return "number"
	case "timestamp", "datetime", "time":
		return "timestamptz"
	case "object", "jsonb", "map":
		return "json"
	}
	return name
}

// sentence writes what is wrong with a value, which begins with must, as one.
func sentence(err error) string {
	if text := err.Error(); strings.HasPrefix(text, "must") {
		return "it " + text
	}
	return err.Error()
}

// paramPlace judges what depends on the part of the request that the parameter is in.
func (c *compiler) paramPlace(path string, p *Param, e paramEntry) {
	switch {
	case p.In == FromPath && (p.Optional || e.Default != nil):
		c.mistake(path, "it is a part of the path, so it is always there; remove optional and default")
	case p.In != FromBody && p.Nullable:
		c.mistake(path+".nullable", "only JSON has null; say optional: true to take an absent or empty parameter for NULL")
	}
	if p.In == FromBody && c.given(path+".separator") {
		c.mistake(path+".separator", "in a body a list is a JSON array, without separators; remove it")
	}
}

func (c *compiler) paramBounds(path string, e paramEntry, p *Param) {
	switch p.Type {
	case Int, Number, Date, Timestamptz:
		p.Min = c.bound(path+".min", e.Min, p.Type)
		p.Max = c.bound(path+".max", e.Max, p.Type)
		if p.Min != nil && p.Max != nil && !p.inBounds([]byte(*p.Min)) {
			c.mistake(path+".min", "it is %s and max is %s, so no value is allowed; swap or change them", *p.Min, *p.Max)
		}
	default:
		if e.Min != nil || e.Max != nil {
			c.mistake(path, "min and max bound an int, number, date or timestamptz; a text has min_length and max_length")
		}
	}
	if p.Type != Text && (p.MinLength != 0 || p.MaxLength != 0 || p.Pattern != "") {
		c.mistake(path, "min_length, max_length and pattern are for the type text; remove them")
	}
	c.span(path, "length", p.MinLength, p.MaxLength)
	if _, err := regexp.Compile(p.Pattern); err != nil {
		c.mistake(path+".pattern", "it is not a regular expression of the RE2 kind: %s; see https://golang.org/s/re2syntax", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

func (c *compiler) bound(path string, e *valueEntry, t Type) *string {
	if e == nil {
		return nil
	}
	if e.List != nil {
		c.mistake(path, "want one value, got a list")
		return nil
	}
	value, err := t.Normalise(nil, []byte(e.Text))
	if err != nil {
		c.mistake(path, "%s", sentence(err))
		return nil
	}
	text := string(value)
	return &text
}

func (c *compiler) paramList(path string, e paramEntry, p *Param) {
	if !p.List {
		p.Separator = ""
		for _, key := range []string{"separator", "min_items", "max_items", "unique"} {
			if c.given(path + "." + key) {
				c.mistake(path+"."+key, "only a list has items; say list: true, or remove it")
			}
		}
		return
	}
	if p.Separator == "" {
		c.mistake(path+".separator", "it is empty; give the character between two values, such as \",\"")
	}
	c.span(path, "items", p.MinItems, p.MaxItems)
}

// span judges min_… and max_… of one thing.
func (c *compiler) span(path, of string, least, most int) {
	lower, upper := path+".min_"+of, path+".max_"+of
	switch {
	case least < 0:
		c.mistake(lower, "%d is negative; want 0 or more", least)
	case most < 0:
		c.mistake(upper, "%d is negative; want 0 for no bound, or more", most)
	case most > 0 && least > most:
		c.mistake(lower, "it is %d and max_%s is %d, so no value is allowed; swap or change them", least, of, most)
	}
}

func (c *compiler) paramDefault(path string, e *valueEntry, p *Param) {
	text := e.Text
	switch {
	case e.List != nil && !p.List:
		c.mistake(path, "want one value, got a list; say list: true if the parameter has several")
		return
	case e.List != nil:
		text = strings.Join(e.List, p.Separator)
		if i := slices.IndexFunc(e.List, func(s string) bool { return strings.Contains(s, p.Separator) }); i >= 0 {
			c.mistake(path, "%q contains the separator %q; choose another separator", e.List[i], p.Separator)
			return
		}
	}
	value, err := p.Normalise(nil, []byte(text))
	if err != nil {
		c.mistake(path, "%s", sentence(err))
		return
	}
	normal := string(value)
	p.Default = &normal
}

// place names the part of the request in words.
func (s Source) place() string {
	return [...]string{FromPath: "path", FromQuery: "query string", FromBody: "body", FromHeader: "headers"}[s]
}

// isToken reports whether the text can be the name of a header field (RFC 9110 s.5.6.2).
func isToken(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return text != ""
}
