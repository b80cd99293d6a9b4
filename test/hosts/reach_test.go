package hosts

import (
	"net/netip"
	"strings"
	"testing"
)

// What reaches: on alpha, which is as Docker comes, and on beta, which has no
// docker-proxy.
func (s *site) testReach(t *testing.T) {
	web := []string{"tcp 172.20.0.9:80", "udp 172.20.0.9:53"}
	s.check(t, []reach{
		{"a container on the network", []string{"alpha/peer", "alpha/joiner"}, web, "alpha/web"},
		{"a container's port from the namespace that it joined", []string{"alpha/peer", "alpha/web", "alpha"}, []string{"tcp 172.20.0.9:82"}, "alpha/joiner"},
		{"the host its own bridges, internal ones too", []string{"alpha", "alpha/inhost"}, web, "alpha/web"},
		{"the host an internal network", []string{"alpha"}, []string{"tcp 172.22.0.9:80"}, "alpha/locked"},
		{"no container's address from another network", []string{"alpha/apart", "alpha/plain", "alpha/mate", "stranger", "outsider"}, web, ""},
		// Every host has the same subnets.
		{"a container's address on another host is one of its own", []string{"beta"}, web, "beta/web"},
		{"an internal network its own", []string{"alpha/mate"}, []string{"tcp 172.22.0.9:80"}, "alpha/locked"},
		{"nothing from no network", []string{"alpha/alone"}, []string{"tcp 192.0.2.2:8080", "tcp 172.20.0.9:80", "tcp 192.0.2.2:3000"}, ""},

		{
			"a published port from all but internal networks, by docker-proxy",
			[]string{"alpha", "alpha/web", "alpha/peer", "alpha/apart", "alpha/plain", "alpha/inhost", "alpha/joiner", "alpha/meshed", "stranger", "outsider", "beta", "beta/apart"},
			[]string{"tcp 192.0.2.2:8080"}, "alpha/web",
		},
		{
			"a published port without docker-proxy", []string{"beta", "beta/web", "beta/peer", "beta/inhost", "beta/joiner", "stranger", "outsider", "alpha", "alpha/apart"},
			[]string{"tcp 192.0.2.3:8080", "udp 192.0.2.3:5353"}, "beta/web",
		},
		{
			"no published port without docker-proxy from another network of the host", []string{"beta/apart", "beta/plain", "beta/meshed"},
			[]string{"tcp 192.0.2.3:8080", "udp 192.0.2.3:5353", "tcp 172.17.0.1:8080", "tcp 172.20.0.1:8080"}, "",
		},
		{"a published UDP port from outside", []string{"alpha", "alpha/inhost", "stranger", "outsider", "beta", "beta/apart"}, []string{"udp 192.0.2.2:5353"}, "alpha/web"},
		// docker-proxy replies from the gateway, and who asked takes that for another.
		{
			"no published UDP port by docker-proxy at another address than the client's own gateway",
			[]string{"alpha/peer", "alpha/web", "alpha/apart", "alpha/plain", "alpha/meshed"}, []string{"udp 192.0.2.2:5353"}, "",
		},
		{"a UDP port published at one address, by docker-proxy", []string{"alpha/peer", "alpha/web", "alpha/apart", "alpha/plain"}, []string{"udp 192.0.2.2:5354"}, "alpha/web"},
		{"a published UDP port by docker-proxy at the client's own gateway", []string{"alpha/peer", "alpha/web"}, []string{"udp 172.20.0.1:5353"}, "alpha/web"},
		{"and that of another network", []string{"alpha/apart"}, []string{"udp 172.21.0.1:5353"}, "alpha/web"},

		{
			"no published port from an internal network", []string{"alpha/mate", "alpha/locked", "alpha/deeper", "beta/mate", "beta/deeper"},
			[]string{"tcp 192.0.2.2:8080", "tcp 192.0.2.3:8080", "tcp 172.22.0.1:8080", "tcp 172.17.0.1:8080", "tcp 172.17.0.1:9001", "udp 192.0.2.2:5353"}, "",
		},
		{"no other internal network", []string{"alpha/deeper"}, []string{"tcp 172.22.0.9:80"}, ""},
		{"nothing published of an internal network", []string{"alpha", "alpha/peer", "alpha/mate", "stranger"}, []string{"tcp 192.0.2.2:8090"}, ""},
		{
			"the node itself from everywhere, internal networks of its own too",
			[]string{"alpha", "alpha/peer", "alpha/apart", "alpha/plain", "alpha/locked", "alpha/mate", "alpha/deeper", "alpha/meshed", "stranger", "outsider", "beta", "beta/apart"},
			[]string{"tcp 192.0.2.2:3000", "udp 192.0.2.2:3001"}, "alpha/inhost",
		},
		{"no other node from an internal network", []string{"alpha/mate"}, []string{"tcp 192.0.2.3:3000", "tcp 192.0.2.3:8080"}, ""},
		{"the node at each of its addresses", []string{"alpha/peer", "alpha/mate"}, []string{"tcp 172.17.0.1:3000", "tcp 172.22.0.1:3000", "tcp 10.9.0.2:3000", "tcp 100.64.0.7:3000"}, "alpha/inhost"},

		{"a gateway leads to the host of who asks", []string{"alpha", "alpha/peer", "alpha/apart"}, []string{"tcp 172.17.0.1:9001", "tcp 172.17.0.1:8080"}, "alpha/web"},
		{"also from another host", []string{"beta", "beta/web", "beta/peer"}, []string{"tcp 172.17.0.1:9001", "tcp 172.17.0.1:8080"}, "beta/web"},
		{"a gateway is no address of the LAN", []string{"stranger", "outsider"}, []string{"tcp 172.17.0.1:9001", "tcp 172.20.0.1:8080", "tcp 192.0.2.2:9001"}, ""},
		{"a gateway of a network that the client isn't on", []string{"alpha/apart"}, []string{"tcp 172.20.0.1:8080", "tcp 172.22.0.1:8080"}, "alpha/web"},
		{"loopback is the host's own", []string{"alpha", "alpha/inhost"}, []string{"tcp 127.0.0.1:9002", "tcp 127.0.0.1:8080"}, "alpha/web"},
		{"loopback without docker-proxy", []string{"beta"}, []string{"tcp 127.0.0.1:9002", "tcp 127.0.0.1:8080"}, "beta/web"},
		{"loopback is no host's from a container", []string{"alpha/peer", "alpha/apart"}, []string{"tcp 127.0.0.1:9002", "tcp 127.0.0.1:8080"}, ""},

		{"a VPN's address from who has a route", []string{"alpha", "alpha/peer", "alpha/apart", "stranger"}, []string{"tcp 100.64.0.7:9000"}, "alpha/vpn"},
		{"no VPN's address without a route", []string{"outsider", "backhand", "beta", "beta/apart"}, []string{"tcp 100.64.0.7:9000"}, ""},
		{"what is published there nowhere else", []string{"alpha", "stranger", "alpha/peer"}, []string{"tcp 192.0.2.2:9000"}, ""},
		{"a second LAN", []string{"backhand", "alpha/apart"}, []string{"tcp 10.9.0.2:8080"}, "alpha/web"},
		{"not the first LAN from the second", []string{"backhand"}, []string{"tcp 192.0.2.2:8080"}, ""},
	})
	t.Run("an internal network publishes nothing", func(t *testing.T) {
		if p := s.client(t, "alpha/locked").Container.Inspect.NetworkSettings.Ports; len(p["80/tcp"]) != 0 {
			t.Errorf("published: %v", p)
		}
	})
	t.Run("the packet filter and the processes show docker-proxy", func(t *testing.T) {
		for _, h := range s.hosts {
			// From a bridge to its own published port, only with a proxy.
			skips := strings.Contains(h.IPTables(t, "nat"), "-j RETURN")
			if want := h == s.alpha; skips != want {
				t.Errorf("nat of %s has packets of bridges return: %v, want %v", h.Name, skips, want)
			}
		}
	})
}

// Docker publishes at IPv4 and IPv6 separately.
func (s *site) testFamilies(t *testing.T) {
	h := s.alpha
	h.Network(t, NetworkSpec{Name: "six", Subnets: []Subnet{{Prefix: "172.24.0.0/24"}, {Prefix: "fd00:24::/64"}}})
	// Docker hands out ports in order, and so both families the same, until one of
	// them has given one that the other hasn't.
	h.Run(t, Spec{Name: "four", Networks: []string{"app"}, TCP: []uint16{80}, Publish: []string{"0.0.0.0::80"}})
	made := h.RunAll(t,
		Spec{Name: "fixed", Networks: []string{"six"}, TCP: []uint16{80}, Publish: []string{"8060:80"}},
		Spec{Name: "random", Networks: []string{"six"}, TCP: []uint16{80}, PublishAll: true},
		Spec{Name: "sixpeer", Networks: []string{"six"}},
	)
	for _, c := range made[:2] {
		var four, six uint16
		for _, p := range c.Published("tcp", 80) {
			if p.Addr().Is4() {
				four = p.Port()
			} else {
				six = p.Port()
			}
		}
		// A port that was given is the same in both families, one of Docker's isn't.
		if same := !c.Spec.PublishAll; four == 0 || six == 0 || (four == six) != same {
			t.Errorf("%s is published at %d and, over IPv6, at %d", c, four, six)
		}
		for _, from := range []string{"stranger", "outsider", "alpha"} {
			expect(t, s.client(t, from), "tcp "+netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), four).String(), c.Name)
			expect(t, s.client(t, from), "tcp "+netip.AddrPortFrom(netip.MustParseAddr("fd00:2::2"), six).String(), c.Name)
		}
		own := c.Inspect.NetworkSettings.Networks["six"].GlobalIPv6Address
		expect(t, s.client(t, "alpha/sixpeer"), "tcp ["+own+"]:80", c.Name)
	}
}

// A macvlan is the LAN's, and not its host's.
func (s *site) testMACVLAN(t *testing.T) {
	s.need(t, "macvlan")
	lan := NetworkSpec{
		Name: "onlan", Driver: "macvlan", Parent: "eth0",
		Subnets: []Subnet{{Prefix: "192.0.2.0/24", Gateway: "192.0.2.1", Range: "192.0.2.64/28"}},
	}
	s.alpha.Network(t, lan)
	lan.Subnets[0].Range = "192.0.2.80/28"
	s.beta.Network(t, lan)
	vlan := s.alpha.Run(t, Spec{Name: "vlan", Networks: []string{"onlan"}, IP: "192.0.2.65", TCP: []uint16{80}, Publish: []string{"8050:80"}})
	s.alpha.Run(t, Spec{Name: "vlan2", Networks: []string{"onlan"}, IP: "192.0.2.66"})
	s.beta.Run(t, Spec{Name: "vlan", Networks: []string{"onlan"}, IP: "192.0.2.81"})
	at := []string{"tcp 192.0.2.65:80"}
	s.check(t, []reach{
		{"a macvlan from the LAN and beyond", []string{"stranger", "router", "outsider", "beta", "beta/apart", "alpha/vlan2", "beta/vlan"}, at, "alpha/vlan"},
		{"no macvlan from its own host", []string{"alpha", "alpha/inhost", "alpha/apart", "alpha/peer"}, at, ""},
		{"not the host from its macvlan", []string{"alpha/vlan"}, []string{"tcp 192.0.2.2:8080", "tcp 192.0.2.2:3000"}, ""},
		{"another host from a macvlan", []string{"alpha/vlan"}, []string{"tcp 192.0.2.3:8080"}, "beta/web"},
		{"nothing published", []string{"stranger", "alpha"}, []string{"tcp 192.0.2.2:8050"}, ""},
	})
	if p := vlan.Published("tcp", 80); len(p) != 0 {
		t.Errorf("published at %v", p)
	}
}

// An ipvlan is as a macvlan.
func (s *site) testIPVLAN(t *testing.T) {
	s.need(t, "ipvlan")
	s.beta.Network(t, NetworkSpec{
		Name: "ipvlan", Driver: "ipvlan", Parent: "eth0",
		Subnets: []Subnet{{Prefix: "192.0.2.0/24", Gateway: "192.0.2.1", Range: "192.0.2.96/28"}},
	})
	s.beta.Run(t, Spec{Name: "ipvlan", Networks: []string{"ipvlan"}, IP: "192.0.2.97", TCP: []uint16{80}})
	s.check(t, []reach{
		{"an ipvlan from the LAN", []string{"stranger", "alpha"}, []string{"tcp 192.0.2.97:80"}, "beta/ipvlan"},
		{"no ipvlan from its own host", []string{"beta"}, []string{"tcp 192.0.2.97:80"}, ""},
	})
}

// need skips where the kernel can't make what a driver makes. It is no want of
// this machine's Docker, so it is no failure where that is required.
func (s *site) need(t *testing.T, driver string) {
	t.Helper()
	if err := s.Missing(driver); err != nil {
		t.Skipf("no %s network: %v", driver, err)
	}
}

// An overlay is the same network on both hosts.
func (s *site) testOverlay(t *testing.T) {
	alpha, beta := s.client(t, "alpha/meshed").Container, s.client(t, "beta/meshed").Container
	at := func(c *Container) []string {
		return []string{"tcp " + netip.AddrPortFrom(c.Address(t, "mesh"), 80).String()}
	}
	s.check(t, []reach{
		{"an overlay from one host", []string{"alpha/meshed"}, at(beta), "beta/meshed"},
		{"an overlay from the other", []string{"beta/meshed"}, at(alpha), "alpha/meshed"},
		{"no overlay from its host or another network", []string{"alpha", "alpha/peer", "alpha/inhost", "beta", "stranger"}, at(alpha), ""},
		{"a published port of an overlay's container", []string{"alpha", "alpha/peer", "stranger", "outsider", "beta"}, []string{"tcp 192.0.2.2:8070"}, "alpha/meshed"},
	})
	t.Run("its other interface", func(t *testing.T) {
		if n := len(alpha.Inspect.NetworkSettings.Networks); n != 1 {
			t.Errorf("the container's inspect has %d networks, want 1", n)
		}
		if a := gatewaySide(t, alpha); a.String() == alpha.Address(t, "mesh").String() {
			t.Errorf("the container has %s on both", a)
		}
	})
}

// A container that restarts is followed into its new namespace.
func (s *site) testRestart(t *testing.T) {
	c := s.alpha.Run(t, Spec{Name: "again", Networks: []string{"app"}, TCP: []uint16{80}})
	before := c.netns.path
	c.Restart(t)
	if c.netns.path == before {
		t.Fatalf("still in %s", before)
	}
	expect(t, &c.Client, "tcp 172.20.0.9:80", "alpha/web")
	expect(t, s.client(t, "alpha/peer"), "tcp "+netip.AddrPortFrom(c.Address(t, "app"), 80).String(), c.Name)
}
