package wire

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// One select of many values per type: where a type is wrong, its own subtest says so.
func TestEveryScalarIsWrittenAsToJSONWritesIt(t *testing.T) {
	s := newServer(t)
	for _, sample := range scalars() {
		t.Run(sample.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var rows []string
				for range 5 {
					value := cast(sample.expr(t), sample.name)
					rows = append(rows, fmt.Sprintf("(%s, array[%s, null, %s])", value, value, value))
				}
				rows = append(rows, "(null, null)", fmt.Sprintf("(null, '{}'::%s[])", sample.name))
				s.sameAsServer(t, "select * from (values "+strings.Join(rows, ",")+") as v (one, several)")
			})
		})
	}
}

// world makes random types in a schema and random values of them.
type world struct {
	scalars []sample
	made    []sample
	ddl     strings.Builder
}

// draw picks or makes a type.
func (w *world) draw(t *rapid.T, depth int) sample {
	switch n := rapid.IntRange(0, 9).Draw(t, "shape"); {
	case depth == 0 || n < 4:
		return rapid.SampledFrom(w.scalars).Draw(t, "scalar")
	case n == 4 && len(w.made) > 0:
		return rapid.SampledFrom(w.made).Draw(t, "again")
	case n < 7:
		return w.arrayOf(w.draw(t, depth-1))
	case n == 7:
		return w.make(w.domainOver(w.draw(t, depth-1)))
	default:
		fields := make([]sample, rapid.IntRange(1, 5).Draw(t, "fields"))
		for i := range fields {
			fields[i] = w.draw(t, depth-1)
		}
		return w.make(w.compositeOf(t, fields))
	}
}

func (w *world) make(s sample) sample {
	w.made = append(w.made, s)
	return s
}

func (w *world) name() string { return fmt.Sprintf("made_%d", len(w.made)) }

// arrayOf makes arrays of one or two dimensions, with bounds of their own now and then. An array of
// arrays is one array with more dimensions to Postgres, so arrays of arrays need a domain between them.
func (w *world) arrayOf(element sample) sample {
	if strings.HasSuffix(element.name, "[]") {
		element = w.make(w.domainOver(element))
	}
	name := element.name + "[]"
	list := func(t *rapid.T, n int) string {
		items := make([]string, n)
		for i := range items {
			items[i] = nullOr(t, element)
		}
		return "array[" + strings.Join(items, ",") + "]"
	}
	return sample{name: name, expr: func(t *rapid.T) string {
		n := rapid.IntRange(1, 3).Draw(t, "elements")
		switch rapid.IntRange(0, 4).Draw(t, "array") {
		case 0:
			return "'{}'"
		case 1:
			return "array[" + list(t, n) + "," + list(t, n) + "]"
		case 2:
			return fmt.Sprintf("('[%d:%d]=' || %s::text)", 4, 3+n, list(t, n))
		default:
			return list(t, n)
		}
	}}
}

func nullOr(t *rapid.T, s sample) string {
	if rapid.IntRange(0, 5).Draw(t, "null") == 0 {
		return "null::" + s.name
	}
	return cast(s.expr(t), s.name)
}

func (w *world) domainOver(base sample) sample {
	name := w.name()
	fmt.Fprintf(&w.ddl, "create domain %s as %s;\n", name, base.name)
	return sample{name: name, expr: func(t *rapid.T) string { return cast(base.expr(t), base.name) }}
}

func (w *world) compositeOf(t *rapid.T, fields []sample) sample {
	name := w.name()
	columns := make([]string, len(fields))
	for i, f := range fields {
		columns[i] = identifier(t, i) + " " + f.name
	}
	dropped := fmt.Sprintf("alter type %s add attribute gone int; alter type %s drop attribute gone; alter type %s add attribute last text;\n", name, name, name)
	fmt.Fprintf(&w.ddl, "create type %s as (%s);\n%s", name, strings.Join(columns, ","), dropped)
	return sample{name: name, expr: func(t *rapid.T) string {
		values := make([]string, len(fields)+1)
		for i, f := range fields {
			values[i] = nullOr(t, f)
		}
		values[len(fields)] = nullOr(t, sample{"text", text})
		return "row(" + strings.Join(values, ",") + ")"
	}}
}

// identifier draws a column name that needs quotes and escapes.
func identifier(t *rapid.T, i int) string {
	name := fmt.Sprintf("c%d%s", i, strings.ReplaceAll(anyText(t), `"`, `""`))
	for len(name) > 60 {
		name = name[:len(name)/2]
	}
	return `"` + strings.TrimRight(strings.ToValidUTF8(name, ""), `"`) + `"`
}

func TestRowsOfNestedTypesAreWrittenAsToJSONWritesThem(t *testing.T) {
	s := newServer(t)
	rapid.Check(t, func(t *rapid.T) {
		w := &world{scalars: scalars()}
		columns := make([]sample, rapid.IntRange(1, 6).Draw(t, "columns"))
		names := make([]string, len(columns))
		for i := range columns {
			columns[i] = w.draw(t, 3)
			names[i] = identifier(t, i)
		}
		var rows []string
		for range 3 {
			values := make([]string, len(columns))
			for i, c := range columns {
				values[i] = nullOr(t, c)
			}
			rows = append(rows, "("+strings.Join(values, ",")+")")
		}
		s.exec(t, "begin; "+w.ddl.String())
		defer func() { _, _ = s.conn.PgConn().Exec(context.Background(), "rollback").ReadAll() }()
		s.sameAsServer(t, "select * from (values "+strings.Join(rows, ",")+") as v ("+strings.Join(names, ",")+")")
	})
}
