package rack

import (
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, corefile, err string }{
		{"no zone", "rack", "none of them is <rack>.<suffix>"},
		{"plain", "rack acme.convox", ""},
		{"with reverse zones", "rack acme.convox 18.172.in-addr.arpa 10.0.0.0/24 2001:db8::/32", ""},
		{"several suffixes", "rack acme.convox acme.example.com acme.convox", ""},
		{"two racks", "rack acme.convox beta.convox", `zone "beta.convox.": is of another rack than "acme.convox."`},
		{"a top-level domain", "rack convox", `zone "convox.": want <rack>.<suffix>`},
		{"only reverse", "rack 18.172.in-addr.arpa", "none of them is <rack>.<suffix>"},
		{"bad label", "rack a_b.convox", `zone "a_b.convox.": rack "a_b"`},
		{"twice", "rack acme.convox\nrack acme.convox", "this plugin can only be used once"},
		{"all", "rack acme.convox {\n etcd http://10.0.0.1:2379 http://10.0.0.2:2379\n prefix /other\n node n\n address auto\n routable macvlan\n ttl 0\n max_stale 1h\n fallthrough\n}", ""},
		{"unknown property", "rack acme.convox {\n ttl 5\n bogus\n}", `Testfile:3 - Error during parsing: property "bogus": there is no such property`},
		{"property twice", "rack acme.convox {\n ttl 5\n ttl 6\n}", `Testfile:3 - Error during parsing: property "ttl" is there twice`},
		{"no ttl", "rack acme.convox {\n ttl\n}", `property "ttl": wants 1, has 0 arguments`},
		{"ttl is no number", "rack acme.convox {\n ttl 5s\n}", `property "ttl": "5s" is not a number`},
		{"ttl is long", "rack acme.convox {\n ttl 3601\n}", `property "ttl": "3601" is not a number of seconds from 0 to 3600`},
		{"preserve", "rack acme.convox {\n preserve -1s\n}", `property "preserve": "-1s" is not a duration`},
		{"preserve without a unit", "rack acme.convox {\n preserve 10\n}", `property "preserve": "10" is not a duration`},
		{"preserve is no duration", "rack acme.convox {\n preserve long\n}", `Testfile:2 - Error during parsing: property "preserve": "long" is not a duration such as 10m, or 0 for never`},
		{"no preserve", "rack acme.convox {\n preserve\n}", `property "preserve": wants 1, has 0 arguments`},
		{"no state", "rack acme.convox {\n state\n}", `Testfile:2 - Error during parsing: property "state": wants 1, has 0 arguments`},
		{"two states", "rack acme.convox {\n state a b\n}", `property "state": wants 1, has 2 arguments`},
		{"max_stale", "rack acme.convox {\n max_stale 5\n}", `property "max_stale": "5" is not a duration`},
		{"address", "rack acme.convox {\n address both\n}", `property "address": "both" is neither auto, host nor container`},
		{"node", "rack acme.convox {\n node a/b\n}", `property "node": node "a/b"`},
		{"etcd", "rack acme.convox {\n etcd ftp://x:1\n}", `property "etcd": etcd endpoint "ftp://x:1"`},
		{"etcd mixed", "rack acme.convox {\n etcd http://x:1 https://x:1\n}", `property "etcd": etcd endpoint "https://x:1": http and https don't mix`},
		{"no etcd", "rack acme.convox {\n etcd\n}", `property "etcd": wants at least 1`},
		{"no routable", "rack acme.convox {\n routable\n}", `property "routable": wants at least 1`},
		{"prefix", "rack acme.convox {\n prefix rackdns\n}", `property "prefix": prefix "rackdns"`},
		{"credentials", "rack acme.convox {\n credentials root\n}", `property "credentials": wants 2, has 1`},
		{"no password file", "rack acme.convox {\n credentials root /nonexistent/file\n}", `property "credentials": password file: open /nonexistent/file`},
		{"tls", "rack acme.convox {\n tls a b c d\n}", `property "tls": want CERT KEY CA, CERT KEY, or CA, not 4 arguments`},
		{"no CA", "rack acme.convox {\n tls /nonexistent/ca.pem\n}", `Testfile:2 - Error during parsing: property "tls": CA certificate: open /nonexistent/ca.pem`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(caddy.NewTestController("dns", tc.corefile))
			switch {
			case err == nil && tc.err != "":
				t.Errorf("no error, want %q", tc.err)
			case err != nil && (tc.err == "" || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("%v, want %q", err, tc.err)
			}
		})
	}
}

func TestParseTakesEverything(t *testing.T) {
	t.Parallel()
	r, err := parse(caddy.NewTestController("dns", `rack acme.convox 18.172.in-addr.arpa sub.acme.convox {
		etcd http://10.0.0.1:2379
		prefix /p
		node n
		address host
		routable a b
		ttl 7
		max_stale 90s
		fallthrough x.acme.convox
	}`))
	if err == nil || r != nil {
		t.Fatal("a zone of the rack \"sub\" was taken for one of acme")
	}
	r, err = parse(caddy.NewTestController("dns", `rack acme.convox 18.172.in-addr.arpa acme.example.org {
		etcd http://10.0.0.1:2379
		prefix /p
		node n
		address host
		routable a b
		ttl 7
		max_stale 90s
		preserve 3m
		state pictures
		fallthrough x.acme.convox
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{
		"zones": r.CacheBypassZones(), "base": r.base, "rack": r.RackName(), "endpoints": r.config.Registry.Endpoints, "prefix": r.config.Registry.Prefix,
		"node": r.config.Options.Node, "address": r.config.Options.Address, "routable": r.config.Options.Routable,
		"ttl": r.ttl, "stale": r.maxStale, "preserve": r.config.Preserve, "state": r.config.State, "fall": r.fall.Zones,
	}
	want := map[string]any{
		"zones": []string{"18.172.in-addr.arpa.", "acme.example.org.", "acme.convox."}, "base": "acme.convox.", "rack": "acme",
		"endpoints": []string{"http://10.0.0.1:2379"}, "prefix": "/p", "node": "n", "address": "host", "routable": []string{"a", "b"},
		"ttl": uint32(7), "stale": 90 * time.Second, "preserve": 3 * time.Minute, "state": "pictures", "fall": []string{"x.acme.convox."},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestParsePreserveAndState has what stands for never, for the default, and
// where a picture is kept.
func TestParsePreserveAndState(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		properties, root string
		preserve         time.Duration
		state            string
	}{
		{"ttl 5", "/etc/coredns", 0, ""},
		{"preserve 0", "", -1, ""},
		{"preserve 0s", "", -1, ""},
		{"preserve 90s", "", 90 * time.Second, ""},
		{"state /var/lib/rackdns", "/etc/coredns", 0, "/var/lib/rackdns"},
		{"state pictures", "/etc/coredns", 0, "/etc/coredns/pictures"},
		{"state pictures", "", 0, "pictures"},
	} {
		t.Run(tc.properties+" below "+tc.root, func(t *testing.T) {
			t.Parallel()
			c := caddy.NewTestController("dns", "rack acme.convox {\n"+tc.properties+"\n}")
			dnsserver.GetConfig(c).Root = tc.root
			r, err := parse(c)
			if err != nil {
				t.Fatal(err)
			}
			if r.config.Preserve != tc.preserve || r.config.State != tc.state {
				t.Errorf("preserve %v, state %q; want %v, %q", r.config.Preserve, r.config.State, tc.preserve, tc.state)
			}
		})
	}
}
