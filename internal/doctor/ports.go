package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// checkPorts looks who has the port that everybody asks, at the addresses by which
// this host and its containers ask.
func checkPorts(_ context.Context, s *scene) []Result {
	at := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	at = append(at, s.gateways()...)
	var found []Result
	var have []string
	servers := s.servers()
	for _, ip := range at {
		addr := netip.AddrPortFrom(ip, dnsPort)
		n := slices.IndexFunc(s.sockets, func(k socket) bool { return k.covers(addr) })
		if n < 0 {
			continue
		}
		k := &s.sockets[n]
		ours := slices.ContainsFunc(servers, func(v server) bool {
			return v.at == addr || v.socket == k || v.socket != nil && v.socket.addr == k.addr
		})
		switch {
		case ours:
			have = append(have, addr.String())
		case k.program == ourProgram:
			found = append(found, warned("give each rack's server addresses of its own, or have one forward to the other", "port 53 at %s is another rack's: %s", ip, k.owner()))
		default:
			found = append(found, warned("have it listen elsewhere, or forward the zone "+s.zone+" to ours (docs/doctor.md, forwarder)", "port 53 at %s is taken by %s", ip, k.owner()))
		}
	}
	if len(found) == 0 && len(have) == 0 && len(servers) > 0 {
		return []Result{warned("have it listen there, too: standalone --dns 172.17.0.1:53, or bind in the Corefile", "no server of the rack has port 53 of this host, which is the only one that containers and libraries ask; there is one at %s", servers[0].at)}
	}
	if len(have) == 0 {
		return orPassed(found, "port 53 of this host is free")
	}
	return orPassed(found, "port 53 is ours at %s", some(have))
}

// gateways are this host's addresses on the networks of its engine, as its agent
// tells them.
func (s *scene) gateways() []netip.Addr {
	snapshot, err := s.picture()
	if err != nil {
		return nil
	}
	n := snapshot.Nodes()[s.here()]
	if n == nil {
		return nil
	}
	var all []netip.Addr
	for _, w := range n.Networks {
		if !w.Internal && s.looksInto(w.Name) {
			all = append(all, w.Gateways...)
		}
	}
	return all
}

// looksInto reports whether a network is one of those that are looked at.
func (s *scene) looksInto(network string) bool {
	return len(s.cfg.Networks) == 0 || slices.Contains(s.cfg.Networks, network)
}

// stanza is what a forwarder has to be told so that it asks one of ours.
func (s *scene) stanza() string {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsPort)
	if servers := s.servers(); len(servers) > 0 {
		at = servers[0].at
	}
	return fmt.Sprintf("dnsmasq: server=/%s/%s#%d; unbound: forward-zone with name: %q and forward-addr: %[2]s@%[3]d", s.zone, at.Addr(), at.Port(), strings.TrimSuffix(s.apex(), "."))
}
