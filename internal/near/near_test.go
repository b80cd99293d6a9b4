package near

import "testing"

func TestName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, word string
		known      []string
		want       string
	}{
		{"one letter left out", "shp", []string{"blog", "shop"}, "shop"},
		{"two letters swapped", "sohp", []string{"blog", "shop"}, "shop"},
		{"one letter too many", "serrvices", []string{"services", "status"}, "services"},
		{"dashes", "order-db", []string{"orderdb", "orders"}, "orderdb"},
		{"case", "Shop", []string{"shop"}, "shop"},
		{"the nearest of several", "wbe", []string{"web", "wbx1"}, "web"},
		{"the first of two as near", "weba", []string{"webc", "webb"}, "webb"},
		{"far away", "frobnicate", []string{"services", "status"}, ""},
		{"a short word is no other short word", "ab", []string{"cd", "a"}, ""},
		{"nothing known", "shop", nil, ""},
		{"nothing said", "", []string{"a"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Name(tt.word, tt.known); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	if got, want := Hint("shp", []string{"shop"}), "; did you mean shop?"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestInstead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		known []string
		want  string
	}{
		{"nothing", nil, ", nor any other"},
		{"one", []string{"blog"}, "; there is blog"},
		{"one that is meant", []string{"shop"}, "; there is shop; did you mean shop?"},
		{"two", []string{"auth", "blog"}, "; there are auth and blog"},
		{"three", []string{"auth", "blog", "shop"}, "; there are auth, blog and shop; did you mean shop?"},
		{"many, and a late one is meant", []string{"a1", "b1", "c1", "d1", "e1", "f1", "shop"}, "; there are a1, b1, c1, d1, e1 and 2 more; did you mean shop?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Instead("shp", tt.known); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
