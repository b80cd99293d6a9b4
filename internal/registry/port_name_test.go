package registry

import (
	"strings"
	"testing"
)

func TestCheckPortName(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, want string }{
		{"http", ""}, {"h2", ""}, {"9p", ""}, {"a-b-c", ""}, {"x", ""}, {strings.Repeat("a", 15), ""},
		{"", "is empty"},
		{strings.Repeat("a", 16), "has 15 characters at most"},
		{strings.Repeat("a", 63), "has 15 characters at most"},
		{strings.Repeat("a", 64), "has 15 characters at most"},
		{"8080", "has a letter"}, {"80-80", "has a letter"},
		{"a--b", "no two dashes side by side"},
		{"-a", "inner dashes"}, {"a-", "inner dashes"}, {"a_b", "inner dashes"}, {"HTTP", "a-z"}, {"a.b", "a-z"}, {"é", "a-z"},
	} {
		err := CheckPortName("port", tc.name)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestFoldName(t *testing.T) {
	for _, tc := range []struct{ name, want string }{
		{"", ""}, {"_", "_"}, {"web.shop", "web.shop"}, {"order_db.my_shop", "order-db.my-shop"}, {"a_b_c", "a-b-c"},
		{"_http._tcp.web.shop", "_http._tcp.web.shop"}, {"_http_alt._tcp.order_db.my_shop", "_http-alt._tcp.order-db.my-shop"},
		{"web_", "web-"}, {"_web.shop", "_web.shop"}, {"a.__b", "a._-b"},
	} {
		if got := FoldName(tc.name); got != tc.want {
			t.Errorf("%q is folded to %q, want %q", tc.name, got, tc.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { FoldName("_http._tcp.web.shop") }); n > 0 {
		t.Errorf("%v allocations for a name that stays", n)
	}
}
