package doctor

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/resolve"
)

// nameservers returns the servers that a resolv.conf names, in their order
// (resolv.conf(5)).
func nameservers(file string) ([]netip.Addr, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if ip, err := netip.ParseAddr(fields[1]); err == nil {
			all = append(all, ip.Unmap())
		}
	}
	return all, nil
}

// resolvConf is where this host says whom it asks.
func (s *scene) resolvConf() string {
	if s.cfg.ResolvConf != "" {
		return s.cfg.ResolvConf
	}
	return "/etc/resolv.conf"
}

// leads says in words whether who asks a server is led to the rack; empty if so.
func (s *scene) leads(ctx context.Context, d dial, ip netip.Addr) string {
	m, _, err := d.ask(ctx, "udp", netip.AddrPortFrom(ip, dnsPort), question{name: s.apex(), qtype: dns.TypeSOA})
	switch {
	case err != nil:
		return noAnswer(err)
	case !knows(m, s.apex()):
		return "it says " + says(m)
	}
	return ""
}

func checkResolvConf(ctx context.Context, s *scene) []Result {
	file := s.resolvConf()
	all, err := nameservers(file)
	if err != nil {
		return skipped("whom this host asks: %s", err)
	}
	if len(all) == 0 {
		return []Result{warned("name one (nameserver)", "%s names no DNS server", file)}
	}
	why := s.leads(ctx, fromHere, all[0])
	if why == "" {
		return passed("%s of %s leads to %s", all[0], file, s.zone)
	}
	next := "have it forward the zone to a server of the rack (" + s.stanza() + "), or name one of the rack's servers that listens at port 53 first"
	for _, ip := range all[1:] {
		if s.leads(ctx, fromHere, ip) == "" {
			return []Result{warned("name it first, since others are asked only where the first doesn't answer at all", "%s of %s leads to %s, but %s, which is asked first, doesn't: %s", ip, file, s.zone, all[0], why)}
		}
	}
	return []Result{warned(next, "this host doesn't find the rack's names: %s of %s doesn't lead to %s: %s", all[0], file, s.zone, why)}
}

// forwarders are the servers on this host's way, or on it, that aren't ours.
func (s *scene) forwarders() []netip.Addr {
	var all []netip.Addr
	add := func(ip netip.Addr) {
		at := netip.AddrPortFrom(ip, dnsPort)
		ours := slices.ContainsFunc(s.servers(), func(v server) bool { return v.at == at || v.socket != nil && v.socket.covers(at) })
		if !ours && !slices.Contains(all, ip) {
			all = append(all, ip)
		}
	}
	if named, err := nameservers(s.resolvConf()); err == nil {
		for _, ip := range named {
			add(ip)
		}
	}
	if s.cfg.ResolvConf == "" {
		for n := range s.sockets {
			if k := &s.sockets[n]; k.addr.Port() == dnsPort && k.program != ourProgram {
				add(k.reached().Addr())
			}
		}
	}
	return all
}

// checkForwarder asks by way of the forwarders for what they are known to spoil.
func checkForwarder(ctx context.Context, s *scene) []Result {
	all := s.forwarders()
	var found []Result
	var good []string
	for _, ip := range all {
		m, _, err := dial(fromHere).ask(ctx, "udp", netip.AddrPortFrom(ip, dnsPort), question{name: s.apex(), qtype: dns.TypeSOA})
		if err != nil || m.Rcode != dns.RcodeServerFailure && !knows(m, s.apex()) {
			continue // it doesn't forward the zone, which is another check's
		}
		if spoilt := s.spoilt(ctx, ip, m); len(spoilt) > 0 {
			found = append(found, spoilt...)
		} else {
			good = append(good, ip.String())
		}
	}
	if len(found) == 0 && len(good) == 0 {
		return skipped("forwarders: none on this host's way leads to %s", s.zone)
	}
	return orPassed(found, "%s: addresses, failures and spelling come through", some(good))
}

// spoilt says what a forwarder spoils that answered m for the zone.
func (s *scene) spoilt(ctx context.Context, ip netip.Addr, m *dns.Msg) []Result {
	at := netip.AddrPortFrom(ip, dnsPort)
	if m.Rcode == dns.RcodeServerFailure {
		u, _, err := dial(fromHere).ask(ctx, "udp", at, question{name: s.apex(), qtype: dns.TypeSOA, unchecked: true})
		if err == nil && knows(u, s.apex()) {
			return []Result{failed("tell it that the zone isn't signed (unbound: domain-insecure: \""+s.zone+"\"; dnsmasq: no --dnssec, or a server of its own for the zone; systemd-resolved: DNSSEC=allow-downgrade)",
				"forwarder %s validates DNSSEC and believes no answer for %s: it says SERVFAIL, but the answer if it isn't to check", ip, s.zone)}
		}
		return []Result{failed("look whether it reaches a server of the rack: "+s.stanza(), "forwarder %s answers SERVFAIL for %s", ip, s.zone)}
	}
	var found []Result
	if name, want := s.someAddress(ctx); name != "" {
		switch r, _, err := dial(fromHere).ask(ctx, "udp", at, question{name: name, qtype: dns.TypeA}); {
		case err != nil:
			found = append(found, failed("see its log", "forwarder %s: A of %s: %s", ip, name, noAnswer(err)))
		case len(addresses(r)) == 0:
			found = append(found, failed("allow the zone private addresses (dnsmasq: rebind-domain-ok=/"+s.zone+"/, and rebind-localhost-ok; unbound: private-domain: \""+s.zone+"\")",
				"forwarder %s filters against rebinding: it drops %s from the answer for %s", ip, want, name))
		}
	}
	mixed := mixedCase(s.apex())
	r, _, err := dial(fromHere).ask(ctx, "udp", at, question{name: mixed, qtype: dns.TypeSOA})
	if err == nil && len(r.Question) == 1 && r.Question[0].Name != mixed {
		found = append(found, warned("use one that doesn't change names: resolvers that compare the spelling (0x20) drop its answers", "forwarder %s changes the spelling of names: asked for %s it answers for %s", ip, mixed, r.Question[0].Name))
	} else if err == nil && !knows(r, s.apex()) {
		found = append(found, warned("use one that takes upper case for lower", "forwarder %s doesn't find %s: it says %s", ip, mixed, says(r)))
	}
	return found
}

// someAddress returns a name of which a server of ours tells this host a private
// address, and that; empty if there is no server.
func (s *scene) someAddress(ctx context.Context) (name, addr string) {
	servers := s.servers()
	if len(servers) == 0 {
		return "", ""
	}
	var names []string
	if snapshot, err := s.picture(); err == nil {
		names = someServices(snapshot)
	}
	// The server's own name is always there.
	for _, n := range append(names, "ns.dns") {
		full := dns.Fqdn(n + "." + s.zone)
		m, _, err := dial(fromHere).ask(ctx, "udp", servers[0].at, question{name: full, qtype: dns.TypeA})
		if err != nil {
			continue
		}
		for _, ip := range addresses(m) {
			if ip.IsPrivate() || n == "ns.dns" && ip.IsLoopback() {
				return full, ip.String()
			}
		}
	}
	return "", ""
}

func addresses(m *dns.Msg) []netip.Addr {
	var all []netip.Addr
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			if ip, ok := netip.AddrFromSlice(a.A.To4()); ok {
				all = append(all, ip)
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// mixedCase is a name in another spelling.
func mixedCase(name string) string {
	b := []byte(name)
	for n := range b {
		if n%2 == 0 && 'a' <= b[n] && b[n] <= 'z' {
			b[n] -= 'a' - 'A'
		}
	}
	return string(b)
}

// checkForwarderClients looks whether those who ask forwarders of this host are
// taken for the host itself.
func checkForwarderClients(ctx context.Context, s *scene) []Result {
	var others []netip.Addr
	for _, ip := range s.forwarders() {
		if s.servesOthers(ip) && s.leads(ctx, fromHere, ip) == "" {
			others = append(others, ip)
		}
	}
	if len(others) == 0 {
		return passed("no forwarder on this host that others reach leads to %s", s.zone)
	}
	name, _, _ := s.telling()
	if name == "" && slices.ContainsFunc(s.cfg.Options.Forwarders, func(p netip.Prefix) bool { return p.Addr().IsLoopback() }) {
		return passed("who asks from loopback is a stranger (--forwarders)")
	}
	if name == "" {
		return skipped("whom forwarders' clients are taken for: no service is told to this host in another way than to others")
	}
	var found []Result
	for _, ip := range others {
		found = append(found, s.checkClientsOf(ctx, ip)...)
	}
	return orPassed(found, "forwarders' clients are strangers, or told apart")
}

// servesOthers reports whether a forwarder of this host listens where others reach
// it.
func (s *scene) servesOthers(ip netip.Addr) bool {
	at := netip.AddrPortFrom(ip, dnsPort)
	return slices.ContainsFunc(s.sockets, func(k socket) bool {
		return k.covers(at) && k.program != ourProgram && (k.addr.Addr().IsUnspecified() || !k.addr.Addr().IsLoopback())
	})
}

// looks is how often something is looked at that may change meanwhile.
const looks = 5

// checkClientsOf looks whether who asks a forwarder is taken for this host. What it
// is asked for may change between one look and the next.
func (s *scene) checkClientsOf(ctx context.Context, forwarder netip.Addr) []Result {
	for range looks {
		name, host, stranger := s.telling()
		if name == "" {
			break
		}
		m, _, err := dial(fromHere).ask(ctx, "udp", netip.AddrPortFrom(forwarder, dnsPort), question{name: dns.Fqdn(name + "." + s.zone), qtype: dns.TypeA})
		if err != nil {
			return skipped("forwarder %s: %s", forwarder, noAnswer(err))
		}
		switch got := addresses(m); {
		case slices.Equal(got, host):
			return []Result{warned("tell our server of it (--forwarders 127.0.0.1, or forwarders in the Corefile), and have it tell its clients' subnets (dnsmasq: add-subnet=32,128)",
				"whoever asks forwarder %s is taken for this host: for %s it is told %v, and should be told %v", forwarder, name, got, stranger)}
		case slices.Equal(got, stranger):
			return nil
		}
	}
	return skipped("forwarder %s: what it answers changes faster than one can look", forwarder)
}

// telling returns a service whose addresses are others for this host than for
// strangers; empty if there is none.
func (s *scene) telling() (name string, host, stranger []netip.Addr) {
	snapshot, err := s.picture()
	if err != nil {
		return "", nil, nil
	}
	rack := resolve.Rack{Snapshot: snapshot, Node: s.here(), Name: s.rack(), Zone: s.zone}
	for _, n := range someServices(snapshot) {
		host, err1 := rack.Resolve(n, rack.At(netip.AddrFrom4([4]byte{127, 0, 0, 1})))
		stranger, err2 := rack.Resolve(n, rack.Stranger())
		if err1 != nil || err2 != nil {
			continue
		}
		if h, o := told4(&host), told4(&stranger); !slices.Equal(h, o) {
			return n, h, o
		}
	}
	return "", nil, nil
}

// told4 are the IPv4 addresses of a result.
func told4(r *resolve.Result) []netip.Addr {
	var all []netip.Addr
	for _, i := range r.Instances {
		for _, e := range i.Endpoints {
			if e.Address.Is4() && !slices.Contains(all, e.Address) {
				all = append(all, e.Address)
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}
