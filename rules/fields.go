package rules

import (
	"fmt"
	"regexp"
	"slices"
)

// fields is where a rule's parameters stand in a request, found out once. Immutable.
type fields struct {
	query    []int // indices in Rule.Params
	header   []int
	body     []int
	keyed    []int // what AppendKeyOf writes: all but headers
	segment  []int // for each of Rule.Params that stands in the path: which of the pattern's parameters
	typed    []int // for each of the pattern's parameters: its index in Rule.Params, or -1
	bindBody bool  // a statement binds @body
	accept   bool  // the Accept field chooses between forms that may be stored; streamed ones never are
	declared bool  // of an upstream rule: it names the query parameters it takes, so others are not forwarded
}

// compileFields fills the tables.
func (r *Rule) compileFields() error {
	f := fields{segment: make([]int, len(r.Params)), typed: make([]int, len(r.Pattern.names))}
	for k := range f.typed {
		f.typed[k] = -1
	}
	for i := range r.Params {
		p := &r.Params[i]
		switch p.In {
		case FromPath:
			k := slices.Index(r.Pattern.names, p.field())
			if k < 0 {
				return fmt.Errorf("parameter %q is not in the path %s; write {%s} there", p.Name, r.Pattern.Text, p.field())
			}
			f.segment[i], f.typed[k] = k, i
		case FromQuery:
			f.query = append(f.query, i)
		case FromBody:
			f.body = append(f.body, i)
		case FromHeader:
			f.header = append(f.header, i)
		}
		if p.In != FromHeader {
			f.keyed = append(f.keyed, i)
		}
		f.declared = f.declared || p.In == FromQuery
	}
	f.bindBody = r.bindsBody()
	f.accept = r.Query != nil && slices.ContainsFunc(r.Query.Formats, func(f Format) bool { return f.Accept != "" && !f.Stream })
	r.fields = f
	return nil
}

// compilePatterns compiles the patterns of texts.
func compilePatterns(params []Param) error {
	for i := range params {
		if err := params[i].compile(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Param) compile() error {
	if p.Pattern == "" {
		return nil
	}
	pattern, err := regexp.Compile(p.Pattern)
	if err != nil {
		return fmt.Errorf("parameter %q: pattern %q: %w", p.Name, p.Pattern, err)
	}
	p.pattern = pattern
	return nil
}

// bindsBody reports whether a statement binds @body: then what was not given tells two requests apart
// even where a default makes their parameters the same.
func (r *Rule) bindsBody() bool {
	if r.Query == nil {
		return false
	}
	return slices.ContainsFunc(r.Query.Statements, func(s Statement) bool { return slices.Contains(s.Params, -1) })
}

// field returns the name by which requests know the parameter.
func (p *Param) field() string {
	if p.Field != "" {
		return p.Field
	}
	return p.Name
}
