package rack

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/test"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// next is a plugin that says by REFUSED that a query got to it.
var next = test.NextHandler(dns.RcodeRefused, nil)

// TestRulesThatOthersGotWrong has a test for each row of that table which a
// single server can be asked about. Those that take a registry that fails are
// in TestRulesOverEtcd.
func TestRulesThatOthersGotWrong(t *testing.T) {
	t.Parallel()
	t.Run("AAAA on a v4-only name is NODATA, never NXDOMAIN", ruleAAAA)
	t.Run("a parent name doesn't return its subtree", ruleSubtree)
	t.Run("prefixes end in a separator, so rails doesn't match rails2", rulePrefix)
	t.Run("a lease ID is not a TTL", ruleTTL)
	t.Run("NXDOMAIN before the first sync gets cached downstream: SERVFAIL instead", ruleServfail)
	t.Run("sync is checked before fallthrough, or names leak upstream", ruleFallthrough)
	t.Run("SOA only at the apex, in Authority for negatives, never in Answer", ruleSOA)
	t.Run("serial doesn't tick with the clock", ruleSerial)
	t.Run("each SRV has its own target per instance", ruleTargets)
	t.Run("weights are at least 1, port and target agree", ruleWeights)
	t.Run("SRV over the limit: glue goes first, then records with TC, never an empty answer", ruleLimit)
	t.Run("one TTL per RRset, one CNAME per name", ruleOneTTL)
	t.Run("several NS or large zones don't panic AXFR", ruleTransfer)
}

func ruleAAAA(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, instance("000000000001", "shop", "web"), registry.Resource{App: "shop", Name: "db", Type: "mysql", Host: "10.0.0.1"})
	for _, name := range []string{"web.shop.", "000000000001.web.shop.", "_http._tcp.web.shop.", "db.resource.shop.", "mysql.shop.", "shop.", "ns.dns.", "dns.", ""} {
		_, m := ask(t, r, outside, question(name+testZone, dns.TypeAAAA))
		checkReply(t, test.Case{Qname: name + testZone, Qtype: dns.TypeAAAA, Ns: testSOA}, m)
	}
}

func ruleSubtree(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	for _, name := range []string{"shop." + testZone, "resource.shop." + testZone, "resource." + testZone, "dns." + testZone, "_tcp.web.shop." + testZone, testZone} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypePTR, dns.TypeCNAME} {
			_, m := ask(t, r, outside, question(name, qtype))
			checkReply(t, test.Case{Qname: name, Qtype: qtype, Ns: testSOA}, m)
		}
	}
}

func rulePrefix(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, instance("000000000001", "rails2", "web2"))
	for _, name := range []string{"web2.rails.", "web.rails2.", "eb2.rails2.", "rails.", "00000000001.web2.rails2.", "0000000000011.web2.rails2.", "_htt._tcp.web2.rails2.", "_300._tcp.web2.rails2."} {
		_, m := ask(t, r, outside, question(name+testZone, dns.TypeA))
		checkReply(t, test.Case{Qname: name + testZone, Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA}, m)
	}
	// Nor is a zone whatever ends like one.
	r.Next = next
	if code, _ := ask(t, r, outside, question("web2.rails2.notacme.convox.", dns.TypeA)); code != dns.RcodeRefused {
		t.Errorf("notacme.convox is taken for acme.convox: code %d", code)
	}
	if code, _ := ask(t, r, outside, question(`web2.rails2.not\.acme.convox.`, dns.TypeA)); code != dns.RcodeRefused {
		t.Errorf(`not\.acme.convox is taken for acme.convox: code %d`, code)
	}
}

// Leases are etcd's affair: whatever hangs on one has the plugin's TTL.
func ruleTTL(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	for _, ttl := range []uint32{0, 5, 3600} {
		r.ttl = ttl
		for _, name := range []string{"web.shop." + testZone, web1, "cache.resource." + testZone, testZone, "x." + testZone, "2.0.18.172.in-addr.arpa."} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNS, dns.TypeSOA, dns.TypePTR} {
				_, m := ask(t, r, outside, question(name, qtype))
				for _, rr := range append(append(m.Answer, m.Ns...), m.Extra...) {
					if rr.Header().Ttl != ttl {
						t.Errorf("%v: TTL is not %d", rr, ttl)
					}
					if s, ok := rr.(*dns.SOA); ok && s.Minttl != ttl {
						t.Errorf("%v: the negative TTL is not %d", rr, ttl)
					}
				}
			}
		}
	}
}

// unsynced is a rack that knows nothing yet.
func unsynced(t *testing.T) *Rack {
	t.Helper()
	x, err := index.Open(index.Config{Registry: registry.Config{Rack: "acme"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	r, err := New(x, testZone, "18.172.in-addr.arpa.")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ruleServfail(t *testing.T) {
	t.Parallel()
	r := unsynced(t)
	if r.Ready() {
		t.Error("ready, and knows nothing")
	}
	for _, name := range []string{"web.shop." + testZone, testZone, "ns.dns." + testZone, "2.0.18.172.in-addr.arpa."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSOA, dns.TypeNS, dns.TypeANY, dns.TypePTR} {
			if code, m := ask(t, r, outside, question(name, qtype)); code != dns.RcodeServerFailure || m != nil {
				t.Errorf("%s %s: code %d, reply %v", name, dns.TypeToString[qtype], code, m)
			}
		}
	}
	feed(t, r.index, shop()...)
	if !r.Ready() {
		t.Error("not ready, and knows everything")
	}
	if code, _ := ask(t, r, outside, question("web.shop."+testZone, dns.TypeA)); code != dns.RcodeSuccess {
		t.Errorf("code %d after the first sync", code)
	}
}

func ruleFallthrough(t *testing.T) {
	t.Parallel()
	r := unsynced(t)
	r.Next = next
	r.fall = fall.Root
	is := func(want int, name string) {
		t.Helper()
		if code, _ := ask(t, r, outside, question(name, dns.TypeA)); code != want {
			t.Errorf("%s: code %d, want %d", name, code, want)
		}
	}
	is(dns.RcodeServerFailure, "web.shop."+testZone)
	is(dns.RcodeServerFailure, "nothing."+testZone)
	is(dns.RcodeRefused, "example.com.")
	feed(t, r.index, shop()...)
	is(dns.RcodeSuccess, "web.shop."+testZone)
	// NODATA is an answer, and doesn't fall through.
	is(dns.RcodeSuccess, "shop."+testZone)
	is(dns.RcodeRefused, "nothing."+testZone)
	is(dns.RcodeRefused, "7.7.18.172.in-addr.arpa.")
	r.fall = fall.F{Zones: []string{"other." + testZone}}
	is(dns.RcodeRefused, "x.other."+testZone)
	is(dns.RcodeSuccess, "nothing."+testZone)
	// Too old is as good as unknown.
	r.fall, r.maxStale = fall.Root, time.Nanosecond
	is(dns.RcodeServerFailure, "nothing."+testZone)
	is(dns.RcodeServerFailure, "web.shop."+testZone)
}

func ruleSOA(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	for _, name := range []string{"web.shop." + testZone, web1, "shop." + testZone, "cache.resource." + testZone, "_http._tcp.web.shop." + testZone, "ns.dns." + testZone} {
		for _, qtype := range []uint16{dns.TypeSOA, dns.TypeNS} {
			_, m := ask(t, r, outside, question(name, qtype))
			checkReply(t, test.Case{Qname: name, Qtype: qtype, Ns: testSOA}, m)
		}
	}
	_, m := ask(t, r, outside, question("x."+testZone, dns.TypeSOA))
	checkReply(t, test.Case{Qname: "x." + testZone, Qtype: dns.TypeSOA, Rcode: dns.RcodeNameError, Ns: testSOA}, m)
	_, m = ask(t, r, outside, question("ACME.convox.", dns.TypeSOA))
	checkReply(t, test.Case{Qname: "ACME.convox.", Qtype: dns.TypeSOA, Answer: soa("ACME.convox.", "ns.dns.acme.convox.")}, m)
}

func ruleSerial(t *testing.T) {
	t.Parallel()
	web := instance("000000000001", "shop", "web")
	r := newTestRack(t, web)
	is := func(what string, want uint32) {
		t.Helper()
		_, m := ask(t, r, outside, question("x."+testZone, dns.TypeA))
		s, ok := m.Ns[0].(*dns.SOA)
		if !ok || s.Serial != want {
			t.Errorf("%s: %v, want serial %d", what, m.Ns[0], want)
		}
	}
	is("at first", serial)
	is("asked again", serial)
	web.Observed, web.Image, web.Tags = time.Unix(1, 0), "web:2", map[string]string{"k": "v"}
	change(t, r.index, serial+1, web, false)
	is("a change that DNS doesn't show", serial)
	node := registry.Node{Node: "node-1", Engine: "e", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")}}
	change(t, r.index, serial+2, node, false)
	is("a new node, whose addresses decide about what is told", serial+2)
	node.Started, node.Version = time.Unix(2, 0), "2"
	change(t, r.index, serial+3, node, false)
	is("a node's change that DNS doesn't show", serial+2)
	node.Addresses = []netip.Addr{netip.MustParseAddr("10.0.2.11")}
	change(t, r.index, serial+4, node, false)
	is("a node's address", serial+4)
	change(t, r.index, serial+5, node, true)
	is("a node that is gone", serial+4)
	web.Weight = 2
	change(t, r.index, serial+6, web, false)
	is("a change that DNS shows", serial+6)
	change(t, r.index, serial+7, web, true)
	is("a deletion", serial+7)
	change(t, r.index, 1<<32+7, web, false)
	is("revisions have more bits than serials", 7)
}

func ruleTargets(t *testing.T) {
	t.Parallel()
	// Both instances are at one address: a target that they share would say
	// that each port is at each of them.
	r := newTestRack(t, instance("000000000001", "shop", "web", at("10.0.2.10", 40001)), instance("000000000002", "shop", "web", at("10.0.2.10", 40002)))
	const name, one, two = "web.shop.acme.convox.", "000000000001.web.shop.acme.convox.", "000000000002.web.shop.acme.convox."
	_, m := ask(t, r, outside, question(name, dns.TypeSRV))
	checkReply(t, test.Case{Qname: name, Qtype: dns.TypeSRV,
		Answer: rrs(test.SRV(name+" 5 IN SRV 0 256 40001 "+one), test.SRV(name+" 5 IN SRV 0 256 40002 "+two)),
		Extra:  rrs(test.A(one+" 5 IN A 10.0.2.10"), test.A(two+" 5 IN A 10.0.2.10"))}, m)
}

func ruleWeights(t *testing.T) {
	t.Parallel()
	bare := instance("000000000003", "shop", "web", at("10.1.0.3", 40003))
	all := []any{instance("000000000001", "shop", "web", at("10.1.0.1", 40001)), instance("000000000002", "shop", "web", at("10.1.0.2", 40002), weight(100)), bare}
	r := newTestRack(t, all...)
	// Absent is 1, as another program may write it.
	e := put(t, bare)
	e.Value = []byte(`{"id":"000000000003","node":"node-1","app":"shop","service":"web","status":"running","ports":[{"protocol":"tcp","container":3000,"bindings":[{"ip":"10.1.0.3","port":40003}]}]}`)
	e.ModRevision++
	r.index.Feed().Update([]registry.Entry{e})
	_, m := ask(t, r, outside, question("web.shop."+testZone, dns.TypeSRV))
	got := map[string]string{}
	for _, rr := range m.Answer {
		s, ok := rr.(*dns.SRV)
		if !ok {
			t.Fatalf("%v is no SRV record", rr)
		}
		got[s.Target] = fmt.Sprint(s.Weight, s.Port)
		for _, glue := range m.Extra {
			if a, ok := glue.(*dns.A); ok && glue.Header().Name == s.Target && 40000+int(a.A[3]) != int(s.Port) {
				t.Errorf("%v has the address %v", s, a)
			}
		}
	}
	want := map[string]string{"000000000001.web.shop.acme.convox.": "256 40001", "000000000002.web.shop.acme.convox.": "25600 40002", "000000000003.web.shop.acme.convox.": "256 40003"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("weight and port (-want +got):\n%s", diff)
	}
}

// TestReplyFits has this in all sizes; these are the two edges.
func ruleLimit(t *testing.T) {
	t.Parallel()
	const name = "web.myapp.acme.convox."
	seven := scrubbed(t, newTestRack(t, crowd(7, false)...), &test.ResponseWriter{}, question(name, dns.TypeSRV), 0)
	if len(seven.Answer) != 7 || seven.Truncated || len(seven.Extra) == 0 || len(seven.Extra) == 7 {
		t.Errorf("7 instances in 512 octets: %d records with %d addresses, TC %v; want all records, some addresses, no TC",
			len(seven.Answer), len(seven.Extra), seven.Truncated)
	}
	many := scrubbed(t, newTestRack(t, crowd(1000, false)...), &test.ResponseWriter{}, question(name, dns.TypeSRV), 0)
	if len(many.Answer) != 8 || !many.Truncated || len(many.Extra) != 0 {
		t.Errorf("1000 instances in 512 octets: %d records with %d addresses, TC %v; want 8, none, TC", len(many.Answer), len(many.Extra), many.Truncated)
	}
}

func ruleOneTTL(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, append(shop(), crowd(40, true)...)...)
	for _, name := range []string{"web.shop." + testZone, "web.myapp." + testZone, "mail.resource.shop." + testZone, "smtp.shop." + testZone, "mysql.shop." + testZone} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeCNAME, dns.TypeMX} {
			_, m := askOver(t, r, &test.ResponseWriter{TCP: true}, question(name, qtype))
			type set struct {
				name   string
				rrtype uint16
			}
			ttls, cnames := map[set]uint32{}, map[string]int{}
			for _, rr := range append(m.Answer, m.Extra...) {
				h := rr.Header()
				k := set{h.Name, h.Rrtype}
				if ttl, ok := ttls[k]; ok && ttl != h.Ttl {
					t.Errorf("%s %d has the TTLs %d and %d", k.name, k.rrtype, ttl, h.Ttl)
				}
				ttls[k] = h.Ttl
				if h.Rrtype == dns.TypeCNAME {
					cnames[h.Name]++
				}
			}
			for owner, n := range cnames {
				if n > 1 || qtype == dns.TypeSRV {
					t.Errorf("%s %d: %d CNAMEs of %s", name, qtype, n, owner)
				}
			}
		}
	}
}

func ruleTransfer(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, append(shop(), crowd(3000, true)...)...)
	for n := range 5 {
		r.nsAddrs = append(r.nsAddrs, netip.AddrFrom4([4]byte{10, 0, 2, byte(20 + n)}))
	}
	got := transferred(t, r, testZone, 0)
	if n := len(got); n < 3000*6 {
		t.Errorf("%d records of 3,000 instances", n)
	}
	glue := 0
	for _, rr := range got {
		if rr.Header().Name == "ns.dns.acme.convox." {
			glue++
		}
	}
	if glue != 6 {
		t.Errorf("%d addresses of the server, want 6", glue)
	}
}

// TestOutside checks what is none of ours.
func TestOutside(t *testing.T) {
	t.Parallel()
	notify := question(testZone, dns.TypeSOA)
	notify.Opcode = dns.OpcodeNotify
	update := new(dns.Msg).SetUpdate(testZone)
	chaos := question("web.shop."+testZone, dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	for _, tc := range []struct {
		name    string
		m       *dns.Msg
		alone   int
		another bool
	}{
		{"another zone", question("example.com.", dns.TypeA), dns.RcodeRefused, true},
		{"the root", question(".", dns.TypeNS), dns.RcodeRefused, true},
		{"the parent zone", question("convox.", dns.TypeNS), dns.RcodeRefused, true},
		{"NOTIFY", notify, dns.RcodeNotImplemented, true},
		{"UPDATE", update, dns.RcodeNotImplemented, true},
		{"AXFR as a query", question(testZone, dns.TypeAXFR), dns.RcodeRefused, false},
		{"IXFR as a query", question(testZone, dns.TypeIXFR), dns.RcodeRefused, false},
		{"another class", chaos, dns.RcodeRefused, false},
		{"no question", new(dns.Msg), dns.RcodeFormatError, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newTestRack(t, shop()...)
			if code, _ := ask(t, r, outside, tc.m); code != tc.alone {
				t.Errorf("code %d, want %d", code, tc.alone)
			}
			asked := false
			r.Next = test.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
				asked = true
				return dns.RcodeServerFailure, nil
			})
			if _, _ = ask(t, r, outside, tc.m); asked != tc.another {
				t.Errorf("the next plugin was asked: %v, want %v", asked, tc.another)
			}
		})
	}
}
