package rack

import (
	"net"
	"net/netip"
	"slices"

	"github.com/rackdns/rackdns/internal/index"
)

// A rack has a DNS server on each node, as a rule, and none of them knows the
// others: what a registry has are agents. So each one is its zone's only name
// server, by the addresses that it has itself. They are the same in the answer to
// NS, in that for the server's own name, and in a zone transfer, whoever asks.

// ownAddrs are the addresses of this server: those that it listens on, if that
// isn't all of them; else those by which its node is known to others; else those
// of its interfaces.
func (r *Rack) ownAddrs(s *index.Snapshot) []netip.Addr {
	if len(r.nsAddrs) > 0 {
		return r.nsAddrs
	}
	if n := s.Nodes()[r.config.Options.Node]; n != nil && len(n.Addresses) > 0 {
		return firstOfEach(n.Addresses)
	}
	return r.ifAddrs
}

// boundAddrs returns the addresses a server listens on, none if that is all of
// them. Loopback counts only where there is nothing else: it leads others to
// themselves.
func boundAddrs(hosts []string) []netip.Addr {
	var ips, loopback []netip.Addr
	for _, h := range hosts {
		ip, err := netip.ParseAddr(h)
		switch ip = ip.Unmap().WithZone(""); {
		case err != nil:
		case ip.IsUnspecified():
			return nil
		case ip.IsLoopback():
			loopback = append(loopback, ip)
		default:
			ips = append(ips, ip)
		}
	}
	if len(ips) == 0 {
		return loopback
	}
	return ips
}

// interfaceAddrs returns the host's own address of each family, that of the first
// interface that has one which others can use; loopback if none has.
func interfaceAddrs() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var ips, loopback []netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		switch ip := p.Addr().Unmap(); {
		case err != nil:
		case ip.IsLoopback():
			loopback = append(loopback, ip)
		case ip.IsGlobalUnicast():
			ips = append(ips, ip)
		}
	}
	if len(ips) == 0 {
		ips = loopback
	}
	return firstOfEach(ips)
}

// firstOfEach returns the first address of each family.
func firstOfEach(all []netip.Addr) []netip.Addr {
	var ips []netip.Addr
	for _, ip := range all {
		if !slices.ContainsFunc(ips, func(o netip.Addr) bool { return o.Is4() == ip.Is4() }) {
			ips = append(ips, ip)
		}
	}
	return ips
}
