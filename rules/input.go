package rules

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// Input is a request's parameters, typed and normalised: what is keyed, and what is bound or forwarded.
// It is filled by Rule.ReadInput, reused between requests, and owns none of its bytes: they point into
// the request or into its own scratch, and are valid until either is reused. Not safe for concurrent use.
type Input struct {
	Arguments []Argument // one for each of Rule.Params, in their order
	Body      []byte     // of a rule with body parameters: the JSON object of the declared fields that were given, normalised (@body)
	Path      []byte     // of an upstream rule: the path to forward, percent-encoded; as sent for Pass, else what is keyed
	Query     []byte     // of an upstream rule: the query string to forward, made of what is keyed and nothing else
	Items     []Item     // of a batch
	Unkeyed   bool       // of an upstream rule: services differ in what they read in the path, which is in Path as sent; no key may be made of it

	scratch []byte            // what Arguments, Body, Path and Query point into where the request has it in another form
	given   []given           // one for each of Rule.Params: where the request has it
	pieces  []piece           // of a query string that is sorted
	unique  uniqueTable       // of a list
	decoder *jsontext.Decoder // of bodies
	body    bytes.Reader      // what decoder reads
	items   int               // of a batch, also those above its limit
}

// Argument is one parameter's normalised text. Not Present is NULL.
type Argument struct {
	Present bool
	Text    []byte // a List is written as a Postgres array literal
}

// Item is one item of a batch: its values, or what is wrong with it.
type Item struct {
	Raw       []byte     // the item as sent, valid JSON
	Arguments []Argument // one for each of Batch.Item
	Body      []byte     // the JSON object of its declared fields that were given
	Err       *InputError
}

// maxKept is how many bytes of room an input keeps for the next request. One huge body must not stay in
// memory with every input that ever read one.
const maxKept = 64 << 10

// reset empties the input for a rule with that many parameters.
func (in *Input) reset(params int) {
	if cap(in.scratch) > maxKept || in.body.Size() > maxKept {
		*in = Input{}
	}
	if cap(in.Arguments) < params {
		in.Arguments, in.given = make([]Argument, params), make([]given, params)
	}
	in.Arguments, in.given = in.Arguments[:params], in.given[:params]
	clear(in.Arguments)
	clear(in.given)
	clear(in.Items)
	in.Body, in.Path, in.Query, in.Unkeyed = nil, nil, nil, false
	in.Items, in.scratch = in.Items[:0], in.scratch[:0]
}

// Clone returns an input that owns its bytes, for work that outlives the request.
func (in *Input) Clone() *Input {
	c := &Input{Arguments: make([]Argument, len(in.Arguments)), Body: cloneBytes(in.Body), Path: cloneBytes(in.Path), Query: cloneBytes(in.Query), Unkeyed: in.Unkeyed}
	for i, v := range in.Arguments {
		c.Arguments[i] = Argument{Present: v.Present, Text: cloneBytes(v.Text)}
	}
	for _, item := range in.Items {
		i := Item{Raw: cloneBytes(item.Raw), Body: cloneBytes(item.Body), Err: item.Err, Arguments: make([]Argument, len(item.Arguments))}
		for j, v := range item.Arguments {
			i.Arguments[j] = Argument{Present: v.Present, Text: cloneBytes(v.Text)}
		}
		c.Items = append(c.Items, i)
	}
	return c
}

func cloneBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// InputError is what is wrong with a request's parameters, for its sender.
type InputError struct {
	Status  int          // 400, 413, 415 or 422
	TooMany bool         // a 400 for nothing but more items than a batch or a list takes
	Detail  string       // one human sentence
	Fields  []FieldError // each field at fault; may be empty
}

// FieldError says what is wrong with one field.
type FieldError struct {
	Field  string `json:"field"`
	In     string `json:"in"` // path, query, body or header
	Detail string `json:"detail"`
}

// Error returns the detail.
func (e *InputError) Error() string { return e.Detail }
