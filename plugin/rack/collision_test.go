package rack

import (
	"net/netip"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// Rules of an answer that only show in what is rare: two instances with one
// address, a signed zone, a server with several addresses, an odd reverse name.
func TestRareAnswers(t *testing.T) {
	at := func(id, ip string, priority int) registry.Instance {
		return instance(id, "shop", "web", func(i *registry.Instance) {
			i.Priority, i.Host = priority, netip.MustParseAddr(ip)
			i.Ports[0].Bindings = []registry.Binding{{IP: i.Host, Port: 4000}}
		})
	}
	one := []any{instance("aaaaaaaaaaaa", "shop", "web")}
	edns := func(m *dns.Msg) *dns.Msg { return m.SetEdns0(1232, true) }
	tests := []struct {
		name      string
		instances []any
		change    func(*Rack)
		question  *dns.Msg
		wrong     func(*dns.Msg) bool
	}{
		{
			name: "signed answers have no unsigned glue", instances: one,
			change:   func(r *Rack) { r.signed = true },
			question: edns(question("web.shop."+testZone, dns.TypeSRV)),
			wrong:    func(m *dns.Msg) bool { return len(m.Answer) != 1 || len(m.Extra) != 0 },
		},
		{
			name: "and unsigned ones have it", instances: one,
			question: question("web.shop."+testZone, dns.TypeSRV),
			wrong:    func(m *dns.Msg) bool { return len(m.Answer) != 1 || len(m.Extra) != 1 },
		},
		{
			name:      "an address of two instances is as urgent as the more urgent one",
			instances: []any{at("aaaaaaaaaaaa", "10.0.0.1", 9), at("bbbbbbbbbbbb", "10.0.0.1", 1), at("cccccccccccc", "10.0.0.3", 3)},
			question:  question("web.shop."+testZone, dns.TypeA),
			wrong:     func(m *dns.Msg) bool { a, ok := m.Answer[0].(*dns.A); return !ok || a.A.String() != "10.0.0.1" },
		},
		{
			name: "loopback is no glue for other hosts", instances: one,
			change: func(r *Rack) {
				r.nsAddrs = boundAddrs([]string{"127.0.0.1", "10.0.2.10"})
			},
			question: question(testZone, dns.TypeNS),
			wrong:    func(m *dns.Msg) bool { return len(m.Extra) != 1 },
		},
		{
			name: "a number over 255 is no part of an address", instances: one,
			question: question("300.0.18.172.in-addr.arpa.", dns.TypePTR),
			wrong:    func(m *dns.Msg) bool { return m.Rcode != dns.RcodeNameError },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRack(t, tt.instances...)
			if tt.change != nil {
				tt.change(r)
			}
			w := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: "203.0.113.9"})
			if _, err := r.ServeDNS(t.Context(), w, tt.question); err != nil {
				t.Fatal(err)
			}
			if tt.wrong(w.Msg) {
				t.Errorf("%s", w.Msg)
			}
		})
	}
}
