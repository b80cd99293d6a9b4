package rack

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

func answers(n int) func(*registry.Instance) { return func(i *registry.Instance) { i.Answers = n } }

// told are the addresses or targets of a reply, sorted.
func told(m *dns.Msg) []string {
	var all []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.AAAA:
			all = append(all, rr.AAAA.String())
		case *dns.SRV:
			all = append(all, fmt.Sprintf("%s:%d", rr.Target, rr.Port))
		}
	}
	slices.Sort(all)
	return all
}

func client(n int) string { return netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}).String() }

// TestAnswersPerReply has the limit of the Corefile, of a service, and both.
func TestAnswersPerReply(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		corefile, service, want int
	}{{0, 0, 6}, {2, 0, 2}, {0, 3, 3}, {2, 3, 2}, {3, 2, 2}, {9, 0, 6}, {0, 9, 6}, {1, 1, 1}} {
		r := newTestRack(t, lottery([]int{1, 1, 1, 1, 1, 1}, answers(tc.service))...)
		r.answers = tc.corefile
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			_, m := ask(t, r, "172.18.0.1", question("web.shop.acme.convox.", qtype))
			want := tc.want
			if qtype == dns.TypeSRV {
				want = 6 // Who asks for SRV chooses by itself.
			}
			if len(m.Answer) != want || m.Truncated {
				t.Errorf("answers %d, of the service %d: %d of type %s, TC %v; want %d",
					tc.corefile, tc.service, len(m.Answer), dns.TypeToString[qtype], m.Truncated, want)
			}
		}
	}
}

// TestSameClientIsToldTheSame asks again and again, from many clients: each is
// told one choice, in any order, and all choices together are by weight. What
// remains when one instance goes is told on.
func TestSameClientIsToldTheSame(t *testing.T) {
	t.Parallel()
	const name = "web.shop.acme.convox."
	weights := []int{1, 1, 4, 1, 10, 1, 1, 2}
	all := lottery(weights)
	r := newTestRack(t, all...)
	fewer := newTestRack(t, all[1:]...)
	r.answers, fewer.answers = 3, 3
	const clients = 3000
	first := make([]int, len(weights))
	orders := map[string]bool{}
	for c := range clients {
		from := client(c)
		_, m := ask(t, r, from, question(name, dns.TypeA))
		want := told(m)
		for range 3 {
			_, m := ask(t, r, from, question(name, dns.TypeA))
			if diff := cmp.Diff(want, told(m)); diff != "" {
				t.Fatalf("%s is told something else (-before +now):\n%s", from, diff)
			}
			if c == 0 {
				orders[fmt.Sprint(m.Answer)] = true
			}
		}
		_, m = ask(t, fewer, from, question(name, dns.TypeA))
		for _, ip := range want {
			if ip != "10.1.0.1" && !slices.Contains(told(m), ip) {
				t.Fatalf("%s was told %v, and %v after another one has gone", from, want, told(m))
			}
		}
		r.answers = 1
		_, m = ask(t, r, from, question(name, dns.TypeA))
		r.answers = 3
		first[place(t, m.Answer[0])]++
		if !slices.Contains(want, told(m)[0]) {
			t.Fatalf("%s gets %v of three, and %v of one", from, want, told(m))
		}
	}
	for n, w := range weights {
		// 6 standard deviations.
		p := float64(w) / 21
		want := clients * p
		if got := float64(first[n]); (got-want)*(got-want) > 36*want*(1-p) {
			t.Errorf("weight %d is chosen %v times in %d, want %.0f", w, got, clients, want)
		}
	}
	for range 100 {
		_, m := ask(t, r, client(0), question(name, dns.TypeA))
		orders[fmt.Sprint(m.Answer)] = true
	}
	if len(orders) < 2 {
		t.Error("what is told is never shuffled")
	}
}

// TestTruncatedTheSame: what doesn't fit is the same for a client, in all sizes
// and types, with one port each or more, and shuffled; TC says so over UDP alone.
func TestTruncatedTheSame(t *testing.T) {
	t.Parallel()
	const name = "web.myapp.acme.convox."
	const n = 5000
	alike := crowd(n, true)
	twoPorts, weighed := make([]any, 40), make([]any, 40)
	for k := range twoPorts {
		i, ok := alike[k].(registry.Instance)
		if !ok {
			t.Fatal("a crowd of something else")
		}
		weighed[k] = func() registry.Instance { i := i; i.Weight = 1 + k%5; return i }()
		i.Ports = append(slices.Clone(i.Ports), registry.Port{
			Protocol: registry.TCP, Container: 3001, Bindings: []registry.Binding{{IP: i.Ports[0].Bindings[0].IP, Port: 40001}},
		})
		twoPorts[k] = i
	}
	for _, tc := range []struct {
		what   string
		values []any
		tcp    bool
		size   uint16
	}{
		{"512", alike, false, 0}, {"1232", alike, false, 1232}, {"4096", alike, false, 4096}, {"TCP", alike, true, 0},
		{"two ports", twoPorts, false, 0}, {"weights", weighed, false, 0},
	} {
		r := newTestRack(t, tc.values...)
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			t.Run(tc.what+"/"+dns.TypeToString[qtype], func(t *testing.T) {
				get := func(from string) *dns.Msg {
					return scrubbed(t, r, &test.ResponseWriter{RemoteIP: from, TCP: tc.tcp}, question(name, qtype), tc.size)
				}
				m := get("203.0.113.9")
				if m.Truncated == tc.tcp {
					t.Errorf("TC is %v", m.Truncated)
				}
				want, orders := told(m), map[string]bool{}
				if len(want) == 0 || len(want) >= len(tc.values) && qtype != dns.TypeSRV {
					t.Fatalf("%d records", len(want))
				}
				for range 5 {
					m := get("203.0.113.9")
					orders[fmt.Sprint(m.Answer[0])] = true
					if diff := cmp.Diff(want, told(m)); diff != "" {
						t.Fatalf("something else is told (-before +now):\n%s", diff)
					}
				}
				if len(orders) < 2 {
					t.Error("what is told isn't shuffled")
				}
				if diff := cmp.Diff(want, told(get("203.0.113.10"))); diff == "" {
					t.Error("another client is told the same, so the others are never told")
				}
			})
		}
	}
}

// TestIdle is weight 0 on the wire.
func TestIdle(t *testing.T) {
	t.Parallel()
	const name = "web.shop.acme.convox."
	for _, tc := range []struct {
		weights []int
		want    string
	}{
		{[]int{0, 1, 100}, "[2 256] [3 25600]"},
		{[]int{0, 5}, "[2 1280]"},
		// Who reads a 0 may send nothing, as HAProxy.
		{[]int{0}, "[1 256]"},
		{[]int{0, 0}, "[1 256] [2 256]"},
	} {
		r := newTestRack(t, lottery(tc.weights)...)
		_, m := ask(t, r, outside, question(name, dns.TypeSRV))
		var got []string
		for _, rr := range m.Answer {
			s, ok := rr.(*dns.SRV)
			if !ok {
				t.Fatalf("%v is no SRV record", rr)
			}
			got = append(got, fmt.Sprint([]int{place(t, s) + 1, int(s.Weight)}))
		}
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.weights, diff)
		}
		if _, a := ask(t, r, outside, question(name, dns.TypeA)); len(a.Answer) != len(m.Answer) {
			t.Errorf("%v: %d addresses, %d SRV records", tc.weights, len(a.Answer), len(m.Answer))
		}
		if _, m := ask(t, r, outside, question("000000000001."+name, dns.TypeA)); len(m.Answer) != 1 {
			t.Errorf("%v: the first has no name of its own: %v", tc.weights, m)
		}
	}
}

// TestFoldedNames asks as names are typed in Compose files: the answer repeats the
// question, and targets are names as they are registered.
func TestFoldedNames(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, instance("000000000001", "my-shop", "order-db"), registry.Resource{App: "my-shop", Name: "big-cache", Type: "redis", Host: "10.0.0.1", Port: 6379})
	for _, tc := range []test.Case{
		{Qname: "Order_DB.My_Shop.acme.convox.", Qtype: dns.TypeA, Answer: rrs(test.A("Order_DB.My_Shop.acme.convox. 5 IN A 10.0.2.10"))},
		{
			Qname: "_http._tcp.order_db.my_shop.acme.convox.", Qtype: dns.TypeSRV,
			Answer: rrs(test.SRV("_http._tcp.order_db.my_shop.acme.convox. 5 IN SRV 0 256 47889 000000000001.order-db.my-shop.acme.convox.")),
			Extra:  rrs(test.A("000000000001.order-db.my-shop.acme.convox. 5 IN A 10.0.2.10")),
		},
		{
			Qname: "big_cache.resource.my_shop.acme.convox.", Qtype: dns.TypeSRV,
			Answer: rrs(test.SRV("big_cache.resource.my_shop.acme.convox. 5 IN SRV 0 256 6379 big-cache.resource.my-shop.acme.convox.")),
			Extra:  rrs(test.A("big-cache.resource.my-shop.acme.convox. 5 IN A 10.0.0.1")),
		},
		{Qname: "no_body.my_shop.acme.convox.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA},
		{Qname: "_order_db.my_shop.acme.convox.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: testSOA},
	} {
		_, m := ask(t, r, outside, question(tc.Qname, tc.Qtype))
		checkReply(t, tc, m)
	}
}
