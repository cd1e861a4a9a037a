package rules

import (
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// normalForm checks what a parameter makes of texts, and what it says of those it refuses.
type normalForm struct{ t *testing.T }

func (n normalForm) is(p Param, text, want string) {
	n.t.Helper()
	got, err := p.Normalise([]byte("before|"), []byte(text))
	if err != nil || string(got) != "before|"+want {
		n.t.Errorf("%q: %q, %v; want %q", text, got, err, want)
	}
}

func (n normalForm) refused(p Param, text, want string) {
	n.t.Helper()
	got, err := p.Normalise([]byte("before|"), []byte(text))
	if err == nil || err.Error() != want || string(got) != "before|" {
		n.t.Errorf("%q: %q, %v\nwant %s", text, got, err, want)
	}
}

func TestAUUIDANumberOrATruthValueHasOneNormalForm(t *testing.T) {
	t.Parallel()
	n := normalForm{t}
	p := Param{Type: UUID}
	n.is(p, "123E4567-e89b-12d3-A456-426614174000", "123e4567-e89b-12d3-a456-426614174000")
	n.is(p, " 123e4567-e89b-12d3-a456-426614174000 ", "123e4567-e89b-12d3-a456-426614174000")
	n.refused(p, "123e4567e89b12d3a456426614174000", `must be a UUID like 123e4567-e89b-12d3-a456-426614174000, not "123e4567e89b12d3a456426614174000"`)
	n.refused(p, "{123e4567-e89b-12d3-a456-426614174000}", `must be a UUID like 123e4567-e89b-12d3-a456-426614174000, not "{123e4567-e89b-12d3-a456-426614174000}"`)
	n.refused(p, "123e4567-e89b-12d3-a456-42661417400g", `must be a UUID like 123e4567-e89b-12d3-a456-426614174000, not "123e4567-e89b-12d3-a456-42661417400g"`)
	n.refused(p, "", `must be a UUID like 123e4567-e89b-12d3-a456-426614174000, not empty`)

	p = Param{Type: Int}
	n.is(p, "20", "20")
	n.is(p, "020", "20")
	n.is(p, "+20", "20")
	n.is(p, "-0", "0")
	n.is(p, "-007", "-7")
	n.is(p, "9223372036854775807", "9223372036854775807")
	n.is(p, "-9223372036854775808", "-9223372036854775808")
	n.refused(p, "9223372036854775808", "must be a whole number, not 9223372036854775808")
	n.refused(p, "2.0", "must be a whole number, not 2.0")
	n.refused(p, "1e3", "must be a whole number, not 1e3")
	n.refused(p, "", "must be a whole number, not empty")
	n.refused(p, "-", `must be a whole number, not "-"`)
	n.refused(p, "٣", `must be a whole number, not "٣"`)

	p = Param{Type: Int, Min: pointer("1"), Max: pointer("100")}
	n.is(p, "1", "1")
	n.is(p, "100", "100")
	n.refused(p, "0", "must be between 1 and 100, not 0")
	n.refused(p, "500", "must be between 1 and 100, not 500")
	n.refused(p, "-50", "must be between 1 and 100, not -50")
	n.refused(p, "many", `must be a whole number between 1 and 100, not "many"`)
	p = Param{Type: Int, Min: pointer("-5")}
	n.is(p, "-5", "-5")
	n.refused(p, "-6", "must be at least -5, not -6")
	n.refused(p, "x", `must be a whole number, at least -5, not "x"`)
	p = Param{Type: Int, Max: pointer("9")}
	n.refused(p, "10", "must be at most 9, not 10")

	p = Param{Type: Bool}
	for _, yes := range []string{"true", "True", "TRUE", "1", "t"} {
		n.is(p, yes, "true")
	}
	for _, no := range []string{"false", "0", "F"} {
		n.is(p, no, "false")
	}
	n.refused(p, "yes", `must be true or false, not "yes"`)
	n.refused(p, "\x11", `must be true or false, not "\x11"`)
}

func TestADecimalNumberHasOneNormalForm(t *testing.T) {
	t.Parallel()
	n := normalForm{t}
	p := Param{Type: Number}
	n.is(p, "1", "1")
	n.is(p, "1.0", "1")
	n.is(p, "01.50", "1.5")
	n.is(p, ".5", "0.5")
	n.is(p, "5.", "5")
	n.is(p, "-0.00", "0")
	n.is(p, "1e3", "1000")
	n.is(p, "1.25E-2", "0.0125")
	n.is(p, "12300e-2", "123")
	n.is(p, "0e999999999999999999999", "0")
	n.is(p, "123456789012345678901234567890.123", "123456789012345678901234567890.123")
	n.refused(p, "1e999999999999", "must be a number, not "+`"1e999999999999"`)
	n.refused(p, "1e-1001", "must be a number, not "+`"1e-1001"`)
	for _, text := range []string{"", ".", "e5", "1e", "1.2.3", "NaN", "Infinity", "0x10", "1_000", "--1"} {
		if _, err := p.Normalise(nil, []byte(text)); err == nil {
			t.Errorf("%q is taken for a number", text)
		}
	}
	p = Param{Type: Number, Min: pointer("-1.5"), Max: pointer("2.25")}
	n.is(p, "2.25", "2.25")
	n.is(p, "-1.5", "-1.5")
	n.is(p, "-1.49", "-1.49")
	n.is(p, "-0.5", "-0.5")
	n.refused(p, "2.251", "must be between -1.5 and 2.25, not 2.251")
	n.refused(p, "10", "must be between -1.5 and 2.25, not 10")
	n.refused(p, "-1.51", "must be between -1.5 and 2.25, not -1.51")
}

func TestADateOrATimeHasOneNormalForm(t *testing.T) {
	t.Parallel()
	n := normalForm{t}
	p := Param{Type: Date}
	n.is(p, "2024-02-29", "2024-02-29")
	n.refused(p, "2023-02-29", `must be a date like 2026-01-31, not "2023-02-29"`)
	n.refused(p, "2024-2-9", `must be a date like 2026-01-31, not "2024-2-9"`)
	n.refused(p, "2024-01-01T00:00:00Z", `must be a date like 2026-01-31, not "2024-01-01T00:00:00Z"`)
	n.refused(p, "0000-01-01", `must be a date like 2026-01-31, not "0000-01-01"`)
	p = Param{Type: Date, Min: pointer("2024-01-01")}
	n.refused(p, "2023-12-31", `must be at least 2024-01-01, not "2023-12-31"`)

	p = Param{Type: Timestamptz}
	n.is(p, "2024-01-31T12:00:00Z", "2024-01-31T12:00:00Z")
	n.is(p, "2024-01-31t12:00:00z", "2024-01-31T12:00:00Z")
	n.is(p, "2024-01-31T00:30:00+02:00", "2024-01-30T22:30:00Z")
	n.is(p, "2024-01-31T00:30:00 02:00", "2024-01-30T22:30:00Z") // an unescaped + of a query string
	n.is(p, "2024-01-31 23:30:00-05:30", "2024-02-01T05:00:00Z")
	n.is(p, "2024-01-31T12:00:00.1200Z", "2024-01-31T12:00:00.12Z")
	n.is(p, "2024-01-31T12:00:00.123456789Z", "2024-01-31T12:00:00.123456Z")
	for _, text := range []string{
		"2024-01-31", "2024-01-31T12:00:00", "2024-01-31T24:00:00Z", "2024-01-31T12:60:00Z", "2024-01-31T12:00:60Z",
		"2024-01-31T12:00:00.Z", "2024-01-31T12:00:00+0200", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2024-01-31T12:00:00*02:00",
	} {
		if _, err := p.Normalise(nil, []byte(text)); err == nil {
			t.Errorf("%q is taken for a time", text)
		}
	}
	p = Param{Type: Timestamptz, Min: pointer("2024-01-31T12:00:00.5Z"), Max: pointer("2024-01-31T12:00:01Z")}
	n.is(p, "2024-01-31T12:00:00.51Z", "2024-01-31T12:00:00.51Z")
	n.is(p, "2024-01-31T13:00:01+01:00", "2024-01-31T12:00:01Z")
	n.refused(p, "2024-01-31T12:00:00Z", `must be between 2024-01-31T12:00:00.5Z and 2024-01-31T12:00:01Z, not "2024-01-31T12:00:00Z"`)
	n.refused(p, "2024-01-31T12:00:01.000001Z", `must be between 2024-01-31T12:00:00.5Z and 2024-01-31T12:00:01Z, not "2024-01-31T12:00:01.000001Z"`)
}

func TestATextIsCheckedAndKept(t *testing.T) {
	t.Parallel()
	n := normalForm{t}
	p := Param{Type: Enum, Enum: []string{"PRIME", "LONGEVITY"}}
	n.is(p, "PRIME", "PRIME")
	n.refused(p, "prime", `must be one of PRIME, LONGEVITY, not "prime"`)

	p = Param{Type: Text, MinLength: 1, MaxLength: 3}
	n.is(p, "äöü", "äöü")
	n.is(p, " a ", " a ")
	n.refused(p, "", "must not be empty")
	n.refused(p, "äöüß", "must have 1 to 3 characters, not 4")
	n.refused(p, "a\x00", "must not contain the character U+0000")
	n.refused(p, "\xff", "must be UTF-8")
	p = Param{Type: Text, MinLength: 2}
	n.refused(p, "a", "must have at least 2 characters, not 1")
	p = Param{Type: Text, MaxLength: 1}
	n.refused(p, "ab", "must have at most 1 character, not 2")
	p = Param{Type: Text, Pattern: "^[a-z]+$"}
	n.is(p, "abc", "abc")
	n.refused(p, "ABC", `must match ^[a-z]+$, unlike "ABC"`)
	n.refused(p, strings.Repeat("Ä", 50), `must match ^[a-z]+$, unlike "`+strings.Repeat("Ä", 40)+`"…`)

	p = Param{Type: Email}
	n.is(p, "Ann@Example.co.uk", "Ann@Example.co.uk")
	for _, text := range []string{"", "ann", "@example.com", "ann@example", "ann@.com", "ann@example.", "a@b@c.d", "a n@b.c", "a@b..c", "a@b.c\n"} {
		if _, err := p.Normalise(nil, []byte(text)); err == nil {
			t.Errorf("%q is taken for an address", text)
		}
	}

	p = Param{Type: JSON}
	n.is(p, `{"b":1,"a":[ 2, {"d":null,"c":"\u00e9"} ]}`, `{"a":[2,{"c":"é","d":null}],"b":1}`)
	n.is(p, `9007199254740993`, `9007199254740993`)
	n.is(p, `"\\u0000"`, `"\\u0000"`)
	n.refused(p, `"a\u0000"`, "must not contain the character U+0000")
	n.refused(p, `{"a":1,"a":2}`, `must be valid JSON without duplicate names, not "{\"a\":1,\"a\":2}"`)
	n.refused(p, `1 2`, `must be valid JSON without duplicate names, not "1 2"`)
}

func TestListsAreArrayLiterals(t *testing.T) {
	t.Parallel()
	f := func(p Param, text, want string) {
		t.Helper()
		p.List = true
		got, err := p.Normalise(nil, []byte(text))
		if err != nil {
			got = []byte("error: " + err.Error())
		}
		if string(got) != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	f(Param{Type: Int}, "1,02, 3", `{1,2,3}`)
	f(Param{Type: Int}, "1,,2,", `{1,2}`)
	f(Param{Type: Int}, "", `{}`)
	f(Param{Type: Int}, "1,x", `error: item [1] must be a whole number, not "x"`)
	f(Param{Type: Int, Separator: "|"}, "1|2", `{1,2}`)
	f(Param{Type: Int, Unique: true}, "3,1,03,2,1", `{3,1,2}`)
	f(Param{Type: Int, MaxItems: 2}, "1,2", `{1,2}`)
	f(Param{Type: Int, MaxItems: 2}, "1,2,3", `error: must have at most 2 items`)
	f(Param{Type: Int, MinItems: 2, Unique: true}, "1,1", `error: must have at least 2 items, not 1`)
	f(Param{Type: Text}, `a,NULL,b c,{x},"q",back\slash`, `{"a","NULL","b c","{x}","\"q\"","back\\slash"}`)
	f(Param{Type: Text, Unique: true}, `",\,",\`, `{"\"","\\"}`)
	f(Param{Type: UUID, Unique: true}, "123E4567-e89b-12d3-a456-426614174000,123e4567-E89B-12d3-a456-426614174000", "{123e4567-e89b-12d3-a456-426614174000}")
	many := strings.Repeat("1,2,3,", 200)
	f(Param{Type: Int, Unique: true}, many, `{1,2,3}`)
	var distinct []string
	for i := range 300 {
		distinct = append(distinct, big.NewInt(int64(i)).String())
	}
	all := strings.Join(distinct, ",")
	f(Param{Type: Int, Unique: true}, all+","+all, "{"+all+"}")
}

// The rendering of a list as JSON reads back what its literal was made of.
func TestWhatIsInAListComesOutOfItAsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Param{Type: Text, List: true, Separator: "\x1f"}
		items := rapid.SliceOf(rapid.StringOfN(rapid.RuneFrom([]rune(`ab"\,{} é`)), 1, 8, -1)).Draw(t, "items")
		literal, err := p.Normalise(nil, []byte(strings.Join(items, p.Separator)))
		if err != nil {
			t.Fatal(err)
		}
		got := p.AppendJSON(nil, Argument{Present: true, Text: literal})
		want := []byte{'['}
		for i, item := range items {
			if i > 0 {
				want = append(want, ',')
			}
			one := Param{Type: Text}
			want = one.AppendJSON(want, Argument{Present: true, Text: []byte(item)})
		}
		want = append(want, ']')
		if string(got) != string(want) {
			t.Fatalf("%s became %s, want %s", literal, got, want)
		}
	})
}

func TestAppendJSONWritesEachTypeAsJSONHasIt(t *testing.T) {
	t.Parallel()
	f := func(typ Type, text, want string) {
		t.Helper()
		p := Param{Type: typ}
		if got := p.AppendJSON(nil, Argument{Present: true, Text: []byte(text)}); string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(Text, "a\"b\n", `"a\"b\n"`)
	f(Int, "5", "5")
	f(Number, "0.5", "0.5")
	f(Bool, "true", "true")
	f(Date, "2024-01-31", `"2024-01-31"`)
	f(JSON, `{"a":1}`, `{"a":1}`)
	p := Param{Type: Text}
	if got := p.AppendJSON(nil, Argument{}); string(got) != "null" {
		t.Errorf("NULL became %s", got)
	}
}

// Numbers keep their value, and equal values have one form.
func TestANumberKeepsItsValue(t *testing.T) {
	t.Parallel()
	number := rapid.StringMatching(`[+-]?[0-9]{1,30}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		normalA, okA := appendNumber(nil, []byte(a))
		normalB, okB := appendNumber(nil, []byte(b))
		if !okA || !okB {
			t.Fatalf("%q or %q is refused", a, b)
		}
		ratA, _ := new(big.Rat).SetString(a)
		ratB, _ := new(big.Rat).SetString(b)
		back, ok := new(big.Rat).SetString(string(normalA))
		if !ok || back.Cmp(ratA) != 0 {
			t.Fatalf("%q became %q", a, normalA)
		}
		if again, _ := appendNumber(nil, normalA); string(again) != string(normalA) {
			t.Fatalf("%q became %q, and that %q", a, normalA, again)
		}
		if got, want := sign(compareNumbers(normalA, string(normalB))), ratA.Cmp(ratB); got != want {
			t.Fatalf("%s compares with %s as %d, want %d", normalA, normalB, got, want)
		}
		if strings.ContainsAny(string(normalA), "eE+") {
			t.Fatalf("%q is no normal form", normalA)
		}
	})
}

func sign(n int) int { return min(1, max(-1, n)) }

// A time keeps its moment, and two spellings of one moment have one form.
func TestATimeKeepsItsMoment(t *testing.T) {
	t.Parallel()
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		zone := time.FixedZone("", 60*rapid.IntRange(-15*60, 15*60).Draw(t, "offset"))
		return time.Unix(rapid.Int64Range(-60e9, 250e9).Draw(t, "seconds"), 1000*rapid.Int64Range(0, 999_999).Draw(t, "micros")).In(zone)
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := moment.Draw(t, "a"), moment.Draw(t, "b")
		normalA, okA := appendTimestamp(nil, []byte(a.Format(time.RFC3339Nano)))
		normalB, okB := appendTimestamp(nil, []byte(b.Format(time.RFC3339Nano)))
		if !okA || !okB {
			t.Fatalf("%s or %s is refused", a, b)
		}
		if back, err := time.Parse(time.RFC3339Nano, string(normalA)); err != nil || !back.Equal(a) {
			t.Fatalf("%s became %s", a, normalA)
		}
		if got, want := sign(compareTimes(normalA, string(normalB))), a.Compare(b); got != want {
			t.Fatalf("%s compares with %s as %d, want %d", normalA, normalB, got, want)
		}
	})
}

// Whatever is accepted is a fixed point: its normal form is accepted and stays as it is.
func TestANormalFormIsItsOwnNormalForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Param{Type: Type(rapid.IntRange(0, int(JSON)).Draw(t, "type")), Enum: []string{"a", "1"}}
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[ ]?[+-]?[0-9.eE]{1,6}[ ]?`),
			rapid.StringMatching(`20[0-9]{2}-0[0-9]-[0-3][0-9]([ Tt][0-2][0-9]:00:00(\.[0-9]{1,8})?([zZ]|[+-][0-1][0-9]:30))?`),
			rapid.SampledFrom([]string{"true", "F", "1", `{"b":1, "a":2}`, "a@b.c", "AAAAAAAA-0000-1111-2222-333333333333"}),
		).Draw(t, "text")
		normal, err := p.Normalise(nil, []byte(text))
		if err != nil {
			if !utf8.ValidString(err.Error()) {
				t.Fatalf("error %q is not UTF-8", err)
			}
			return
		}
		again, err := p.Normalise(nil, normal)
		if err != nil || string(again) != string(normal) {
			t.Fatalf("%q became %q, and that %q, %v", text, normal, again, err)
		}
	})
}
