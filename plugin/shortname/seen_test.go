package shortname

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// sees feeds the index a change of a service that was seen, gone without a
// namespace.
func sees(t *testing.T, x *index.Index, revision int64, app, service, namespace string) {
	t.Helper()
	l, err := registry.NewLayout(registry.DefaultPrefix, "acme")
	if err != nil {
		t.Fatal(err)
	}
	e := registry.Entry{Key: l.Seen(app, service), ModRevision: revision}
	if namespace != "" {
		if e.Value, err = registry.Encode(registry.Seen{Node: "node-1", Since: map[string]time.Time{namespace: time.Unix(1, 0)}}); err != nil {
			t.Fatal(err)
		}
	}
	x.Feed().Update([]registry.Entry{e})
}

// What was seen in the last hour is never asked of the world, nor told not to
// exist: its answers are ours, for as long as our others.
func TestSeenIsOurs(t *testing.T) {
	t.Parallel()
	r, x := newRack(t)
	feed(t, x, rackOfTwo()...)
	sees(t, x, serial+1, "ledgers-prod", "web", "ledgers")
	sees(t, x, serial+2, "orders", "api", "orders")
	sees(t, x, serial+3, "com", "gone", "com")
	s := New(r)
	s.Next = &next{}
	const orders = "172.18.0.9"
	for _, tt := range []struct{ name, from, qname, want string }{
		{"by its namespace", orders, "web.ledgers.", "[NOERROR below ledgers.]"},
		{"by its app", stranger, "web.ledgers-prod.", "[NOERROR below ledgers-prod.]"},
		{"another service of it", orders, "nothing.ledgers.", "[NXDOMAIN below ledgers.]"},
		{"a port of it", orders, "_http._tcp.web.ledgers.", "[NXDOMAIN below ledgers.]"},
		{"of an app that is there", orders, "api.orders.", "[NOERROR below orders.]"},
		{"bare, in its own app", orders, "api.", "[NOERROR below api.]"},
		{"bare, in another app", "172.19.0.9", "api.", "next"},
		{"a namespace that is the world's", orders, "gone.com.", "next"},
		{"what was never seen", orders, "web.elsewhere.", "next"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, m := ask(t, s, tt.from, question(tt.qname, dns.TypeA))
			if got := told(code, m); got != tt.want {
				t.Errorf("%s from %s: %s, want %s", tt.qname, tt.from, got, tt.want)
			}
			if m == nil {
				return
			}
			soa, ok := m.Ns[0].(*dns.SOA)
			if !ok || soa.Hdr.Ttl != soa.Minttl || soa.Minttl > 5 || !m.Authoritative {
				t.Errorf("negative by %s, AA %t", m.Ns[0], m.Authoritative)
			}
		})
	}
	sees(t, x, serial+4, "ledgers-prod", "web", "")
	code, m := ask(t, s, orders, question("web.ledgers.", dns.TypeA))
	if got := told(code, m); got != "next" {
		t.Errorf("after its hour: %s", got)
	}
}

// The same in the rack's own zone, where all is ours.
func TestSeenInTheZone(t *testing.T) {
	t.Parallel()
	r, x := newRack(t)
	feed(t, x, rackOfTwo()...)
	sees(t, x, serial+1, "ledgers-prod", "web", "ledgers")
	for qname, want := range map[string]int{
		"web.ledgers.": dns.RcodeSuccess, "ledgers.": dns.RcodeSuccess, "web.ledgers-prod.": dns.RcodeSuccess,
		"api.ledgers.": dns.RcodeNameError, "elsewhere.": dns.RcodeNameError,
	} {
		_, m := ask(t, r, stranger, question(qname+"acme.convox.", dns.TypeA))
		if m == nil || m.Rcode != want || len(m.Answer) != 0 {
			t.Errorf("%s: %s, want code %d without an answer", qname, fmt.Sprint(m), want)
		}
	}
}
