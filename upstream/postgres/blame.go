package postgres

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"forebay/rules"
)

// bound is a parameter that the server takes for a narrower integer than a rule's int. A value.
type bound struct {
	nth      int // of the statement's parameters, from 0
	min, max int64
}

// boundsOf returns the bounds that the types of a statement's parameters put to integers.
func (s *statement) boundsOf(types []uint32) []bound {
	var list []bound
	for n, oid := range types {
		p := s.input(n)
		if p == nil || p.Type != rules.Int {
			continue
		}
		switch oid {
		case 21, 1005: // int2, and arrays of it
			list = append(list, bound{n, -1 << 15, 1<<15 - 1})
		case 23, 1007: // int4
			list = append(list, bound{n, -1 << 31, 1<<31 - 1})
		case 26, 1028: // oid, which takes what int4 takes, too
			list = append(list, bound{n, -1 << 31, 1<<32 - 1})
		}
	}
	return list
}

// within refuses integers that the server's type of a parameter does not hold, before they are sent: of a fault
// that the server finds it does not always say in which parameter. The types are those that the statement was
// prepared with last; the statement has been made ready.
func (s *session) within(st *statement, arguments []rules.Argument) error {
	shape := s.shapeOf(st)
	if shape == nil {
		return nil
	}
	for _, b := range shape.bounds {
		index := st.params[b.nth]
		if index >= len(arguments) || !arguments[index].Present {
			continue
		}
		if at, ok := b.holds(string(arguments[index].Text)); !ok {
			refused := st.inputs[index].Refuse(at, fmt.Sprintf("must be between %d and %d", b.min, b.max))
			return &Error{
				Class: Invalid, Status: refused.Status, Detail: refused.Detail,
				Field: refused.Fields[0].Field, In: refused.Fields[0].In, Err: refused,
			}
		}
	}
	return nil
}

// withinAll is within for each of a rule's statements.
func (s *session) withinAll(statements []*statement, arguments []rules.Argument) error {
	for _, st := range statements {
		if err := s.within(st, arguments); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether an integer, or each of a list, is inside; at is the first in a list that is not.
func (b bound) holds(text string) (at int, ok bool) {
	items, isList := strings.CutPrefix(text, "{")
	for at = 0; ; at++ {
		item, rest, more := strings.Cut(strings.TrimSuffix(items, "}"), ",")
		n, err := strconv.ParseInt(item, 10, 64)
		switch {
		case item != "" && (err != nil || n < b.min || n > b.max):
			if !isList {
				at = -1
			}
			return at, false
		case !more:
			return 0, true
		}
		items = rest
	}
}

// input returns the rule's parameter that the nth of the statement's, from 0, is bound to; nil for @body.
func (s *statement) input(nth int) *rules.Param {
	if nth >= len(s.params) || s.params[nth] < 0 || s.params[nth] >= len(s.inputs) {
		return nil
	}
	return &s.inputs[s.params[nth]]
}

// failure is what went wrong with a statement that was sent with these arguments. They are the request's: a
// failure is explained before that ends.
type failure struct {
	doing     string
	statement *statement
	types     []uint32 // of its parameters, as the server has them
	arguments []rules.Argument
	cause     error
}

// Error tells what was being done.
func (f *failure) Error() string {
	return fmt.Sprintf("%s statement %q: %v", f.doing, f.statement.label, f.cause)
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

// failed makes a failure.
func (s *session) failed(doing string, st *statement, arguments []rules.Argument, cause error) error {
	f := &failure{doing: doing, statement: st, arguments: arguments, cause: cause}
	if shape := s.shapeOf(st); shape != nil {
		f.types = shape.params
	}
	return f
}

// boundPattern finds which parameter the server was reading, in any language: unnamed portal parameter $2 = '…'.
// It is the last part of the context, and nothing of the parts before it is in front of its number.
var boundPattern = regexp.MustCompile(`(?s)(?:^|\n)[^"'\n]*\$(\d+)(?: = '.*)?$`)

// blame returns the parameter that a data error is about; nil if that cannot be told.
//
// While it reads the parameters, the server says which one it is at. Later it may quote the value. Of anything
// else a parameter is the cause only where nothing else is there: in a write, not inside a function or trigger, if
// it is the only one of a kind that leads to such an error. A read may have met it in what is stored.
func (f *failure) blame(pg *pgconn.PgError) *rules.Param {
	if m := boundPattern.FindStringSubmatch(pg.Where); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			return f.statement.input(n - 1)
		}
	}
	quoted, only := f.among(func(n int, text string) bool {
		return text != "" && strings.Contains(pg.Message, `"`+text+`"`)
	})
	if quoted != nil && only {
		return quoted
	}
	if quoted != nil || pg.Where != "" || !f.statement.writes {
		return nil
	}
	of := culprits[pg.Code]
	if pg.Routine == "apply_typmod" { // too many digits for a numeric(p, s)
		of = slices.Concat([]uint32{1700, 1231}, texts, textArrays)
	}
	if of != nil {
		if p, only := f.among(func(n int, _ string) bool { return n >= len(f.types) || slices.Contains(of, f.types[n]) }); only {
			return p
		}
	}
	return nil
}

// culprits are the types of parameters that can lead to an error. Text leads to all of them, by a cast.
var culprits = map[string][]uint32{
	pgerrcode.StringDataRightTruncationDataException: slices.Concat(texts, textArrays, []uint32{114, 3802}),
	pgerrcode.NumericValueOutOfRange:                 slices.Concat(numbers, texts, textArrays),
	pgerrcode.InvalidDatetimeFormat:                  slices.Concat(times, texts, textArrays),
	pgerrcode.DatetimeFieldOverflow:                  slices.Concat(times, texts, textArrays),
	pgerrcode.IntervalFieldOverflow:                  slices.Concat(times, texts, textArrays),
	pgerrcode.InvalidTextRepresentation:              slices.Concat(texts, textArrays, []uint32{114, 3802}),
}

var (
	texts      = []uint32{25, 1043, 1042, 19, 705}
	textArrays = []uint32{1009, 1015, 1014, 1003}
	numbers    = []uint32{20, 21, 23, 26, 700, 701, 790, 1700, 1005, 1007, 1016, 1021, 1022, 1028, 1231}
	times      = []uint32{1082, 1083, 1114, 1184, 1266, 1186, 1115, 1182, 1185}
)

// among returns the first parameter that was given and that is meant, and whether it is the only one.
func (f *failure) among(meant func(nth int, text string) bool) (found *rules.Param, only bool) {
	only = true
	for n, index := range f.statement.params {
		p := f.statement.input(n)
		given := p != nil && index < len(f.arguments) && f.arguments[index].Present
		switch {
		case index == -1:
			only = false // @body holds any of them
		case !given || !meant(n, string(f.arguments[index].Text)):
		case found != nil:
			only = false
		default:
			found = p
		}
	}
	return found, only
}
