package rack

import (
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

func isResource(name, kind string) func(*registry.Instance) {
	return func(i *registry.Instance) { i.Resource = &registry.InstanceResource{Name: name, Type: kind} }
}

// TestResourceThatIsAContainer has a database in a container, published for
// strangers and on a network with others.
func TestResourceThatIsAContainer(t *testing.T) {
	t.Parallel()
	db := instance("db0000000001", "shop", "db", at("10.0.2.10", 41000), on("net", "172.18.0.5", ""), isResource("leopard", "mysql"))
	db.Ports[0].Container = 3306
	db.Ports = append(db.Ports, registry.Port{Name: "metrics", Protocol: registry.TCP, Container: 9104})
	asker := instance("aaaa00000001", "shop", "cli", on("net", "172.18.0.9", ""))
	const target = "db0000000001.db.shop.acme.convox."
	for _, tc := range []struct {
		name  string
		extra []any
		// what the container, and a stranger, are told for each owner.
		owners            []string
		inside, strangers []string
	}{
		{
			name:      "it says so itself",
			owners:    []string{"leopard.resource.shop.acme.convox.", "mysql.shop.acme.convox.", "mysql-leopard.shop.acme.convox."},
			inside:    []string{"0 256 3306 " + target, "0 256 9104 " + target},
			strangers: []string{"0 256 41000 " + target},
		},
		{
			name:      "declared with a port",
			extra:     []any{registry.Resource{App: "shop", Name: "leopard", Type: "mysql", Port: 3306}},
			owners:    []string{"leopard.resource.shop.acme.convox.", "mysql.shop.acme.convox.", "mysql-leopard.shop.acme.convox."},
			inside:    []string{"0 256 3306 " + target},
			strangers: []string{"0 256 41000 " + target},
		},
		{
			name:      "declared by its ID, for the rack",
			extra:     []any{registry.Resource{Name: "main", Type: "mysql", Host: "db0000000001", Port: 3306}},
			owners:    []string{"main.resource.acme.convox."},
			inside:    []string{"0 256 3306 " + target},
			strangers: []string{"0 256 41000 " + target},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newTestRack(t, append([]any{db, asker}, tc.extra...)...)
			for _, owner := range tc.owners {
				for from, want := range map[string]struct {
					ip  string
					srv []string
				}{"172.18.0.9": {"172.18.0.5", tc.inside}, outside: {"10.0.2.10", tc.strangers}} {
					_, m := ask(t, r, from, question(owner, dns.TypeA))
					checkReply(t, test.Case{Qname: owner, Qtype: dns.TypeA, Answer: rrs(test.A(owner + " 5 IN A " + want.ip))}, m)
					_, m = ask(t, r, from, question(owner, dns.TypeSRV))
					c := test.Case{Qname: owner, Qtype: dns.TypeSRV, Extra: rrs(test.A(target + " 5 IN A " + want.ip))}
					for _, s := range want.srv {
						c.Answer = append(c.Answer, test.SRV(owner+" 5 IN SRV "+s))
					}
					checkReply(t, c, m)
				}
			}
			// Once it drains there is nothing to be had, but the name stays.
			db := db
			db.Draining = true
			change(t, r.index, serial+1, db, false)
			for _, owner := range tc.owners {
				if _, m := ask(t, r, outside, question(owner, dns.TypeA)); m.Rcode != dns.RcodeSuccess || len(m.Answer) > 0 {
					t.Errorf("%s, drained: %v", owner, m)
				}
			}
		})
	}
}

// TestResourceComesAndGoes checks that the order of events doesn't matter.
func TestResourceComesAndGoes(t *testing.T) {
	t.Parallel()
	declared := registry.Resource{App: "shop", Name: "leopard", Type: "mysql", Host: "db0000000001"}
	db := instance("db0000000001", "shop", "db", at("10.0.2.10", 41000))
	is := func(r *Rack, name string, rcode, answers int) {
		t.Helper()
		if _, m := ask(t, r, outside, question(name, dns.TypeA)); m.Rcode != rcode || len(m.Answer) != answers {
			t.Errorf("%s: %s with %d records, want %s with %d", name, dns.RcodeToString[m.Rcode], len(m.Answer), dns.RcodeToString[rcode], answers)
		}
	}
	const name = "leopard.resource.shop.acme.convox."
	r := newTestRack(t)
	is(r, name, dns.RcodeNameError, 0)
	change(t, r.index, serial+1, declared, false)
	is(r, name, dns.RcodeSuccess, 0)
	change(t, r.index, serial+2, db, false)
	is(r, name, dns.RcodeSuccess, 1)
	is(r, "mysql.shop.acme.convox.", dns.RcodeSuccess, 1)
	change(t, r.index, serial+3, declared, true)
	is(r, name, dns.RcodeNameError, 0)
	is(r, "mysql.shop.acme.convox.", dns.RcodeNameError, 0)
	change(t, r.index, serial+4, declared, false)
	is(r, name, dns.RcodeSuccess, 1)
	declared.Type, declared.Host = "postgres", "10.0.9.1"
	change(t, r.index, serial+5, declared, false)
	is(r, "mysql.shop.acme.convox.", dns.RcodeNameError, 0)
	is(r, "postgres.shop.acme.convox.", dns.RcodeSuccess, 1)
	change(t, r.index, serial+6, db, true)
	is(r, name, dns.RcodeSuccess, 1)
	change(t, r.index, serial+7, declared, true)
	is(r, "shop.acme.convox.", dns.RcodeNameError, 0)
	if got := r.Snapshot().Serial(); got != serial+7 {
		t.Errorf("serial %d, want %d", got, serial+7)
	}
}
