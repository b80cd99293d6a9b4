package rack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const at1, at2, at3 = "Testfile:1 - Error during parsing: ", "Testfile:2 - Error during parsing: ", "Testfile:3 - Error during parsing: "
	long := strings.Repeat("a", 64)
	for _, tc := range []struct{ name, corefile, err string }{
		{"no zone", "rack", at1 + "zones : none of them is <rack>.<suffix>, such as acme.convox"},
		{"plain", "rack acme.convox", ""},
		{"with reverse zones", "rack acme.convox 18.172.in-addr.arpa 10.0.0.0/24 2001:db8::/32", ""},
		{"classless reverse zones", "rack acme.convox 172.18.0.0/25", ""},
		{"several suffixes", "rack acme.convox acme.example.com acme.convox", ""},
		{"two racks", "rack acme.convox beta.convox", at1 + `zone "beta.convox.": is of another rack than "acme.convox."; give each rack a block of its own`},
		{"a top-level domain", "rack convox", at1 + `zone "convox.": want <rack>.<suffix>, such as acme.convox`},
		{"only reverse", "rack 18.172.in-addr.arpa", at1 + "zones 18.172.in-addr.arpa.: none of them is <rack>.<suffix>"},
		{"bad label", "rack a_b.convox", at1 + `zone "a_b.convox.": rack "a_b": only a-z`},
		{"64 letters", "rack " + long + ".convox", at1 + `zone "` + long + `.convox": is no domain name, such as acme.convox, and no network, such as 172.18.0.0/16`},
		{"64 letters behind", "rack acme." + long, at1 + `zone "acme.` + long + `": is no domain name`},
		{"an empty label", "rack acme..convox", at1 + `zone "acme..convox": is no domain name`},
		{"too long", "rack acme." + strings.Repeat(strings.Repeat("a", 60)+".", 5), at1 + `zone "acme.`},
		{"twice", "rack acme.convox\nrack acme.convox", at2 + "rack is there twice: want one in a server block, with all zones of the rack"},
		{"all", "rack acme.convox {\n etcd http://10.0.0.1:2379 http://10.0.0.2:2379\n prefix /other\n node n\n address auto\n routable macvlan\n ttl 0\n answers 3\n max_stale 1h\n fallthrough\n}", ""},
		{"unknown property", "rack acme.convox {\n ttl 5\n bogus\n}", at3 + `property "bogus": there is no such property; there are etcd, credentials, tls, prefix, node, address, routable, ttl, forwarders, answers, max_stale, preserve, state, fallthrough`},
		{"property twice", "rack acme.convox {\n ttl 5\n ttl 6\n}", at3 + `property "ttl" is there twice`},
		{"empty", "rack acme.convox {\n node \"\"\n}", at2 + `property "node": has an empty argument`},
		{"etcd", "rack acme.convox {\n etcd ftp://x:1\n}", at2 + `property "etcd": etcd endpoint "ftp://x:1"`},
		{"etcd without a port that exists", "rack acme.convox {\n etcd http://h:99999\n}", at2 + `property "etcd": etcd endpoint "http://h:99999": `},
		{"etcd with a path", "rack acme.convox {\n etcd http://h:2379/x\n}", at2 + `property "etcd": etcd endpoint "http://h:2379/x": `},
		{"etcd mixed", "rack acme.convox {\n etcd http://x:1 https://x:1\n}", at2 + `property "etcd": etcd endpoint "https://x:1": http and https don't mix`},
		{"no etcd", "rack acme.convox {\n etcd\n}", at2 + `property "etcd": wants at least 1, has 0 arguments`},
		{"credentials", "rack acme.convox {\n credentials root\n}", at2 + `property "credentials": wants 2, has 1 arguments`},
		{"no password file", "rack acme.convox {\n credentials root /nonexistent/file\n}", at2 + `property "credentials": password file: open /nonexistent/file`},
		{"tls", "rack acme.convox {\n tls a b c d\n}", at2 + `property "tls": want CERT KEY CA, CERT KEY, or CA, not 4 arguments`},
		{"no CA", "rack acme.convox {\n tls /nonexistent/ca.pem\n}", at2 + `property "tls": CA certificate: open /nonexistent/ca.pem`},
		{"prefix", "rack acme.convox {\n prefix rackdns\n}", at2 + `property "prefix": prefix "rackdns"`},
		{"two prefixes", "rack acme.convox {\n prefix /a /b\n}", at2 + `property "prefix": wants 1, has 2 arguments`},
		{"node", "rack acme.convox {\n node a/b\n}", at2 + `property "node": node "a/b": only letters`},
		{"no node", "rack acme.convox {\n node\n}", at2 + `property "node": wants 1, has 0 arguments`},
		{"address", "rack acme.convox {\n address both\n}", at2 + `property "address": "both" is neither auto, host nor container`},
		{"no routable", "rack acme.convox {\n routable\n}", at2 + `property "routable": wants at least 1, has 0 arguments`},
		{"no ttl", "rack acme.convox {\n ttl\n}", at2 + `property "ttl": wants 1, has 0 arguments`},
		{"ttl is no number", "rack acme.convox {\n ttl 5s\n}", at2 + `property "ttl": "5s" is not a number of seconds from 0 to 3600`},
		{"ttl with a sign", "rack acme.convox {\n ttl +5\n}", at2 + `property "ttl": "+5" is not a number of seconds from 0 to 3600`},
		{"ttl is long", "rack acme.convox {\n ttl 3601\n}", at2 + `property "ttl": "3601" is not a number of seconds from 0 to 3600`},
		{"answers 0", "rack acme.convox {\n answers 0\n}", at2 + `property "answers": "0" is not a number of addresses from 1 to 1000; without it there is no limit`},
		{"answers with a sign", "rack acme.convox {\n answers +5\n}", at2 + `property "answers": "+5" is not a number of addresses`},
		{"many answers", "rack acme.convox {\n answers 1001\n}", at2 + `property "answers": "1001" is not a number of addresses`},
		{"no answers", "rack acme.convox {\n answers\n}", at2 + `property "answers": wants 1, has 0 arguments`},
		{"max_stale", "rack acme.convox {\n max_stale 5\n}", at2 + `property "max_stale": "5" is not a duration such as 30s or 1h`},
		{"max_stale 0", "rack acme.convox {\n max_stale 0s\n}", at2 + `property "max_stale": "0s" is not a duration`},
		{"max_stale with a sign", "rack acme.convox {\n max_stale +5s\n}", at2 + `property "max_stale": "+5s" is not a duration`},
		{"preserve", "rack acme.convox {\n preserve -1s\n}", at2 + `property "preserve": "-1s" is not a duration`},
		{"preserve without a unit", "rack acme.convox {\n preserve 10\n}", at2 + `property "preserve": "10" is not a duration`},
		{"preserve is no duration", "rack acme.convox {\n preserve long\n}", at2 + `property "preserve": "long" is not a duration such as 10m, or 0 for never`},
		{"no preserve", "rack acme.convox {\n preserve\n}", at2 + `property "preserve": wants 1, has 0 arguments`},
		{"no state", "rack acme.convox {\n state\n}", at2 + `property "state": wants 1, has 0 arguments`},
		{"two states", "rack acme.convox {\n state a b\n}", at2 + `property "state": wants 1, has 2 arguments`},
		{"fallthrough", "rack acme.convox {\n fallthrough ..\n}", at2 + `property "fallthrough": zone "..": is no domain name, such as acme.convox`},
		{"fallthrough of 64 letters", "rack acme.convox {\n fallthrough acme.convox " + long + "\n}", at2 + `property "fallthrough": zone "` + long + `": is no domain name`},
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

// TestEachPropertyHasAnError: whatever is wrong with one is told with its place.
func TestEachPropertyHasAnError(t *testing.T) {
	t.Parallel()
	for _, p := range properties {
		_, err := parse(caddy.NewTestController("dns", "rack acme.convox {\n "+p+" \"\"\n}"))
		if want := fmt.Sprintf("Testfile:2 - Error during parsing: property %q: ", p); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s…", p, err, want)
		}
		if r := newRack(); r.parseProperty(p, nil) != nil && strings.Contains(r.parseProperty(p, nil).Error(), "no such property") {
			t.Errorf("%s is listed, and there is no such property", p)
		}
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
		answers 4
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
		"ttl": r.ttl, "answers": r.answers, "stale": r.maxStale, "preserve": r.config.Preserve, "state": r.config.State, "fall": r.fall.Zones,
	}
	want := map[string]any{
		"zones": []string{"18.172.in-addr.arpa.", "acme.example.org.", "acme.convox."}, "base": "acme.convox.", "rack": "acme",
		"endpoints": []string{"http://10.0.0.1:2379"}, "prefix": "/p", "node": "n", "address": "host", "routable": []string{"a", "b"},
		"ttl": uint32(7), "answers": 4, "stale": 90 * time.Second, "preserve": 3 * time.Minute, "state": "pictures", "fall": []string{"x.acme.convox."},
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
