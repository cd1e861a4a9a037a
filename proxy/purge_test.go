package proxy

import "testing"

func TestWhatAPrefixMeansForAPattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, prefix string
		may, all        bool
	}{
		{"/api/clients", "/api", true, true},
		{"/api/clients", "/api/cl", true, true},
		{"/api/clients", "/api/x", false, false},
		{"/api/clients/{id}", "/api/clients", true, true},
		{"/api/clients/{id}", "/api/clients/", true, true},
		{"/api/clients/{id}", "/api/clients/00", true, false},
		{"/api/clients/{id}/orders", "/api/clients/7/orders", true, false},
		{"/api/clients/{id}/orders", "/api/clients/7/items", false, false},
		{"/c/**", "/c", true, true},
		{"/c/**", "/c/one", true, false},
		{"/c", "/c/one", false, false},
	} {
		if may, all := beginWith(c.pattern, c.prefix); may != c.may || all != c.all {
			t.Errorf("%s for %s: may %v, all %v", c.prefix, c.pattern, may, all)
		}
	}
}
