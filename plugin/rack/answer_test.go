package rack

import (
	"net/netip"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// Two instances with everything, a declared service with none, and resources
// of each sort.
func shop() []any {
	const net = "shop_default"
	return []any{
		registry.Node{Node: "node-1", Engine: "e", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")}},
		instance("3485248b1d18", "shop", "web", at("10.0.2.10", 47889), on(net, "172.18.0.2", "2001:db8::2"), namespace("store")),
		instance("99aa248b1d18", "shop", "web", at("10.0.2.11", 40001), on(net, "172.18.0.3", "2001:db8::3"), priority(3), weight(7), func(i *registry.Instance) {
			i.Ports = append(i.Ports, registry.Port{Protocol: registry.UDP, Container: 3000, Bindings: []registry.Binding{{IP: netip.MustParseAddr("10.0.2.11"), Port: 40001}}},
				registry.Port{Name: "metrics", Protocol: registry.TCP, Container: 9100})
		}),
		instance("dead248b1d18", "shop", "web", draining),
		instance("aaaa248b1d18", "shop", "cli", on(net, "172.18.0.9", "2001:db8::9")),
		registry.Service{App: "shop", Service: "worker", Ports: []registry.ServicePort{{Name: "grpc", Protocol: "tcp", Container: 50051}}},
		registry.Resource{App: "shop", Name: "cache", Type: "redis", Host: "10.0.9.1", Port: 6379},
		registry.Resource{App: "shop", Name: "leopard", Type: "mysql", Host: "10.0.9.2", Port: 3306},
		registry.Resource{App: "shop", Name: "tiger", Type: "mysql", Host: "2001:db8:9::3", Port: 3307, Default: true},
		registry.Resource{App: "shop", Name: "mail", Type: "smtp", Host: "mx.example.com", Port: 25},
		registry.Resource{App: "shop", Name: "odd", Type: "thing", Host: "/var/run/thing.sock"},
		registry.Resource{Name: "cache", Type: "redis", Host: "10.0.9.9", Port: 6380},
	}
}

const (
	web1 = "3485248b1d18.web.shop.acme.convox."
	web2 = "99aa248b1d18.web.shop.acme.convox."
)

func rrs(all ...dns.RR) []dns.RR { return all }

// TestNames is the table of the design, "Names served".
func TestNames(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	webSRV := rrs(
		test.SRV("web.shop.acme.convox. 5 IN SRV 0 256 47889 "+web1),
		test.SRV("web.shop.acme.convox. 5 IN SRV 3 1792 40001 "+web2))
	glue := rrs(test.A(web1+" 5 IN A 10.0.2.10"), test.A(web2+" 5 IN A 10.0.2.11"))
	const arpa = "18.172.in-addr.arpa."
	arpaSOA := soa(arpa, "ns.dns.acme.convox.")
	for _, tc := range []struct {
		name string
		test.Case
	}{
		{"service A", test.Case{Qname: "web.shop.acme.convox.", Qtype: dns.TypeA, Answer: rrs(
			test.A("web.shop.acme.convox. 5 IN A 10.0.2.10"), test.A("web.shop.acme.convox. 5 IN A 10.0.2.11"))}},
		{"the question's spelling", test.Case{Qname: "WEB.Shop.aCME.convox.", Qtype: dns.TypeA, Answer: rrs(
			test.A("WEB.Shop.aCME.convox. 5 IN A 10.0.2.10"), test.A("WEB.Shop.aCME.convox. 5 IN A 10.0.2.11"))}},
		{"service SRV", test.Case{Qname: "web.shop.acme.convox.", Qtype: dns.TypeSRV, Answer: webSRV, Extra: glue}},
		{"service TXT", test.Case{Qname: "web.shop.acme.convox.", Qtype: dns.TypeTXT, Ns: testSOA}},
		{"service ANY", test.Case{Qname: "web.shop.acme.convox.", Qtype: dns.TypeANY, Answer: rrs(
			test.HINFO(`web.shop.acme.convox. 5 IN HINFO "RFC8482" ""`))}},
		{"by namespace", test.Case{Qname: "web.store.acme.convox.", Qtype: dns.TypeSRV, Answer: rrs(
			test.SRV("web.store.acme.convox. 5 IN SRV 0 256 47889 3485248b1d18.web.store.acme.convox."),
			test.SRV("web.store.acme.convox. 5 IN SRV 3 1792 40001 99aa248b1d18.web.store.acme.convox.")), Extra: rrs(
			test.A("3485248b1d18.web.store.acme.convox. 5 IN A 10.0.2.10"), test.A("99aa248b1d18.web.store.acme.convox. 5 IN A 10.0.2.11"))}},
		{"port by name", test.Case{Qname: "_http._tcp.web.shop.acme.convox.", Qtype: dns.TypeSRV, Answer: rrs(
			test.SRV("_http._tcp.web.shop.acme.convox. 5 IN SRV 0 256 47889 "+web1),
			test.SRV("_http._tcp.web.shop.acme.convox. 5 IN SRV 3 1792 40001 "+web2)), Extra: glue}},
		{"port by number and protocol", test.Case{Qname: "_3000._udp.web.shop.acme.convox.", Qtype: dns.TypeSRV,
			Answer: rrs(test.SRV("_3000._udp.web.shop.acme.convox. 5 IN SRV 3 1792 40001 " + web2)), Extra: glue[1:]}},
		{"port A", test.Case{Qname: "_http._tcp.web.shop.acme.convox.", Qtype: dns.TypeA, Ns: testSOA}},
		{"port that nobody publishes", test.Case{Qname: "_metrics._tcp.web.shop.acme.convox.", Qtype: dns.TypeSRV, Ns: testSOA}},
		{"port that nobody has", test.Case{Qname: "_ftp._tcp.web.shop.acme.convox.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"port of the other protocol", test.Case{Qname: "_http._udp.web.shop.acme.convox.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"above ports", test.Case{Qname: "_tcp.web.shop.acme.convox.", Qtype: dns.TypeSRV, Ns: testSOA}},
		{"declared port", test.Case{Qname: "_grpc._tcp.worker.shop.acme.convox.", Qtype: dns.TypeSRV, Ns: testSOA}},
		{"instance A", test.Case{Qname: web1, Qtype: dns.TypeA, Answer: rrs(test.A(web1 + " 5 IN A 10.0.2.10"))}},
		{"instance SRV", test.Case{Qname: web2, Qtype: dns.TypeSRV,
			Answer: rrs(test.SRV(web2 + " 5 IN SRV 3 1792 40001 " + web2)), Extra: glue[1:]}},
		{"instance that drains", test.Case{Qname: "dead248b1d18.web.shop.acme.convox.", Qtype: dns.TypeA, Ns: testSOA}},
		{"no such instance", test.Case{Qname: "beef248b1d18.web.shop.acme.convox.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"below an instance", test.Case{Qname: "x." + web1, Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"resource A", test.Case{Qname: "cache.resource.shop.acme.convox.", Qtype: dns.TypeA, Answer: rrs(test.A("cache.resource.shop.acme.convox. 5 IN A 10.0.9.1"))}},
		{"resource AAAA", test.Case{Qname: "cache.resource.shop.acme.convox.", Qtype: dns.TypeAAAA, Ns: testSOA}},
		{"resource SRV", test.Case{Qname: "cache.resource.shop.acme.convox.", Qtype: dns.TypeSRV,
			Answer: rrs(test.SRV("cache.resource.shop.acme.convox. 5 IN SRV 0 256 6379 cache.resource.shop.acme.convox.")),
			Extra:  rrs(test.A("cache.resource.shop.acme.convox. 5 IN A 10.0.9.1"))}},
		{"resource of the rack", test.Case{Qname: "cache.resource.acme.convox.", Qtype: dns.TypeA, Answer: rrs(test.A("cache.resource.acme.convox. 5 IN A 10.0.9.9"))}},
		{"above resources", test.Case{Qname: "resource.shop.acme.convox.", Qtype: dns.TypeA, Ns: testSOA}},
		{"no such resource", test.Case{Qname: "x.resource.shop.acme.convox.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"database by type", test.Case{Qname: "mysql.shop.acme.convox.", Qtype: dns.TypeAAAA, Answer: rrs(test.AAAA("mysql.shop.acme.convox. 5 IN AAAA 2001:db8:9::3"))}},
		{"database by group", test.Case{Qname: "mysql-leopard.shop.acme.convox.", Qtype: dns.TypeA, Answer: rrs(test.A("mysql-leopard.shop.acme.convox. 5 IN A 10.0.9.2"))}},
		{"default database by group", test.Case{Qname: "mysql-tiger.shop.acme.convox.", Qtype: dns.TypeSRV,
			Answer: rrs(test.SRV("mysql-tiger.shop.acme.convox. 5 IN SRV 0 256 3307 mysql-tiger.shop.acme.convox.")),
			Extra:  rrs(test.AAAA("mysql-tiger.shop.acme.convox. 5 IN AAAA 2001:db8:9::3"))}},
		{"outside host", test.Case{Qname: "mail.resource.shop.acme.convox.", Qtype: dns.TypeA, Answer: rrs(test.CNAME("mail.resource.shop.acme.convox. 5 IN CNAME mx.example.com."))}},
		{"outside host's port", test.Case{Qname: "mail.resource.shop.acme.convox.", Qtype: dns.TypeSRV, Answer: rrs(test.SRV("mail.resource.shop.acme.convox. 5 IN SRV 0 256 25 mx.example.com."))}},
		{"host that is no host", test.Case{Qname: "odd.resource.shop.acme.convox.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"app", test.Case{Qname: "shop.acme.convox.", Qtype: dns.TypeA, Ns: testSOA}},
		{"no such app", test.Case{Qname: "web.nothing.acme.convox.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"wildcard", test.Case{Qname: "*.shop.acme.convox.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"a dot inside a label", test.Case{Qname: `web\.shop.acme.convox.`, Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA}},
		{"apex A", test.Case{Qname: testZone, Qtype: dns.TypeA, Ns: testSOA}},
		{"apex SRV", test.Case{Qname: testZone, Qtype: dns.TypeSRV, Ns: testSOA}},
		{"apex SOA", test.Case{Qname: testZone, Qtype: dns.TypeSOA, Answer: testSOA}},
		{"apex NS", test.Case{Qname: testZone, Qtype: dns.TypeNS, Answer: rrs(test.NS("acme.convox. 5 IN NS ns.dns.acme.convox.")), Extra: rrs(test.A("ns.dns.acme.convox. 5 IN A 10.0.2.10"))}},
		{"apex ANY", test.Case{Qname: testZone, Qtype: dns.TypeANY, Answer: rrs(test.HINFO(`acme.convox. 5 IN HINFO "RFC8482" ""`))}},
		{"this server", test.Case{Qname: "ns.dns.acme.convox.", Qtype: dns.TypeA, Answer: rrs(test.A("ns.dns.acme.convox. 5 IN A 10.0.2.10"))}},
		{"this server's AAAA", test.Case{Qname: "ns.dns.acme.convox.", Qtype: dns.TypeAAAA, Ns: testSOA}},
		{"above this server", test.Case{Qname: "dns.acme.convox.", Qtype: dns.TypeA, Ns: testSOA}},
		{"PTR", test.Case{Qname: "2.0.18.172.in-addr.arpa.", Qtype: dns.TypePTR, Answer: rrs(test.PTR("2.0.18.172.in-addr.arpa. 5 IN PTR " + web1))}},
		{"PTR v6", test.Case{Qname: "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", Qtype: dns.TypePTR,
			Answer: rrs(test.PTR("3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 5 IN PTR " + web2))}},
		{"PTR of nobody", test.Case{Qname: "77.0.18.172.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError, Ns: arpaSOA}},
		{"A of an address", test.Case{Qname: "2.0.18.172.in-addr.arpa.", Qtype: dns.TypeA, Ns: arpaSOA}},
		{"part of an address", test.Case{Qname: "0.18.172.in-addr.arpa.", Qtype: dns.TypePTR, Ns: arpaSOA}},
		{"reverse apex", test.Case{Qname: arpa, Qtype: dns.TypeSOA, Answer: arpaSOA}},
		{"no address at all", test.Case{Qname: "x.18.172.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError, Ns: arpaSOA}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, m := ask(t, r, outside, question(tc.Qname, tc.Qtype))
			if code != dns.RcodeSuccess {
				t.Fatalf("code %s", dns.RcodeToString[code])
			}
			checkReply(t, tc.Case, m)
		})
	}
}

// TestEndpointByAsker is "Which endpoint an asker gets", as DNS shows it.
func TestEndpointByAsker(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	const name = "web.shop.acme.convox."
	for _, tc := range []struct {
		name, from string
		a, aaaa    []dns.RR
		srv        []dns.RR
	}{
		{"a stranger", outside, rrs(test.A(name+" 5 IN A 10.0.2.10"), test.A(name+" 5 IN A 10.0.2.11")), nil, rrs(
			test.SRV(name+" 5 IN SRV 0 256 47889 "+web1), test.SRV(name+" 5 IN SRV 3 1792 40001 "+web2))},
		{"a container on the network", "172.18.0.9",
			rrs(test.A(name+" 5 IN A 172.18.0.2"), test.A(name+" 5 IN A 172.18.0.3")),
			rrs(test.AAAA(name+" 5 IN AAAA 2001:db8::2"), test.AAAA(name+" 5 IN AAAA 2001:db8::3")), rrs(
				test.SRV(name+" 5 IN SRV 0 256 3000 "+web1), test.SRV(name+" 5 IN SRV 3 1792 3000 "+web2), test.SRV(name+" 5 IN SRV 3 1792 9100 "+web2))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, m := ask(t, r, tc.from, question(name, dns.TypeA))
			checkReply(t, test.Case{Qname: name, Qtype: dns.TypeA, Answer: tc.a}, m)
			_, m = ask(t, r, tc.from, question(name, dns.TypeAAAA))
			want := test.Case{Qname: name, Qtype: dns.TypeAAAA, Answer: tc.aaaa}
			if tc.aaaa == nil {
				want.Ns = testSOA
			}
			checkReply(t, want, m)
			_, m = ask(t, r, tc.from, question(name, dns.TypeSRV))
			want = test.Case{Qname: name, Qtype: dns.TypeSRV, Answer: tc.srv}
			// A and SRV agree: the glue is what A and AAAA of the targets say.
			for _, target := range []string{web1, web2} {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
					_, m := ask(t, r, tc.from, question(target, qtype))
					want.Extra = append(want.Extra, m.Answer...)
				}
			}
			checkReply(t, want, m)
		})
	}
}

// TestNamespaceClash has two apps that claim one namespace, and one that is
// named like it.
func TestNamespaceClash(t *testing.T) {
	t.Parallel()
	first := instance("000000000001", "alpha", "web", at("10.1.0.1", 40000), namespace("store"))
	second := instance("000000000002", "beta", "web", at("10.1.0.2", 40000), namespace("store"))
	named := instance("000000000003", "store", "web", at("10.1.0.3", 40000), namespace("alpha"))
	r := newTestRack(t, second, first)
	is := func(name, want string) {
		t.Helper()
		_, m := ask(t, r, outside, question(name+"."+testZone, dns.TypeA))
		if len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != want { //nolint:errcheck // A panic will do.
			t.Errorf("%s: %v, want %s", name, m.Answer, want)
		}
	}
	is("web.store", "10.1.0.1")
	is("web.beta", "10.1.0.2")
	change(t, r.index, serial+1, named, false)
	is("web.store", "10.1.0.3")
	is("web.alpha", "10.1.0.1")
	change(t, r.index, serial+2, named, true)
	is("web.store", "10.1.0.1")
	change(t, r.index, serial+3, first, true)
	is("web.store", "10.1.0.2")
}
