package hosts

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/network"
)

// site is a lab that most tests can use: two hosts on a LAN, one of which has a
// second LAN and an address of a VPN, a stranger beside them and one behind a
// router.
type site struct {
	*Lab
	lan, back, outside *LAN
	// alpha is as Docker comes. beta has no docker-proxy.
	alpha, beta *Host
	// router is between the LAN and outside. stranger is on the LAN and has a
	// route to alpha's VPN; backhand is on the second LAN alone.
	router, stranger, outsider, backhand *Machine
}

func newSite(t *testing.T) *site {
	t.Helper()
	l := New(t)
	s := &site{
		Lab:     l,
		lan:     l.LAN(t, "lan", "192.0.2.0/24", "fd00:2::/64"),
		back:    l.LAN(t, "back", "10.9.0.0/24"),
		outside: l.LAN(t, "outside", "198.51.100.0/24", "fd00:51::/64"),
	}
	s.router = l.Machine(t, "router", On(s.lan, "192.0.2.1", "fd00:2::1"), On(s.outside, "198.51.100.1", "fd00:51::1"), Forwarding())
	s.stranger = l.Machine(t, "stranger", On(s.lan, "192.0.2.9", "fd00:2::9"), Default("192.0.2.1"), Route("100.64.0.7/32", "192.0.2.2"))
	s.outsider = l.Machine(t, "outsider", On(s.outside, "198.51.100.7", "fd00:51::7"), Default("198.51.100.1"), Default("fd00:51::1"))
	s.backhand = l.Machine(t, "backhand", On(s.back, "10.9.0.9"))
	s.alpha = l.Host(t, "alpha", On(s.lan, "192.0.2.2", "fd00:2::2"), On(s.back, "10.9.0.2"), Address("100.64.0.7/32", "lo"),
		Default("192.0.2.1"), Default("fd00:2::1"))
	s.beta = l.Host(t, "beta", On(s.lan, "192.0.2.3", "fd00:2::3"), Default("192.0.2.1"), Default("fd00:2::1"),
		Engine(`{"userland-proxy": false}`))
	return s
}

// TestHosts has one site for all, since an engine takes seconds.
func TestHosts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	Swarm(t, "192.0.2.2", s.alpha, s.beta)
	s.alpha.Network(t, NetworkSpec{Name: "mesh", Driver: "overlay", Subnets: []Subnet{{Prefix: "10.20.0.0/24"}}})
	var all, joiners []Placed
	for _, h := range s.hosts {
		for _, spec := range furniture(t, h) {
			all = append(all, Placed{h, spec})
		}
		joiners = append(joiners, Placed{h, Spec{Name: "joiner", Networks: []string{"container:web"}, TCP: []uint16{82}}})
	}
	s.RunAll(t, all...)
	s.RunAll(t, joiners...)
	t.Run("Reach", s.testReach)
	t.Run("Families", s.testFamilies)
	t.Run("MACVLAN", s.testMACVLAN)
	t.Run("IPVLAN", s.testIPVLAN)
	t.Run("Overlay", s.testOverlay)
	t.Run("SeenAs", s.testSeenAs)
	t.Run("SeenAsByContainer", s.testSeenAsByContainer)
	t.Run("Forwarder", s.testForwarder)
	t.Run("Restart", s.testRestart)
	t.Run("Draw", s.testDraw)
	rack := s.Rack(t)
	rack.Settle(t)
	t.Run("Told", func(t *testing.T) { s.testTold(t, rack) })
	t.Run("Storm", func(t *testing.T) { s.testStorm(t, rack) })
	t.Run("Rows", func(t *testing.T) { s.testRows(t, rack) })
	t.Run("Mesh", func(t *testing.T) { s.testMesh(t, rack) })
}

// furniture are a host's containers, nearly the same on each; it makes their
// networks.
func furniture(t *testing.T, h *Host) []Spec {
	t.Helper()
	for _, n := range []NetworkSpec{
		{Name: "app", Subnets: []Subnet{{Prefix: "172.20.0.0/24"}}},
		{Name: "other", Subnets: []Subnet{{Prefix: "172.21.0.0/24"}}},
		{Name: "inner", Internal: true, Subnets: []Subnet{{Prefix: "172.22.0.0/24"}}},
		{Name: "deep", Internal: true, Subnets: []Subnet{{Prefix: "172.23.0.0/24"}}},
	} {
		h.Network(t, n)
	}
	all := []Spec{
		{
			Name: "web", Networks: []string{"app"}, IP: "172.20.0.9", TCP: []uint16{80, 81}, UDP: []uint16{53},
			Publish: []string{"8080:80", "5353:53/udp", lanAddress(h) + ":5354:53/udp", "172.17.0.1:9001:81", "127.0.0.1:9002:81"},
		},
		{Name: "peer", Networks: []string{"app"}},
		{Name: "apart", Networks: []string{"other"}},
		{Name: "plain"},
		{Name: "mate", Networks: []string{"inner"}},
		{Name: "deeper", Networks: []string{"deep"}},
		{Name: "inhost", Networks: []string{"host"}, TCP: []uint16{3000}, UDP: []uint16{3001}},
		{Name: "meshed", Networks: []string{"mesh"}, TCP: []uint16{80}, Publish: []string{"8070:80"}},
	}
	if h.Name == "alpha" {
		all = append(all, []Spec{
			{Name: "vpn", Networks: []string{"app"}, TCP: []uint16{80}, Publish: []string{"100.64.0.7:9000:80"}},
			{Name: "locked", Networks: []string{"inner"}, IP: "172.22.0.9", TCP: []uint16{80}, Publish: []string{"8090:80"}},
			{Name: "alone", Networks: []string{"none"}, TCP: []uint16{80}},
		}...)
	}
	return all
}

// lanAddress is a host's IPv4 address on the LAN.
func lanAddress(h *Host) string { return h.source().String() }

// client finds one by its name: a machine's, or HOST/CONTAINER.
func (s *site) client(t *testing.T, name string) *Client {
	t.Helper()
	for _, m := range s.machines {
		if m.Name == name {
			return &m.Client
		}
	}
	for _, h := range s.hosts {
		for _, c := range h.containers {
			if c.Name == name {
				return &c.Client
			}
		}
	}
	t.Fatalf("nobody is called %s", name)
	return nil
}

// expect has a client dial "tcp 192.0.2.2:8080", and wants that container there,
// or nobody. What must answer may be asked again: a datagram may be lost, and
// the machine be busy.
func expect(t *testing.T, from *Client, to, want string) {
	t.Helper()
	proto, at, _ := strings.Cut(to, " ")
	id, err := from.Dial(proto, netip.MustParseAddrPort(at))
	for range 5 {
		if err == nil || want == "" {
			break
		}
		id, err = from.Dial(proto, netip.MustParseAddrPort(at))
	}
	if id != want {
		t.Errorf("%s finds %q at %s, want %q (%v)", from, id, to, want, err)
	}
}

// reach is a statement: who of the clients finds whom at an address. Nobody is
// the empty name.
type reach struct {
	// what is stated.
	what string
	// from are clients, to are PROTOCOL ADDRESS:PORT.
	from []string
	to   []string
	want string
}

// check dials all at a time: what is dropped takes long.
func (s *site) check(t *testing.T, statements []reach) {
	t.Helper()
	for _, r := range statements {
		t.Run(r.what, func(t *testing.T) {
			var wg sync.WaitGroup
			for _, name := range r.from {
				from := s.client(t, name)
				for _, to := range r.to {
					wg.Go(func() { expect(t, from, to, r.want) })
				}
			}
			wg.Wait()
		})
	}
}

// gatewaySide is the address of an overlay's container on docker_gwbridge. Its
// own inspect has none; the network's has, as that of an endpoint named by the
// container's sandbox.
func gatewaySide(t *testing.T, c *Container) netip.Addr {
	t.Helper()
	gw, err := c.Node.Engine.Client.NetworkInspect(t.Context(), "docker_gwbridge", network.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	name := "gateway_" + c.Inspect.NetworkSettings.SandboxID[:12]
	for id, e := range gw.Containers {
		if e.Name == name {
			if id != c.Inspect.ID {
				t.Errorf("the endpoint %s of %s is told as of the container %s", name, c, id)
			}
			return netip.MustParsePrefix(e.IPv4Address).Addr()
		}
	}
	t.Fatalf("docker_gwbridge has no endpoint %s: %v", name, gw.Containers)
	return netip.Addr{}
}
