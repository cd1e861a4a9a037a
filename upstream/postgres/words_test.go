package postgres

import "testing"

func TestStringsAndCommentsAreLeftOut(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		if got := withoutStrings(text); got != want {
			t.Errorf("%s: %q; want %q", text, got, want)
		}
	}
	f("a % b", "a % b")
	f("a like '%x%' and b", "a like   and b")
	f("a = 'it''s %' || c", "a =    || c") // a string, and one more
	f(`a = E'\' % b'`, `a = E'\' % b'`)
	f("a -- don't\n% b", "a  % b")
	f("a /* don't % */ % b", "a   % b")
	f("a /* one /* two */ % */ b", "a /* one /* two */ % */ b")
	f("a $$ % $$ % $1", "a   % $1")
	f("a $x$ % $$ % $x$ b", "a   b")
	f("a$x$ % b$x$", "a$x$ % b$x$")
	f(`"a ' %" % 'x'`, `"a ' %" %  `)
	f("a 'never ends", "a 'never ends")
	f("$1 % $2", "$1 % $2")
}
