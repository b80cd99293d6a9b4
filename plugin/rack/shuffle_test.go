package rack

import (
	"fmt"
	"math"
	"testing"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// rounds is how often something is drawn to see how often it comes first.
const rounds = 10000

// lottery are instances of these weights, at 10.1.0.<n>.
func lottery(weights []int, more ...func(*registry.Instance)) []any {
	all := make([]any, len(weights))
	for n, w := range weights {
		i := instance(fmt.Sprintf("%012x", n+1), "shop", "web", at(fmt.Sprintf("10.1.0.%d", n+1), 40000), on("net", fmt.Sprintf("172.18.0.%d", n+1), fmt.Sprintf("2001:db8::%d", n+1)), weight(w))
		for _, c := range more {
			c(&i)
		}
		all[n] = i
	}
	return all
}

// place is which instance of a lottery a record is about.
func place(t *testing.T, rr dns.RR) int {
	t.Helper()
	switch rr := rr.(type) {
	case *dns.A:
		return int(rr.A[3]) - 1
	case *dns.AAAA:
		return int(rr.AAAA[15]) - 1
	case *dns.SRV:
		var n int
		if _, err := fmt.Sscanf(rr.Target, "%012x", &n); err != nil {
			t.Fatal(err)
		}
		return n - 1
	}
	t.Fatalf("%v is in no lottery", rr)
	return 0
}

// TestShuffleByWeight compares how often each instance comes first with its
// share of the weights, for each type, and how often it is second with what
// remains. 6 standard deviations are exceeded once in 500 million runs.
func TestShuffleByWeight(t *testing.T) {
	t.Parallel()
	for _, weights := range [][]int{{1, 10}, {1, 1, 1}, {100, 1, 9, 4}} {
		r := newTestRack(t, lottery(weights)...)
		total := 0
		for _, w := range weights {
			total += w
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			t.Run(fmt.Sprintf("%v/%s", weights, dns.TypeToString[qtype]), func(t *testing.T) {
				t.Parallel()
				first, second := make([]int, len(weights)), make([]int, len(weights))
				for range rounds {
					// An asker on the network gets both families.
					_, m := ask(t, r, "172.18.0.1", question("web.shop.acme.convox.", qtype))
					first[place(t, m.Answer[0])]++
					second[place(t, m.Answer[1])]++
				}
				for n, w := range weights {
					p := float64(w) / float64(total)
					near(t, fmt.Sprintf("%d first", n), first[n], p)
					then := 0.0
					for o, v := range weights {
						if o != n {
							then += float64(v) / float64(total) * float64(w) / float64(total-v)
						}
					}
					near(t, fmt.Sprintf("%d second", n), second[n], then)
				}
			})
		}
	}
}

func near(t *testing.T, what string, got int, p float64) {
	t.Helper()
	want, slack := rounds*p, 6*math.Sqrt(rounds*p*(1-p))
	if math.Abs(float64(got)-want) > slack {
		t.Errorf("%s: %d times in %d, want %.0f ± %.0f", what, got, rounds, want, slack)
	}
}

// TestShuffleByPriority wants the lower number first, whatever the weights.
func TestShuffleByPriority(t *testing.T) {
	t.Parallel()
	r := newTestRack(t,
		instance("000000000001", "shop", "web", at("10.1.0.1", 40000), priority(10), weight(100)),
		instance("000000000002", "shop", "web", at("10.1.0.2", 40000)),
		instance("000000000003", "shop", "web", at("10.1.0.3", 40000), priority(10)))
	for range 200 {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
			if _, m := ask(t, r, outside, question("web.shop.acme.convox.", qtype)); place(t, m.Answer[0]) != 1 {
				t.Fatalf("%v comes before the one of priority 0", m.Answer[0])
			}
		}
	}
}

// TestSharedAddressHasTheWeightOfAll has three instances behind one address of
// a node and one behind another.
func TestSharedAddressHasTheWeightOfAll(t *testing.T) {
	t.Parallel()
	var all []any
	for n, ip := range []string{"10.1.0.1", "10.1.0.1", "10.1.0.1", "10.1.0.2"} {
		all = append(all, instance(fmt.Sprintf("%012x", n+1), "shop", "web", at(ip, uint16(40000+n))))
	}
	r := newTestRack(t, all...)
	first := 0
	for range rounds {
		_, m := ask(t, r, outside, question("web.shop.acme.convox.", dns.TypeA))
		if len(m.Answer) != 2 {
			t.Fatalf("%v: an address is there twice, or missing", m.Answer)
		}
		if place(t, m.Answer[0]) == 0 {
			first++
		}
	}
	near(t, "the shared address first", first, 0.75)
	// More than fit on the stack are found in another way.
	many := crowd(200, false)
	for n := range many {
		i, ok := many[n].(registry.Instance)
		if !ok {
			t.Fatal("a crowd of something else")
		}
		at(fmt.Sprintf("10.1.0.%d", n%3+1), uint16(40000+n))(&i)
		many[n] = i
	}
	_, m := ask(t, newTestRack(t, many...), outside, question("web.myapp.acme.convox.", dns.TypeA))
	if len(m.Answer) != 3 {
		t.Errorf("%d records for 3 addresses", len(m.Answer))
	}
}
