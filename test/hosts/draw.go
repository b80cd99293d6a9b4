package hosts

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Size is how much Draw makes on each host.
type Size struct{ Networks, Containers int }

// Scene is what Draw made, and what came of dialling it.
type Scene struct {
	// Clients are the lab's machines and the containers.
	Clients   []*Client
	Instances []*Container
	// Views are what the hosts' agents could know at that time.
	Views []View
	// Facts has one of each client with each endpoint of each instance.
	Facts []Fact
}

// Draw makes networks and containers with publications at random on every host
// of the lab, which go when the test ends, and dials everything from everywhere.
// Equal seeds draw equally on equal labs.
func (l *Lab) Draw(t *testing.T, seed uint64, size Size) *Scene {
	t.Helper()
	d := &draw{Lab: l, Rand: rand.New(rand.NewPCG(seed, 0)), seed: seed}
	if len(l.swarm) > 0 && d.one(2) {
		d.overlay = fmt.Sprintf("ov%d", seed)
		l.swarm[0].Network(t, NetworkSpec{Name: d.overlay, Driver: "overlay"})
	}
	s := new(Scene)
	for _, m := range l.machines {
		s.Clients = append(s.Clients, &m.Client)
	}
	var first, joiners []Placed
	for i, h := range l.hosts {
		f, j := d.host(t, i, h, size)
		first, joiners = append(first, f...), append(joiners, j...)
	}
	s.Instances = append(l.RunAll(t, first...), l.RunAll(t, joiners...)...)
	var endpoints []Endpoint
	for _, c := range s.Instances {
		s.Clients = append(s.Clients, &c.Client)
		endpoints = append(endpoints, c.Endpoints(t)...)
	}
	for _, h := range l.hosts {
		s.Views = append(s.Views, h.View(t))
	}
	s.Facts = l.Facts(s.Clients, endpoints)
	return s
}

// draw is one in the making.
type draw struct {
	*Lab
	*rand.Rand

	seed    uint64
	overlay string
	// port is the last fixed one that was published or taken on a host's network.
	port uint16
}

// one is true once in n times.
func (d *draw) one(n int) bool { return d.IntN(n) == 0 }

// host draws what is on one, of which the joiners come last.
func (d *draw) host(t *testing.T, index int, h *Host, size Size) (first, joiners []Placed) {
	t.Helper()
	d.port = 20000
	// The machine's own, and the gateways that it has already. Those to come, if
	// they are IPv6, are not in use before there is a container on their network.
	addresses := h.Addresses(t)
	networks := []string{"bridge"}
	if d.overlay != "" && d.inSwarm(h) {
		networks = append(networks, d.overlay)
	}
	for i := range size.Networks {
		spec := d.network(index, i)
		n := h.Network(t, spec)
		networks = append(networks, spec.Name)
		if gw, err := netip.ParseAddr(n.gateway(t)); err == nil && gw.Is4() && spec.Driver == "" {
			addresses = append(addresses, gw)
		}
	}
	for i := range size.Containers {
		spec := d.container(i, networks, addresses)
		if len(first) > 0 && first[0].Networks[0] != "host" && d.one(8) {
			spec.Networks, spec.Publish, spec.PublishAll = []string{"container:" + first[0].Name}, nil, false
			spec.TCP, spec.UDP = []uint16{uint16(900 + i)}, nil
			// Docker has it expose none.
			spec.Labels = map[string]string{fmt.Sprintf("rackdns.port.%d", 900+i): ""}
			joiners = append(joiners, Placed{h, spec})
			continue
		}
		first = append(first, Placed{h, spec})
	}
	return first, joiners
}

func (d *draw) inSwarm(h *Host) bool {
	for _, s := range d.swarm {
		if s == h {
			return true
		}
	}
	return false
}

// network draws one. Its subnets are no other's in the lab, but in the other
// hosts: what is on one host only, each host may have.
func (d *draw) network(host, i int) NetworkSpec {
	spec := NetworkSpec{
		Name:    fmt.Sprintf("n%d-%d", d.seed, i),
		Subnets: []Subnet{{Prefix: fmt.Sprintf("10.%d.%d.0/24", 100+i, d.IntN(2)*(host+1))}},
	}
	switch d.IntN(5) {
	case 0:
		spec.Internal = true
	case 1:
		spec.Subnets = append(spec.Subnets, Subnet{Prefix: fmt.Sprintf("fd00:%d:%d::/64", 100+host, i)})
	case 2:
		// One for a parent, in a range of its own out of the LAN.
		if lan := d.lans[0].prefixes[0]; i == 0 && lan.Addr().Is4() && lan.Bits() == 24 && d.hosts[0].canMake("macvlan") == nil {
			a := lan.Addr().As4()
			a[3] = byte(128 + 16*host)
			spec.Driver, spec.Parent = "macvlan", "eth0"
			// A LAN's router has its first address.
			spec.Subnets = []Subnet{{Prefix: lan.String(), Gateway: lan.Addr().Next().String(), Range: netip.PrefixFrom(netip.AddrFrom4(a), 28).String()}}
		}
	}
	return spec
}

// container draws one.
func (d *draw) container(i int, networks []string, addresses []netip.Addr) Spec {
	spec := Spec{
		Name: fmt.Sprintf("c%d-%d", d.seed, i), TCP: []uint16{80},
		Networks: []string{networks[d.IntN(len(networks))]},
	}
	if d.one(2) {
		spec.TCP = append(spec.TCP, 81)
	}
	if d.one(3) {
		spec.UDP = []uint16{53}
	}
	switch d.IntN(16) {
	case 0, 1:
		d.port++
		spec.Networks, spec.TCP, spec.UDP = []string{"host"}, []uint16{d.port}, nil
		return spec
	case 2:
		spec.Networks = []string{"none"}
		return spec
	case 3, 4:
		spec.PublishAll = true
		return spec
	case 5, 6, 7:
		if other := networks[d.IntN(len(networks))]; other != spec.Networks[0] {
			spec.Networks = append(spec.Networks, other)
		}
	}
	for _, p := range spec.TCP {
		if d.one(2) {
			spec.Publish = append(spec.Publish, d.publication(p, "tcp", addresses))
		}
	}
	for _, p := range spec.UDP {
		spec.Publish = append(spec.Publish, d.publication(p, "udp", addresses))
	}
	return spec
}

// publication draws where a port is published: at all addresses or one of the
// node's, loopback and Docker's gateways among them, at a port given or not.
func (d *draw) publication(port uint16, proto string, addresses []netip.Addr) string {
	var ip, at string
	if d.one(2) {
		addr := addresses[d.IntN(len(addresses))]
		ip = addr.String() + ":"
		if addr.Is6() {
			ip = "[" + addr.String() + "]:"
		}
	}
	if !d.one(3) {
		d.port++
		at = fmt.Sprint(d.port)
	}
	if ip != "" || at != "" {
		at += ":"
	}
	return fmt.Sprintf("%s%s%d/%s", ip, at, port, proto)
}
