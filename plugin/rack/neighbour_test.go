package rack

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// TestOneEntryBreaksNoNeighbour puts one awkward entry beside a good one. What
// can't be told of it is left out and counted; all else is told, in replies and in
// a transfer, each record of which can be packed. It isn't parallel: others count,
// too.
func TestOneEntryBreaksNoNeighbour(t *testing.T) {
	l63 := func(c string) string { return strings.Repeat(c, 63) }
	longSuffix := "acme." + strings.Repeat("d", 60) + "." + strings.Repeat("e", 60) + ".convox."
	deep := func(id string) registry.Instance {
		return instance(id, l63("a"), l63("s"))
	}
	for _, tc := range []struct {
		what  string
		entry any
		zone  string
		// name is one of the entry's that is told, if there is one; left says that
		// something can't be.
		name string
		left bool
	}{
		{"a port of 63 characters", instance("000000000002", "shop", "web", func(i *registry.Instance) { i.Ports[0].Name = l63("p") }), testZone, "000000000002.web.shop.", true},
		{"an ID of 63 characters", instance(l63("i"), "shop", "web"), testZone, l63("i") + ".web.shop.", false},
		{"the longest names that there are", deep(l63("i")), testZone, l63("s") + "." + l63("a") + ".", false},
		{"targets that are too long in a long zone", deep("000000000002"), longSuffix, "", true},
		{"a host of 254 characters", registry.Resource{App: "shop", Name: "db", Type: "mysql", Host: strings.Repeat("a.", 126) + "bb"}, testZone, "", false},
		{"a host of 253 characters", registry.Resource{App: "shop", Name: "db", Type: "mysql", Host: strings.Repeat("a.", 126) + "b"}, testZone, "db.resource.shop.", false},
		{"a resource whose name by type is no label", registry.Resource{App: "shop", Name: l63("n"), Type: l63("t"), Host: "10.0.0.1", Port: 1}, testZone, l63("n") + ".resource.shop.", false},
		{"a resource in a long zone", registry.Resource{App: l63("a"), Name: l63("n"), Type: "x", Host: "10.0.0.1", Port: 1}, longSuffix, "", true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			x := newIndex(t, tc.entry, instance("000000000001", "shop", "web"))
			r, err := New(x, tc.zone)
			if err != nil {
				t.Fatal(err)
			}
			r.config.Options.Node = "node-1"
			r.nsAddrs = []netip.Addr{netip.MustParseAddr("10.0.2.10")}
			before := omitted(t)
			all := transferred(t, r, tc.zone, 0)
			if got := omitted(t) > before; got != tc.left {
				t.Errorf("something was left out of the transfer: %v, want %v", got, tc.left)
			}
			for _, rr := range all {
				m := &dns.Msg{Answer: []dns.RR{rr}}
				if _, err := m.Pack(); err != nil {
					t.Errorf("%v: %v", rr, err)
				}
			}
			good := "000000000001.web.shop." + tc.zone
			for _, name := range []string{good, tc.name + tc.zone} {
				if name == tc.zone {
					continue
				}
				if !slices.ContainsFunc(all, func(rr dns.RR) bool { return rr.Header().Name == name }) {
					t.Errorf("%s is not in the transfer", name)
				}
			}
			for _, name := range []string{"web.shop." + tc.zone, "_http._tcp.web.shop." + tc.zone, good, tc.name + tc.zone, l63("s") + "." + l63("a") + "." + tc.zone} {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
					if _, ok := dns.IsDomainName(name); !ok || len(name) > longest {
						continue
					}
					_, m := ask(t, r, outside, question(name, qtype))
					if _, err := m.Pack(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			_, m := ask(t, r, outside, question("_http._tcp.web.shop."+tc.zone, dns.TypeSRV))
			if !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { s, ok := rr.(*dns.SRV); return ok && s.Target == good }) {
				t.Errorf("the good one isn't told: %v", m)
			}
		})
	}
}

// TestOneNotionOfTheServer: NS, the name itself and a transfer have the same
// addresses, whoever asks.
func TestOneNotionOfTheServer(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	addr := func(s ...string) (all []netip.Addr) {
		for _, a := range s {
			all = append(all, netip.MustParseAddr(a))
		}
		return all
	}
	for _, tc := range []struct {
		what       string
		bound, ifs []netip.Addr
		node       string
		want       []string
	}{
		{"what it listens on", addr("10.0.2.99", "fd00::9"), addr("10.9.9.9"), "node-1", []string{"10.0.2.99", "fd00::9"}},
		{"its node", nil, addr("10.9.9.9"), "node-1", []string{"10.0.2.10"}},
		{"its host", nil, addr("10.9.9.9", "fd00::9"), "elsewhere", []string{"10.9.9.9", "fd00::9"}},
	} {
		r.nsAddrs, r.ifAddrs, r.config.Options.Node = tc.bound, tc.ifs, tc.node
		of := func(rrs []dns.RR) []string {
			var all []string
			for _, rr := range rrs {
				switch rr := rr.(type) {
				case *dns.A:
					if rr.Hdr.Name == "ns.dns."+testZone {
						all = append(all, rr.A.String())
					}
				case *dns.AAAA:
					if rr.Hdr.Name == "ns.dns."+testZone {
						all = append(all, rr.AAAA.String())
					}
				}
			}
			return all
		}
		for _, from := range []string{outside, "127.0.0.1", "172.18.0.2"} {
			_, ns := ask(t, r, from, question(testZone, dns.TypeNS))
			_, four := ask(t, r, from, question("ns.dns."+testZone, dns.TypeA))
			_, six := ask(t, r, from, question("ns.dns."+testZone, dns.TypeAAAA))
			for what, got := range map[string][]string{"NS": of(ns.Extra), "A and AAAA": of(append(four.Answer, six.Answer...)), "AXFR": of(transferred(t, r, testZone, 0))} {
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s, %s, from %s (-want +got):\n%s", tc.what, what, from, diff)
				}
			}
		}
	}
}

func TestBoundAddrs(t *testing.T) {
	t.Parallel()
	for hosts, want := range map[string]string{
		"": "[]", "127.0.0.1": "[127.0.0.1]", "127.0.0.1 10.0.2.10": "[10.0.2.10]", "0.0.0.0": "[]", "10.0.2.10 ::": "[]", "::1 127.0.0.1": "[::1 127.0.0.1]", "fe80::1%eth0 x": "[fe80::1]",
	} {
		var all []string
		for _, ip := range boundAddrs(strings.Fields(hosts)) {
			all = append(all, ip.String())
		}
		if got := "[" + strings.Join(all, " ") + "]"; got != want {
			t.Errorf("%q: %s, want %s", hosts, got, want)
		}
	}
}
