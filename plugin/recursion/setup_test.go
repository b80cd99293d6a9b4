package recursion

import (
	"strings"
	"testing"

	"github.com/coredns/caddy"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ corefile, err string }{
		{"recursion", ""},
		{"recursion localnets 10.0.0.0/8 192.0.2.1 2001:db8::/32 ::1", ""},
		{"recursion any", ""},
		{"recursion none", ""},
		{"recursion {\n except example.org 2.0.192.in-addr.arpa.\n except example.com\n}", ""},
		{"recursion\nrecursion", "this plugin can only be used once"},
		{"recursion none localnets", `"none" stands alone`},
		{"recursion everybody", `Testfile:1 - Error during parsing: "everybody" is none of localnets, any, none`},
		{"recursion 10.0.0.1/8", "the network is 10.0.0.0/8"},
		{"recursion ::ffff:10.0.0.0/104", "IPv4-mapped"},
		{"recursion fe80::1%eth0", "no network"},
		{"recursion 10.0.0.0/33", "no network"},
		{"recursion {\n except\n}", `property "except": wants at least 1 zone`},
		{"recursion {\n except a..b\n}", `"a..b" is not a zone`},
		{"recursion {\n allow any\n}", `property "allow": there is no such property`},
	} {
		_, err := parse(caddy.NewTestController("dns", tc.corefile))
		if got := ""; err != nil {
			got = err.Error()
			if tc.err == "" || !strings.Contains(got, tc.err) {
				t.Errorf("%q: %s, want %q", tc.corefile, got, tc.err)
			}
		} else if tc.err != "" {
			t.Errorf("%q: no error, want %q", tc.corefile, tc.err)
		}
	}
}
