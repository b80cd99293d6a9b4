package rack

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// A forwarder is a stranger, unless it tells a client's subnet, which nobody else
// can.
func TestForwarders(t *testing.T) {
	t.Parallel()
	x, err := index.Open(index.Config{
		Registry: registry.Config{Rack: "acme"},
		Options: index.Options{Node: "node-1", Forwarders: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.53/32"),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	feed(t, x, append(shop(), registry.Node{
		Node: "node-1", Engine: "e", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")},
		Networks: []registry.NodeNetwork{{ID: "shop_default@node-1", Name: "shop_default", Driver: "bridge", Scope: registry.ScopeLocal, Subnets: []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16")}}},
	})[1:]...)
	r, err := New(x, testZone)
	if err != nil {
		t.Fatal(err)
	}
	const near, far = "172.18.0.2", "10.0.2.10"
	client := func(family uint16, bits uint8, ip string) *dns.EDNS0_SUBNET {
		return &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: bits, Address: net.ParseIP(ip)}
	}
	for _, tc := range []struct {
		name, from string
		option     *dns.EDNS0_SUBNET
		want       string
		// scope is the reply's, -1 for no option.
		scope int
		rcode int
	}{
		{"a container", "172.18.0.9", nil, near, -1, 0},
		{"a container that claims to be another", "172.18.0.9", client(1, 32, "198.51.100.7"), near, -1, 0},
		{"a stranger that claims to be a container", "198.51.100.7", client(1, 32, "172.18.0.9"), far, -1, 0},
		{"a forwarder on this node", "127.0.0.1", nil, far, -1, 0},
		{"a forwarder elsewhere", "192.0.2.53", nil, far, -1, 0},
		{"a neighbour of it", "192.0.2.54", client(1, 32, "172.18.0.9"), far, -1, 0},
		{"for a container", "127.0.0.1", client(1, 32, "172.18.0.9"), near, 32, 0},
		{"for a container by IPv6", "127.0.0.1", client(2, 128, "2001:db8::9"), near, 128, 0},
		{"for the node itself", "192.0.2.53", client(1, 32, "127.0.0.1"), far, 32, 0},
		{"for a stranger", "192.0.2.53", client(1, 32, "198.51.100.7"), far, 32, 0},
		{"for some of a network", "192.0.2.53", client(1, 24, "172.18.0.0"), near, 24, 0},
		{"for more than a network", "192.0.2.53", client(1, 12, "172.16.0.0"), far, 12, 0},
		{"for somebody", "192.0.2.53", client(1, 0, "0.0.0.0"), far, 0, 0},
		{"for somebody of no family", "192.0.2.53", &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET}, far, 0, 0},
		{"bits beyond the subnet", "192.0.2.53", client(1, 24, "172.18.0.9"), "", -1, dns.RcodeFormatError},
		{"an unknown family", "192.0.2.53", client(9, 24, "172.18.0.0"), "", -1, dns.RcodeFormatError},
		{"a scope in a question", "192.0.2.53", &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 32, SourceScope: 32, Address: net.ParseIP("172.18.0.9")}, "", -1, dns.RcodeFormatError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := new(dns.Msg).SetQuestion("3485248b1d18.web.shop.acme.convox.", dns.TypeA)
			if tc.option != nil {
				m.SetEdns0(1232, false)
				m.IsEdns0().Option = []dns.EDNS0{tc.option}
			}
			w := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: tc.from})
			code, err := r.ServeDNS(t.Context(), w, m)
			if err != nil || code != tc.rcode {
				t.Fatalf("code %d, error %v, want code %d", code, err, tc.rcode)
			}
			if tc.want == "" {
				return
			}
			var got []string
			for _, rr := range w.Msg.Answer {
				if a, ok := rr.(*dns.A); ok {
					got = append(got, a.A.String())
				}
			}
			if !slices.Equal(got, []string{tc.want}) {
				t.Errorf("told %q, want %s", got, tc.want)
			}
			scope := -1
			if o := subnetOption(w.Msg); o != nil {
				scope = int(o.SourceScope)
				if o.SourceNetmask != tc.option.SourceNetmask || o.Family != tc.option.Family || !o.Address.Equal(tc.option.Address) {
					t.Errorf("option %v, want the question's", o)
				}
			}
			if scope != tc.scope {
				t.Errorf("scope %d, want %d", scope, tc.scope)
			}
		})
	}
}

// A forwarder's own questions have a loopback address: that is this node if the
// forwarder runs here, and else another host, which reaches no container.
func TestLoopbackBehindForwarder(t *testing.T) {
	t.Parallel()
	x, err := index.Open(index.Config{
		Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.DiscardHandler),
		Options: index.Options{Node: "node-1", Forwarders: []netip.Prefix{netip.MustParsePrefix("10.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	feed(t, x, registry.Node{Node: "node-1", Engine: "e", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")}})
	r, err := New(x, testZone)
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]bool{"10.0.2.53": false, "10.0.2.10": true, "127.0.0.1": true} {
		for _, subnet := range []*dns.EDNS0_SUBNET{
			{Code: dns.EDNS0SUBNET, Family: familyIPv4, SourceNetmask: 32, Address: net.IPv4(127, 0, 0, 1)},
			{Code: dns.EDNS0SUBNET, Family: familyIPv6, SourceNetmask: 128, Address: net.IPv6loopback},
		} {
			m := question("web.shop."+testZone, dns.TypeA)
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = []dns.EDNS0{subnet}
			if got := r.Client(x.Snapshot(), &test.ResponseWriter{RemoteIP: from}, m).OnNode(); got != want {
				t.Errorf("%s behind %s: this node %v, want %v", subnet, from, got, want)
			}
		}
	}
}

func TestParseForwarders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"10.0.0.0/8", "10.0.0.0/8"}, {"10.1.2.3/8", "10.0.0.0/8"}, {"127.0.0.1", "127.0.0.1/32"}, {"::1", "::1/128"},
		{"10.0.0.0/33", ""}, {"dnsmasq", ""}, {"fe80::1%eth0", ""}, {"", ""},
	} {
		all, err := ParseForwarders([]string{tc.in})
		switch {
		case tc.want == "" && err == nil:
			t.Errorf("%q: %v, want an error", tc.in, all)
		case tc.want != "" && (err != nil || all[0].String() != tc.want):
			t.Errorf("%q: %v, %v, want %s", tc.in, all, err, tc.want)
		}
	}
}

// An alias is answered like a service, with targets of the instances' own services,
// and is in the zone that secondaries get.
func TestAliases(t *testing.T) {
	t.Parallel()
	r := newTestRack(t,
		instance("3485248b1d18", "shop", "web", func(i *registry.Instance) { i.Aliases = []registry.Alias{{Name: "front"}} }),
		instance("99aa248b1d18", "shop", "api", at("10.0.2.11", 40001), func(i *registry.Instance) { i.Aliases = []registry.Alias{{Name: "front"}, {Name: "web"}} }))
	const front, api1 = "front.shop.acme.convox.", "99aa248b1d18.api.shop.acme.convox."
	srv := rrs(test.SRV(front+" 5 IN SRV 0 256 40001 "+api1), test.SRV(front+" 5 IN SRV 0 256 47889 "+web1))
	glue := rrs(test.A(web1+" 5 IN A 10.0.2.10"), test.A(api1+" 5 IN A 10.0.2.11"))
	for _, tc := range []test.Case{
		{Qname: front, Qtype: dns.TypeA, Answer: rrs(test.A(front+" 5 IN A 10.0.2.10"), test.A(front+" 5 IN A 10.0.2.11"))},
		{Qname: front, Qtype: dns.TypeSRV, Answer: srv, Extra: glue},
		{Qname: "web.shop.acme.convox.", Qtype: dns.TypeA, Answer: rrs(test.A("web.shop.acme.convox. 5 IN A 10.0.2.10"))},
	} {
		_, m := ask(t, r, "198.51.100.7", tc.Msg())
		if err := test.SortAndCheck(m, tc); err != nil {
			t.Errorf("%s %s: %v", tc.Qname, dns.TypeToString[tc.Qtype], err)
		}
	}
	ch, err := r.Transfer(testZone, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for rrs := range ch {
		for _, rr := range rrs {
			if rr.Header().Name == front {
				found++
			}
		}
	}
	if found != 4 {
		t.Errorf("the zone has %d records of %s, want two A and two SRV", found, front)
	}
}
