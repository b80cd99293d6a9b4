package shortname

import (
	"strings"
	"testing"

	"github.com/coredns/caddy"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ corefile, err string }{
		{"shortname @rack", ""},
		{"shortname @rack {\n}", ""},
		{"shortname @rack {\n namespaces shop com.\n namespaces dev\n}", ""},
		{"shortname", `wants @rack, has ""`},
		{"shortname rack", `wants @rack, has "rack"`},
		{"shortname @rack acme.convox", `wants @rack`},
		{"shortname @etcd", `wants @rack, has "@etcd"`},
		{"shortname @rack\nshortname @rack", "Testfile:2 - Error during parsing: shortname is there twice"},
		{"shortname @rack {\n namespace shop\n}", `property "namespace": there is no such property`},
		{"shortname @rack {\n namespaces\n}", `property "namespaces": wants at least 1 argument`},
		{"shortname @rack {\n namespaces a.b\n}", `Testfile:2 - Error during parsing: property "namespaces": namespace "a.b"`},
		{"shortname @rack {\n namespaces shop shop\n}", `namespace "shop" is there twice`},
		{"shortname @rack {\n namespaces resource\n}", `namespace "resource": is reserved`},
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
