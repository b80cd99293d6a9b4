package hosts

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// seen is how a DNS server sees a client.
type seen struct {
	from, server string
	as           string
}

func (s *site) checkSeen(t *testing.T, rows []seen) {
	t.Helper()
	for _, r := range rows {
		for _, proto := range []string{"udp", "tcp"} {
			got, err := s.client(t, r.from).SeenAs(proto, netip.MustParseAddrPort(r.server))
			if err != nil || got.String() != r.as {
				t.Errorf("%s at %s over %s is seen as %v, want %s (%v)", r.from, r.server, proto, got, r.as, err)
			}
		}
	}
}

// ip is a container's address on a network.
func (s *site) ip(t *testing.T, name, on string) string {
	t.Helper()
	return s.client(t, name).Container.Address(t, on).String()
}

// Who asks a DNS server on a host, as --network host has it.
func (s *site) testSeenAs(t *testing.T) {
	// The port is not 53, which is the forwarder's.
	s.alpha.Whoami(t, 1053)
	s.beta.Whoami(t, 53)
	const lan, docker0 = "192.0.2.2:1053", "172.17.0.1:1053"
	peer, web := s.ip(t, "alpha/peer", "app"), s.ip(t, "alpha/web", "app")
	s.checkSeen(t, []seen{
		{"alpha/peer", lan, peer},
		{"alpha/peer", docker0, peer},
		{"alpha/plain", docker0, s.ip(t, "alpha/plain", "bridge")},
		// A joiner is the namespace's owner.
		{"alpha/web", lan, web},
		{"alpha/joiner", lan, web},
		// An internal network reaches the host itself.
		{"alpha/mate", "172.22.0.1:1053", s.ip(t, "alpha/mate", "inner")},
		{"alpha/mate", lan, s.ip(t, "alpha/mate", "inner")},
		// An overlay asks by docker_gwbridge.
		{"alpha/meshed", lan, gatewaySide(t, s.client(t, "alpha/meshed").Container).String()},
		{"alpha/inhost", lan, "192.0.2.2"},
		{"alpha", lan, "192.0.2.2"},
		{"alpha", "127.0.0.1:1053", "127.0.0.1"},
		// Docker masquerades what has a bridge's source and leaves by another
		// device, here lo: as an address of lo if it has one, else of eth0.
		{"alpha", docker0, "100.64.0.7"},
		{"beta", "172.17.0.1:53", "192.0.2.3"},
		{"stranger", lan, "192.0.2.9"},
		{"stranger", "100.64.0.7:1053", "192.0.2.9"},
		{"stranger", "[fd00:2::2]:1053", "fd00:2::9"},
		{"outsider", lan, "198.51.100.7"},
		{"backhand", "10.9.0.2:1053", "10.9.0.9"},
		// Another host's containers are behind its address.
		{"beta", lan, "192.0.2.3"},
		{"beta/inhost", lan, "192.0.2.3"},
		{"beta/peer", lan, "192.0.2.3"},
		{"beta/plain", lan, "192.0.2.3"},
		{"beta/meshed", lan, "192.0.2.3"},
	})
	t.Run("by the embedded resolver", func(t *testing.T) {
		c := s.beta.Run(t, Spec{Name: "asker", Networks: []string{"app"}, DNS: []string{"192.0.2.3"}})
		s.checkSeen(t, []seen{{"beta/asker", "127.0.0.11:53", c.Address(t, "app").String()}})
	})
	t.Run("from a macvlan", func(t *testing.T) {
		s.need(t, "macvlan")
		s.beta.Network(t, NetworkSpec{Name: "maconly", Driver: "macvlan", Parent: "eth0", Subnets: []Subnet{{Prefix: "192.0.2.0/24", Gateway: "192.0.2.1", Range: "192.0.2.80/28"}}})
		s.beta.Run(t, Spec{Name: "macasker", Networks: []string{"maconly"}, IP: "192.0.2.85"})
		s.checkSeen(t, []seen{{"beta/macasker", lan, "192.0.2.85"}})
		t.Run("not its own host", func(t *testing.T) {
			if as, err := s.client(t, "beta/macasker").SeenAs("udp", netip.MustParseAddrPort("192.0.2.3:53")); err == nil {
				t.Errorf("the host sees its macvlan's container as %s", as)
			}
		})
	})
}

// Who asks a DNS server in a container with -p 53:53.
func (s *site) testSeenAsByContainer(t *testing.T) {
	for _, h := range s.hosts {
		c := h.Run(t, Spec{Name: "dns", Networks: []string{"app"}, IP: "172.20.0.53", Publish: []string{"1054:53", "1054:53/udp"}})
		c.Whoami(t, 53)
	}
	const alpha, beta = "192.0.2.2:1054", "192.0.2.3:1054"
	s.checkSeen(t, []seen{
		{"alpha/peer", "172.20.0.53:53", s.ip(t, "alpha/peer", "app")},
		// From a container it is docker-proxy that asks. Over UDP it has to be at the
		// client's own gateway.
		{"alpha/peer", "172.20.0.1:1054", "172.20.0.1"},
		{"alpha/apart", "172.21.0.1:1054", "172.20.0.1"},
		{"alpha/plain", "172.17.0.1:1054", "172.20.0.1"},
		{"stranger", alpha, "192.0.2.9"},
		{"outsider", alpha, "198.51.100.7"},
		{"beta", alpha, "192.0.2.3"},
		{"beta/apart", alpha, "192.0.2.3"},
		// Without a proxy those on the same network are seen as themselves, and the
		// host is as its gateway.
		{"beta/peer", beta, s.ip(t, "beta/peer", "app")},
		{"beta", beta, "172.20.0.1"},
		{"beta/inhost", beta, "172.20.0.1"},
		// With one, the packet filter still has the host's own come through.
		{"alpha", alpha, "192.0.2.2"},
		{"stranger", beta, "192.0.2.9"},
		{"alpha/apart", beta, "192.0.2.2"},
	})
}

// A proxying DNS stands in front: the server sees that, and what it adds.
func (s *site) testForwarder(t *testing.T) {
	s.beta.Whoami(t, 1053)
	server := netip.MustParseAddrPort("192.0.2.3:1053")
	t.Run("on a host", func(t *testing.T) {
		s.alpha.Forward(t, server)
		s.checkSeen(t, []seen{
			{"stranger", "192.0.2.2:53", "192.0.2.2"},
			{"outsider", "192.0.2.2:53", "192.0.2.2"},
			{"alpha/peer", "172.20.0.1:53", "192.0.2.2"},
			{"alpha", "127.0.0.1:53", "192.0.2.2"},
		})
	})
	t.Run("in a container", func(t *testing.T) {
		c := s.beta.Run(t, Spec{Name: "forwarder", Networks: []string{"app"}, IP: "172.20.0.54", Publish: []string{"53:53", "53:53/udp"}})
		c.Forward(t, server)
		s.checkSeen(t, []seen{
			{"stranger", "192.0.2.3:53", "172.20.0.54"},
			{"alpha/peer", "192.0.2.3:53", "172.20.0.54"},
			{"beta/peer", "172.20.0.54:53", "172.20.0.54"},
		})
	})
	t.Run("that tells the client's subnet", func(t *testing.T) {
		const name = "web.shop.test."
		subnets := make(chan string, 1)
		s.beta.serveDNS(t, 1055, dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
			if opt := query.IsEdns0(); opt != nil && query.Question[0].Name == name {
				for _, o := range opt.Option {
					if e, ok := o.(*dns.EDNS0_SUBNET); ok {
						select {
						case subnets <- e.Address.String():
						default:
						}
					}
				}
			}
			_ = w.WriteMsg(new(dns.Msg).SetReply(query))
		}))
		s.alpha.Forward(t, netip.MustParseAddrPort("192.0.2.3:1055"), "--add-subnet=32,128")
		if _, err := s.stranger.Resolve("udp", netip.MustParseAddrPort("192.0.2.2:53"), name, dns.TypeA); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-subnets:
			if got != "192.0.2.9" {
				t.Errorf("the client's subnet is %s, want 192.0.2.9", got)
			}
		default:
			t.Error("no client subnet")
		}
	})
}
