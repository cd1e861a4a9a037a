package rules

import "testing"

func TestAVariantIsKeyedByTheFieldsItVariesOn(t *testing.T) {
	t.Parallel()
	key := func(h header, names ...string) string { return string(AppendVariant(nil, names, h.lines)) }
	if key(header{"x": {"1"}, "y": {"2"}}, "x", "y") == key(header{"x": {"2"}, "y": {"1"}}, "x", "y") {
		t.Error("swapped values have one key")
	}
	if key(header{"x": {"1"}}, "x") == key(header{"y": {"1"}}, "y") {
		t.Error("another field has the same key")
	}
	if key(header{"x": {" 1"}, "z": {"3"}}, "x") != key(header{"x": {"1 "}}, "x") {
		t.Error("space around a value, or another field, is keyed")
	}
	if key(nil, "x") == key(header{"x": {""}}, "x") {
		t.Error("no field and an empty one have one key")
	}
	if key(header{"accept-encoding": {"gzip, deflate;q=0.3"}}, "accept-encoding") != key(header{"accept-encoding": {"deflate", "x-gzip;q=0.9"}}, "accept-encoding") {
		t.Error("two clients that take the same codings have two keys")
	}
}

func TestAcceptEncodingIsReducedToTheCodingsThatAreUnderstood(t *testing.T) {
	t.Parallel()
	f := func(want string, lines ...string) {
		t.Helper()
		if got := string(AppendAcceptEncoding([]byte("|"), header{"e": lines}.lines("e"))); got != "|"+want {
			t.Errorf("%q: %s, want %s", lines, got, want)
		}
	}
	f("")
	f("", "")
	f("", "deflate, identity")
	f("gzip", "gzip")
	f("br, gzip, zstd", "GZIP;q=0.5, zstd , br;q=1.0")
	f("br, gzip", "gzip", "br")
	f("br, zstd", "gzip;q=0, br, zstd;q=0.001")
	f("br, zstd", "*, gzip; q=0.000")
	f("br, gzip, zstd", "*")
	f("identity;q=0", "identity;q=0")
	f("gzip, identity;q=0", "gzip, *;q=0")
	f("gzip", "gzip, identity, *;q=0")
	f("gzip", "gzip;q=")
}
