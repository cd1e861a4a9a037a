package rules

import (
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A meaning is what a request asks for; a spelling is one of the many ways to send it. The property of
// the key, and all that it is for: one meaning has one key in whatever spelling, two meanings have two.

// meaning holds one value of each type. A nil pointer is an absent parameter.
type meaning struct {
	Name  string // in the path
	Text  *string
	Limit int64 // 20 when it is not said
	Price *big.Rat
	ID    *[16]byte
	On    *bool
	At    *time.Time
	Items []string // never empty; nil is absent
}

func meaningRule(t testing.TB) *Rule {
	return ruleFor(t, "GET /m/{name}",
		Param{Name: "name", In: FromPath, Type: Text},
		Param{Name: "text", In: FromQuery, Type: Text, Optional: true},
		Param{Name: "limit", In: FromQuery, Type: Int, Default: pointer("20")},
		Param{Name: "price", In: FromQuery, Type: Number, Optional: true},
		Param{Name: "id", In: FromQuery, Type: UUID, Optional: true},
		Param{Name: "on", In: FromQuery, Type: Bool, Optional: true},
		Param{Name: "at", In: FromQuery, Type: Timestamptz, Optional: true},
		Param{Name: "items", In: FromQuery, Type: Text, List: true, Optional: true})
}

// Few values, near to each other, so that meanings often meet and often just miss.
var someText = rapid.OneOf(rapid.StringOfN(rapid.RuneFrom([]rune("ab,&=;+%/ \"\\{}é\x01\x02")), 1, 3, -1), rapid.StringN(1, -1, 20)).
	Filter(func(s string) bool {
		return !strings.Contains(s, "\x00") && s != "." && s != ".." && !hasDotSegment([]byte("/"+s))
	})

var someItem = rapid.StringOfN(rapid.RuneFrom([]rune("ab&\"\\{} ")), 1, 2, -1)

func optional[T any](t *rapid.T, g *rapid.Generator[T], name string) *T {
	if rapid.Bool().Draw(t, name+" absent") {
		return nil
	}
	v := g.Draw(t, name)
	return &v
}

var someMeaning = rapid.Custom(func(t *rapid.T) meaning {
	m := meaning{Name: someText.Draw(t, "name"), Limit: rapid.SampledFrom([]int64{20, 2, 0, -20, 9007199254740992, 9007199254740993}).Draw(t, "limit")}
	m.Text = optional(t, someText, "text")
	if n := optional(t, rapid.IntRange(-300, 300), "price"); n != nil {
		m.Price = big.NewRat(int64(*n), 100)
	}
	m.ID = optional(t, rapid.Custom(func(t *rapid.T) [16]byte { return [16]byte{rapid.SampledFrom([]byte{0xab, 0xac}).Draw(t, "byte")} }), "id")
	m.On = optional(t, rapid.Bool(), "on")
	if s := optional(t, rapid.Int64Range(0, 3), "at"); s != nil {
		at := time.Unix(1e9+*s/2, *s%2*5e8).UTC()
		m.At = &at
	}
	if !rapid.Bool().Draw(t, "items absent") {
		m.Items = rapid.SliceOfN(someItem, 1, 3).Draw(t, "items")
	}
	return m
})

func (m meaning) String() string {
	s := fmt.Sprintf("%q %d %q", m.Name, m.Limit, m.Items)
	if m.Text != nil {
		s += fmt.Sprintf(" text %q", *m.Text)
	}
	if m.Price != nil {
		s += " price " + m.Price.String()
	}
	if m.ID != nil {
		s += fmt.Sprintf(" id %x", *m.ID)
	}
	if m.On != nil {
		s += fmt.Sprint(" on ", *m.On)
	}
	if m.At != nil {
		s += fmt.Sprint(" at ", m.At.UnixNano())
	}
	return s
}

// target spells the meaning as a request target.
func (m meaning) target(t *rapid.T) string {
	var pieces []string
	add := func(name, value string) { pieces = append(pieces, spellQuery(t, name)+"="+spellQuery(t, value)) }
	if m.Text != nil {
		add("text", *m.Text)
	} else if rapid.Bool().Draw(t, "empty") {
		add("text", "")
	}
	if m.Limit != 20 || rapid.Bool().Draw(t, "said") {
		add("limit", spellInt(t, m.Limit))
	}
	if m.Price != nil {
		add("price", spellNumber(t, m.Price))
	}
	if m.ID != nil {
		add("id", spellUUID(t, *m.ID))
	}
	if m.On != nil {
		add("on", rapid.SampledFrom(map[bool][]string{true: {"true", "1", "T"}, false: {"false", "0", "F"}}[*m.On]).Draw(t, "bool"))
	}
	if m.At != nil {
		zone := time.FixedZone("", 60*rapid.IntRange(-300, 300).Draw(t, "zone"))
		add("at", m.At.In(zone).Format("2006-01-02T15:04:05.000Z07:00"))
	}
	if rapid.Bool().Draw(t, "junk") {
		pieces = append(pieces, rapid.SampledFrom([]string{"junk=1", "%zz", "LIMIT=3", "=", ""}).Draw(t, "piece"))
	}
	pieces = rapid.Permutation(pieces).Draw(t, "order")
	if rapid.Bool().Draw(t, "separated") {
		if m.Items != nil {
			add("items", strings.Join(m.Items, ","))
		}
	} else {
		for _, item := range m.Items {
			add("items", item)
		}
	}
	return "/m/" + spell(t, m.Name, url.PathEscape) + "?" + strings.Join(pieces, "&")
}

// spell escapes what must be escaped, and here and there what need not be.
func spell(t *rapid.T, text string, escape func(string) string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch rapid.IntRange(0, 3).Draw(t, "escape") {
		case 0:
			fmt.Fprintf(&b, "%%%02x", c)
		case 1:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteString(escape(string([]byte{c})))
		}
	}
	return b.String()
}

func spellQuery(t *rapid.T, text string) string { return spell(t, text, url.QueryEscape) }

func spellInt(t *rapid.T, n int64) string {
	return rapid.SampledFrom([]string{fmt.Sprint(n), fmt.Sprintf("%05d", n), fmt.Sprintf(" %d", n), fmt.Sprintf("%+d", n)}).Draw(t, "int")
}

func spellNumber(t *rapid.T, r *big.Rat) string {
	hundredfold := new(big.Rat).Mul(r, big.NewRat(100, 1)).RatString()
	return rapid.SampledFrom([]string{r.FloatString(2), r.FloatString(5), hundredfold + "e-2", hundredfold + "0E-03"}).Draw(t, "number")
}

func spellUUID(t *rapid.T, id [16]byte) string {
	s := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	if rapid.Bool().Draw(t, "upper") {
		return strings.ToUpper(s)
	}
	return s
}

func TestAKeyStandsForOneMeaningOfAURL(t *testing.T) {
	t.Parallel()
	r := meaningRule(t)
	rapid.Check(t, func(rt *rapid.T) {
		a := someMeaning.Draw(rt, "a")
		b := a
		if rapid.Bool().Draw(rt, "another") {
			b = someMeaning.Draw(rt, "b")
		}
		targetA, targetB := a.target(rt), b.target(rt)
		same := keyOf(t, r, requestTo("GET", targetA, nil)) == keyOf(t, r, requestTo("GET", targetB, nil))
		if want := a.String() == b.String(); same != want {
			rt.Fatalf("%s and %s:\none key is %v, want %v", targetA, targetB, same, want)
		}
	})
}

// In one field only, so that two meanings differ by as little as can be.
func TestAKeyTellsMeaningsApartThatDifferInOneParameter(t *testing.T) {
	t.Parallel()
	r := meaningRule(t)
	rapid.Check(t, func(rt *rapid.T) {
		a, other := someMeaning.Draw(rt, "a"), someMeaning.Draw(rt, "other")
		b := a
		switch rapid.IntRange(0, 7).Draw(rt, "field") {
		case 0:
			b.Name = other.Name
		case 1:
			b.Text = other.Text
		case 2:
			b.Limit = other.Limit
		case 3:
			b.Price = other.Price
		case 4:
			b.ID = other.ID
		case 5:
			b.On = other.On
		case 6:
			b.At = other.At
		case 7:
			b.Items = other.Items
		}
		same := keyOf(t, r, requestTo("GET", a.target(rt), nil)) == keyOf(t, r, requestTo("GET", b.target(rt), nil))
		if want := a.String() == b.String(); same != want {
			rt.Fatalf("%s and %s:\none key is %v, want %v", a, b, same, want)
		}
	})
}

// Values that look like the markers and lengths between parts move no boundary between them.
func TestNoValueIsTakenForTheStructureOfAKey(t *testing.T) {
	t.Parallel()
	optionalText := func(name string, in Source) Param { return Param{Name: name, In: in, Type: Text, Optional: true} }
	r := ruleFor(t, "GET /x", optionalText("a", FromQuery), optionalText("b", FromQuery), optionalText("c", FromHeader))
	r.Vary, r.Identity = []string{"d", "e"}, []IdentityPart{{Header: "F"}, {Cookie: "g"}}
	value := rapid.StringMatching("[\x01\x02\x03a]{1,3}")
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) (map[string]string, string) {
			values := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"}), value, 0, 7).Draw(rt, name)
			h, query := header{}, url.Values{}
			for _, field := range []string{"a", "b"} {
				if v, ok := values[field]; ok {
					query.Set(field, v)
				}
			}
			for _, field := range []string{"c", "d", "e", "f"} {
				if v, ok := values[field]; ok {
					h[field] = []string{v}
				}
			}
			if v, ok := values["g"]; ok {
				h["cookie"] = []string{"g=" + v}
			}
			return values, keyOf(t, r, requestTo("GET", "/x?"+query.Encode(), h))
		}
		a, keyA := draw("one")
		b, keyB := draw("other")
		if (keyA == keyB) != maps.Equal(a, b) {
			rt.Fatalf("%q and %q: one key is %v", a, b, keyA == keyB)
		}
	})
}

// tree is a JSON value: nil, bool, number as text, string, []any, or members in order.
type member struct {
	name  string
	value any
}

func someTree(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 4
		if depth > 0 {
			kinds = 6
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]any{nil, true, false}).Draw(t, "literal")
		case 1:
			return number(rapid.SampledFrom([]string{"0", "1", "-1", "9007199254740992", "9007199254740993", "12345678901234567890123", "0.1"}).Draw(t, "number"))
		case 2, 3:
			return rapid.StringOfN(rapid.RuneFrom([]rune("ab\"\\/\n\u2028é😀")), 0, 3, -1).Draw(t, "text")
		case 4:
			return rapid.SliceOfN(someTree(depth-1), 0, 3).Draw(t, "array")
		}
		names := rapid.SliceOfNDistinct(rapid.StringOfN(rapid.RuneFrom([]rune("ab\"é")), 0, 2, -1), 0, 3, rapid.ID[string]).Draw(t, "names")
		slices.Sort(names)
		members := make([]member, len(names))
		for i, name := range names {
			members[i] = member{name, someTree(depth-1).Draw(t, "value")}
		}
		return members
	})
}

type number string

// spellJSON writes the tree with any white space, order of members and escapes.
func spellJSON(t *rapid.T, tree any) string {
	space := rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space")
	var b strings.Builder
	b.WriteString(space)
	switch v := tree.(type) {
	case string:
		b.WriteString(spellJSONText(t, v))
	case []any:
		b.WriteString("[")
		for i, item := range v {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(spellJSON(t, item))
		}
		b.WriteString("]")
	case []member:
		members := make([]string, len(v))
		for i, m := range v {
			members[i] = space + spellJSONText(t, m.name) + space + ":" + spellJSON(t, m.value)
		}
		b.WriteString("{" + strings.Join(rapid.Permutation(members).Draw(t, "order"), ",") + "}")
	case nil:
		b.WriteString("null")
	default:
		fmt.Fprint(&b, v)
	}
	b.WriteString(space)
	return b.String()
}

func spellJSONText(t *rapid.T, text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		escaped := rapid.Bool().Draw(t, "escape")
		switch {
		case c > 0xffff && escaped:
			c -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		case escaped || c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func TestAKeyStandsForOneMeaningOfAJSONBody(t *testing.T) {
	t.Parallel()
	r := ruleFor(t, "POST /b",
		Param{Name: "meta", In: FromBody, Type: JSON, Optional: true, Nullable: true},
		Param{Name: "text", In: FromBody, Type: Text, Optional: true, Nullable: true},
		Param{Name: "price", In: FromBody, Type: Number, Optional: true},
		Param{Name: "limit", In: FromBody, Type: Int, Default: pointer("20")},
		Param{Name: "tags", In: FromBody, Type: Text, List: true, Optional: true})
	type body struct {
		meta, text any
		price      *big.Rat
		limit      int64
		tags       []any
	}
	draw := rapid.Custom(func(t *rapid.T) body {
		b := body{meta: someTree(2).Draw(t, "meta"), limit: rapid.SampledFrom([]int64{20, 2, 9007199254740993, 9007199254740992}).Draw(t, "limit")}
		b.text = rapid.SampledFrom([]any{nil, "", "null", "a\"b", "é"}).Draw(t, "text")
		if n := optional(t, rapid.IntRange(-3, 3), "price"); n != nil {
			b.price = big.NewRat(int64(*n), 2)
		}
		b.tags = rapid.SampledFrom([][]any{nil, {}, {""}, {"a", "b"}, {"a,b"}, {`a","b`}, {"NULL"}}).Draw(t, "tags")
		return b
	})
	spelled := func(t *rapid.T, b body) string {
		fields := []string{`"meta":` + spellJSON(t, b.meta), ` "te\u0078t" : ` + spellJSON(t, b.text)}
		if b.price != nil {
			fields = append(fields, `"price":`+rapid.SampledFrom([]string{b.price.FloatString(1), b.price.FloatString(3), b.price.FloatString(1) + "0e0"}).Draw(t, "form"))
		}
		if b.limit != 20 || rapid.Bool().Draw(t, "said") {
			fields = append(fields, fmt.Sprintf(`"limit":%d`, b.limit)+rapid.SampledFrom([]string{"", ".0", "e0"}).Draw(t, "form"))
		}
		if b.tags != nil {
			fields = append(fields, `"tags":`+spellJSON(t, b.tags))
		}
		fields = append(fields, `"junk":[{}]`)
		return "{" + strings.Join(rapid.Permutation(fields).Draw(t, "order"), ",") + "}"
	}
	meant := func(b body) string { return fmt.Sprintf("%#v %#v %v %d %#v", b.meta, b.text, b.price, b.limit, b.tags) }
	rapid.Check(t, func(rt *rapid.T) {
		a := draw.Draw(rt, "a")
		b := a
		if rapid.Bool().Draw(rt, "another") {
			b = draw.Draw(rt, "b")
		}
		bodyA, bodyB := spelled(rt, a), spelled(rt, b)
		same := keyOf(t, r, bodyRequest(bodyA, "")) == keyOf(t, r, bodyRequest(bodyB, ""))
		if want := meant(a) == meant(b); same != want {
			rt.Fatalf("%s and %s:\none key is %v, want %v", bodyA, bodyB, same, want)
		}
	})
}
