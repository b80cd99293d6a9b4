package index

import (
	"net/netip"
	"slices"
	"sort"
	"unique"

	"github.com/rackdns/rackdns/internal/registry"
)

// setPorts takes over the ports and chooses the host endpoint.
func (i *Instance) setPorts(r *registry.Instance) {
	own := i.Ports()
	for n, p := range r.Ports {
		own[n] = Port{name: unique.Make(p.Name), Container: p.Container, UDP: p.Protocol == registry.UDP}
	}
	v4, ports := busiest(r, netip.Addr.Is4)
	v6, ports6 := busiest(r, netip.Addr.Is6)
	switch {
	case v4.IsValid():
		i.host.add(v4)
		// A target has one port for both families, so the second family is
		// only there if it is published alike.
		if v6.IsValid() && slices.Equal(ports, ports6) {
			i.host.add(v6)
		}
	case v6.IsValid():
		i.host.add(v6)
		ports = ports6
	default:
		return
	}
	for n := range own {
		own[n].Host = ports[n]
	}
}

// busiest returns the address of one family on which most ports are published,
// and the published port for each port, 0 where there is none. All ports of a
// host endpoint are on one address, since its name can have only one: a port
// that is published on another one alone is left out.
func busiest(r *registry.Instance, family func(netip.Addr) bool) (netip.Addr, []uint16) {
	byAddr := map[netip.Addr][]uint16{}
	for n, p := range r.Ports {
		for _, b := range p.Bindings {
			if !family(b.IP) {
				continue
			}
			if byAddr[b.IP] == nil {
				byAddr[b.IP] = make([]uint16, len(r.Ports))
			}
			if at := &byAddr[b.IP][n]; *at == 0 || b.Port < *at {
				*at = b.Port
			}
		}
	}
	addrs := make([]netip.Addr, 0, len(byAddr))
	count := func(a netip.Addr) (n int) {
		for _, p := range byAddr[a] {
			if p != 0 {
				n++
			}
		}
		return n
	}
	for a := range byAddr {
		addrs = append(addrs, a)
	}
	if len(addrs) == 0 {
		return netip.Addr{}, nil
	}
	sort.Slice(addrs, func(x, y int) bool {
		a, b := addrs[x], addrs[y]
		if count(a) != count(b) {
			return count(a) > count(b)
		}
		if (a == r.Host) != (b == r.Host) {
			return a == r.Host
		}
		return a.Less(b)
	})
	return addrs[0], byAddr[addrs[0]]
}
