package wire

import (
	"fmt"
	"math"
	"strings"

	"pgregory.net/rapid"
)

// scalars returns samples of every type that holds no other.
func scalars() []sample {
	all := append(numbers(), texts()...)
	all = append(all, moments()...)
	all = append(all, oddities()...)
	return append(all, ranges()...)
}

func numbers() []sample {
	return []sample{
		{"bool", oneOf(integer(0, 1), "t", "f")},
		{"int2", oneOf(integer(math.MinInt16, math.MaxInt16), "0", "-32768")},
		{"int4", oneOf(integer(math.MinInt32, math.MaxInt32), "0", "-2147483648")},
		{"int8", oneOf(integer(math.MinInt64, math.MaxInt64), "0", "-9223372036854775808", "9007199254740993")},
		{"float4", oneOf(float(32), "NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "1e6", "1234567")},
		{"float8", oneOf(float(64), "NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "1e15", "0.1")},
		{"numeric", oneOf(decimal, "NaN", "Infinity", "-Infinity", "0.00", "-0", "1e-300", "1e1000", "100000000000000000000.10")},
		{"numeric(12,3)", oneOf(integer(-999_999, 999_999), "NaN", "0", "1.5")},
		{"money", oneOf(integer(-1e9, 1e9), "-12.34", "0")},
		{"oid", integer(0, math.MaxUint32)},
		{"xid", integer(0, math.MaxUint32)},
		{"xid8", integer(0, math.MaxInt64)},
		{"cid", integer(0, math.MaxUint32)},
		{"tid", oneOf(func(*rapid.T) string { return "'(0,1)'" }, "(4294967295,65535)")},
		{"pg_lsn", oneOf(func(*rapid.T) string { return "'0/0'" }, "16/B374D848")},
	}
}

func texts() []sample {
	short := func(t *rapid.T) string { return "left(" + text(t) + ", 9)" }
	return []sample{
		{"text", text},
		{"varchar", text},
		{"varchar(9)", short},
		{"char(9)", short},
		{"name", func(t *rapid.T) string { return "left(" + text(t) + ", 15)" }},
		{`"char"`, oneOf(short, "", "x", `\200`, " ")},
		{"citext", text},
		{"label", text},
		{"label_of_label", text},
		{"mood", oneOf(func(*rapid.T) string { return "'so so'" }, "", "null", "NULL", `"quoted"`, `back\slash`, "{a,b}", "(x)", "=1+1", "ünï")},
		{"xml", func(t *rapid.T) string {
			s := strings.NewReplacer("&", "", "<", "", ">", "").Replace(strings.ToValidUTF8(rapid.StringMatching(`[a-z "\\,{}()é]{0,9}`).Draw(t, "xml"), ""))
			return quoted("<a b=\"c\">" + s + "</a>")
		}},
		{"tsvector", func(t *rapid.T) string { return "array_to_tsvector(array['x' || " + text(t) + "])" }},
		{"tsquery", func(t *rapid.T) string { return "phraseto_tsquery('simple', " + text(t) + ")" }},
		{"json", document},
		{"jsonb", func(t *rapid.T) string { return document(t) + "::json" }},
		{"hstore", hstorePairs},
		{"bytea", func(t *rapid.T) string { return `'\x` + hexBytes(0, 40)(t) + "'" }},
		{"uuid", func(t *rapid.T) string { return "'" + hexBytes(16)(t) + "'" }},
	}
}

func moments() []sample {
	return []sample{
		{"date", oneOf(daysSince, "infinity", "-infinity", "4714-11-24 BC", "0001-12-31 BC", "0001-01-01", "5874897-12-31", "2000-02-29", "1900-03-01")},
		{"day", daysSince},
		{"time", oneOf(func(t *rapid.T) string { return "'" + clock(t) + "'" }, "24:00:00", "00:00:00")},
		{"timetz", oneOf(func(t *rapid.T) string { return "'" + clock(t) + "+05:30'" }, "24:00:00-15:59:59", "00:00:00+00")},
		{"timestamp", oneOf(moment, "infinity", "-infinity", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "1999-12-31 23:59:59.9", "2000-01-01")},
		{"timestamptz", oneOf(moment, "infinity", "-infinity", "4714-11-24 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "0001-12-31 23:59:59+00 BC")},
		{"timestamptz(0)", moment},
		{"interval", oneOf(span, "0", "-1 day", "1 mon -00:00:00.000001", "-178000000 years")},
	}
}

// constant draws one of these literals.
func constant(literals ...string) func(*rapid.T) string {
	return func(t *rapid.T) string { return "'" + rapid.SampledFrom(literals).Draw(t, "literal") + "'" }
}

func oddities() []sample {
	points := func(format string, n int) func(*rapid.T) string {
		return func(t *rapid.T) string {
			args := make([]any, n)
			for i := range args {
				args[i] = point(t)
			}
			return "'" + fmt.Sprintf(format, args...) + "'"
		}
	}
	return []sample{
		{"inet", constant("10.0.0.1", "10.1.2.3/8", "::1", "2001:db8::1/64", "0.0.0.0/0")},
		{"cidr", constant("10.0.0.0/8", "2001:db8::/32")},
		{"macaddr", constant("08:00:2b:01:02:03")},
		{"macaddr8", constant("08:00:2b:01:02:03:04:05")},
		{"bit(5)", constant("00000", "10101")},
		{"varbit", constant("", "1", "010")},
		{"point", points("%s", 1)},
		{"lseg", points("[%s,%s]", 2)},
		{"box", points("%s,%s", 2)},
		{"path", points("[%s,%s,%s]", 3)},
		{"polygon", points("(%s,%s,%s)", 3)},
		{"line", constant("{1,2,3}")},
		{"circle", constant("<(1,2),3>", "<(-1.5,2),0>")},
		{"cube", constant("(1,2),(3,4)", "(1)")},
		{"ltree", constant("a.b.c", "")},
		{"regclass", constant("pg_class", "altered", "0")},
		{"regtype", constant("int4", `"char"`, "numeric(10,2)")},
		{"regproc", constant("now", "0")},
		{"regoperator", constant("=(int4,int4)", "*(int4,int4)")},
		{"regrole", constant("postgres")},
		{"regnamespace", constant("public")},
		{"jsonpath", constant(`$.a[*] ? (@ == "x y")`, "strict $")},
		{"int2vector", constant("", "1", "1 -2 3")},
		{"oidvector", constant("", "1", "1 2 3")},
		{"aclitem", constant("postgres=r/postgres", "=r/postgres")},
		{"pg_snapshot", constant("10:20:10,14")},
		{"refcursor", text},
		{"information_schema.sql_identifier", func(t *rapid.T) string { return "left(" + text(t) + ", 15)" }},
		{"information_schema.yes_or_no", constant("YES", "NO")},
		{"positive", integer(1, math.MaxInt32)},
		{"empty", func(*rapid.T) string { return "'()'" }},
	}
}

func ranges() []sample {
	ints := between("int4range", integer(-1000, 1000), "int4")
	stamps := between("tstzrange", moment, "timestamptz")
	named := between("text_range", text, "text")
	return []sample{
		{"int4range", ints},
		{"int4multirange", multi(ints, "int4range")},
		{"numrange", between("numrange", decimal, "numeric")},
		{"daterange", between("daterange", func(t *rapid.T) string {
			return fmt.Sprintf("(date '2000-01-01' + %d)", rapid.IntRange(-1000, 1000).Draw(t, "day"))
		}, "date")},
		{"tsrange", between("tsrange", moment, "timestamp")},
		{"tstzrange", stamps},
		{"tstzmultirange", multi(stamps, "tstzrange")},
		{"float_range", between("float_range", float(64), "float8")},
		{"text_range", named},
		{"text_multirange", multi(named, "text_range")},
	}
}
