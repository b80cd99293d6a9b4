package hosts

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// server is the one that answers a client, the nearest first; not valid if none
// does.
func (s *site) server(rack *Rack, c *Client) netip.AddrPort {
	first, _ := s.asks(c)
	all := []netip.AddrPort{first}
	if c.Container != nil && !isHost(c) {
		for _, gw := range gateways(c) {
			all = append(all, netip.AddrPortFrom(gw, rackPort))
		}
	}
	for _, h := range s.hosts {
		all = append(all, lanServer(h))
	}
	for _, at := range all {
		if _, err := c.Resolve("tcp", at, rack.Zone, dns.TypeSOA); err == nil {
			return at
		}
	}
	return netip.AddrPort{}
}

// What a client is told answers when it dials it, and is the instance that it
// was told; what is left out couldn't be reached.
func (s *site) testTold(t *testing.T, rack *Rack) {
	t.Helper()
	// The same scenes each time, unless others are asked for: what is drawn may
	// be a host that nobody has thought of.
	first := *seed
	if first == 0 {
		first = 31404
	}
	for i := range uint64(*draws) {
		t.Run(fmt.Sprintf("seed=%d", first+i), func(t *testing.T) {
			s.tells(t, rack, s.Draw(t, first+i, Size{Networks: 3, Containers: 4}))
		})
	}
}

func (s *site) tells(t *testing.T, rack *Rack, scene *Scene) {
	t.Helper()
	rack.Settle(t)
	facts := map[string][]Fact{}
	key := func(c *Client, i *Container, proto string, port uint16) string {
		return fmt.Sprintf("%s %s %s %d", c, i.ID, proto, port)
	}
	for _, f := range scene.Facts {
		k := key(f.Client, f.Instance, f.Proto, f.Port)
		facts[k] = append(facts[k], f)
	}
	var checked, left, deaf int
	var mu sync.Mutex
	eachAtOnce(scene.Clients, func(_ int, c *Client) {
		server := s.server(rack, c)
		if !server.IsValid() {
			mu.Lock()
			deaf++
			mu.Unlock()
			return
		}
		for _, i := range scene.Instances {
			for proto, ports := range map[string][]uint16{"tcp": i.Spec.TCP, "udp": i.Spec.UDP} {
				for _, port := range ports {
					all, err := rack.Told(c, server, i, proto, port)
					if err != nil {
						t.Errorf("%s asks %s: %v", c, server, err)
						continue
					}
					for _, at := range all {
						f := s.Reach(c, Endpoint{Instance: i, Proto: proto, Port: port, At: at})
						if !f.Reachable && !hasNoWay(f) { // the machine may be busy
							f = s.Reach(c, f.Endpoint)
						}
						if !f.Reachable && !hasNoWay(f) && !s.beyond(c, i, at.Addr()) {
							t.Errorf("%s, asking %s, is told port %d/%s of %s, on %v, at %s: %s", describe(c), server, port, proto, i, i.Spec.Networks, at, f)
						}
					}
					mu.Lock()
					checked += len(all)
					mu.Unlock()
					if len(all) > 0 || proto == "udp" || c.Container != nil && c.Container.owner() == i.owner() {
						continue
					}
					for _, f := range facts[key(c, i, proto, port)] {
						if f.Reachable && (rules{s}).expects(c, f.Endpoint) != unknown && !s.unsaid(c, f) {
							t.Errorf("%s, asking %s, is not told of %s port %d/%s on %v, and reaches %s", describe(c), server, i, port, proto, i.Spec.Networks, f)
						}
					}
					mu.Lock()
					left++
					mu.Unlock()
				}
			}
		}
	})
	t.Logf("%d clients, %d of which reach no server; %d endpoints told, %d left out", len(scene.Clients), deaf, checked, left)
	if checked == 0 || left == 0 {
		t.Error("that says nothing")
	}
}

// hasNoWay is true where the client itself has no route there, or no address of
// that family: that is for its resolver to know.
func hasNoWay(f Fact) bool {
	return errors.Is(f.Err, unix.ENETUNREACH) || errors.Is(f.Err, unix.EADDRNOTAVAIL)
}

// beyond is true for an address that is right as far as anybody can know who
// tells it.
func (s *site) beyond(c *Client, i *Container, a netip.Addr) bool {
	r := rules{s}
	switch {
	case c.Node == nil && !r.onLAN(a), c.Node != nil && !r.onLAN(a) && !slices.Contains(c.Node.Addresses(s.t), a):
		// Only those reach it who have a way there, as to a VPN.
		return true
	}
	// Nothing masquerades a container's IPv6, and the LAN may know a way back.
	return a.Is6() && c.Container != nil && !isHost(c) && c.Node != i.Node
}

// unsaid is true for what is reachable and not told, since it is by no rule.
func (s *site) unsaid(c *Client, f Fact) bool {
	r := rules{s}
	return f.At.Addr().IsLoopback() && f.Bound != f.At.Addr() ||
		// Docker lets nobody expose a port of a container in another's namespace.
		f.Instance != f.Instance.owner() ||
		// The LAN leads there, which is for routable to say.
		f.Via == ViaContainer && r.driver(f.Instance.Node, f.Network) == "macvlan" && c == &s.outsider.Client
}
