package hosts

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
)

// lanServer is a host's DNS server as its LAN has it.
func lanServer(h *Host) netip.AddrPort { return netip.AddrPortFrom(h.source(), rackPort) }

// asks is the DNS server that a client asks, and the host that it is on: that
// of its own host, where it can.
func (s *site) asks(c *Client) (netip.AddrPort, *Host) {
	switch {
	case c == &s.backhand.Client:
		return netip.AddrPortFrom(netip.MustParseAddr("10.9.0.2"), rackPort), s.alpha
	case c.Node == nil:
		return lanServer(s.alpha), s.alpha
	case isHost(c):
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), rackPort), c.Node
	case (rules{s}).onMACVLAN(c):
		other := s.hosts[0]
		if other == c.Node {
			other = s.hosts[1]
		}
		return lanServer(other), other
	}
	return lanServer(c.Node), c.Node
}

// row is a statement: where clients are told that a port of a container is.
// Each address is one that they reach it at.
type row struct {
	what string
	from []string
	// of is CONTAINER PORT/PROTOCOL.
	of   string
	want []string
	// silent are addresses that aren't dialled: who asks has no way there, which
	// nobody can know.
	silent bool
}

// checkTold asks, by DNS and by `rackdns resolve`, and dials what is told.
func (s *site) checkTold(t *testing.T, rack *Rack, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.what, func(t *testing.T) {
			name, number, _ := strings.Cut(r.of, " ")
			c := s.client(t, name).Container
			var port uint16
			var proto string
			if _, err := fmt.Sscanf(strings.ReplaceAll(number, "/", " "), "%d %s", &port, &proto); err != nil {
				t.Fatal(err)
			}
			for _, name := range r.from {
				from := s.client(t, name)
				server, h := s.asks(from)
				got, err := rack.Told(from, server, c, proto, port)
				if err != nil {
					t.Error(err)
					continue
				}
				if words := inWords(got); !slices.Equal(words, r.want) {
					t.Errorf("%s is told that port %s of %s is at %v, want %v", name, number, c, words, r.want)
				}
				seen, err := from.SeenAs("tcp", netip.AddrPortFrom(server.Addr(), whoamiPort))
				if err != nil {
					t.Fatal(err)
				}
				resolved, why := rack.Resolved(t, h, seen, c, proto, port)
				if !slices.Equal(resolved, got) {
					t.Errorf("`rackdns resolve --from %s` says %v (%s), DNS %v", seen, resolved, why, got)
				}
				for _, at := range got {
					if !r.silent {
						expect(t, from, proto+" "+at.String(), c.Name)
					}
				}
			}
		})
	}
}

func inWords(all []netip.AddrPort) (words []string) {
	for _, a := range all {
		words = append(words, a.String())
	}
	return words
}

// whoamiPort is that of servers that tell how they see who asks.
const whoamiPort = 1153 + 1

// What clients are told, by a real rack: rows of what reports had wrong.
func (s *site) testRows(t *testing.T, rack *Rack) {
	t.Helper()
	for _, h := range s.hosts {
		h.Whoami(t, whoamiPort)
	}
	h := s.alpha
	h.Network(t, NetworkSpec{Name: "dual", Subnets: []Subnet{{Prefix: "172.25.0.0/24"}, {Prefix: "fd00:25::/64"}}})
	// Both families are given the same port until one of them is ahead.
	h.Run(t, Spec{Name: "ahead", Networks: []string{"app"}, TCP: []uint16{80}, Publish: []string{"0.0.0.0::80"}})
	made := h.RunAll(t,
		Spec{Name: "few", Networks: []string{"app"}, TCP: []uint16{80, 81}, Publish: []string{"8110:80", "100.64.0.7:9010:81"}},
		Spec{Name: "twoports", Networks: []string{"dual"}, TCP: []uint16{80}, PublishAll: true},
		Spec{Name: "untold", Networks: []string{"app"}, Labels: map[string]string{"rackdns.ignore": "true"}},
		Spec{Name: "oneoff", Networks: []string{"inner"}, Labels: map[string]string{
			"com.docker.compose.oneoff": "True", "com.docker.compose.project": "default", "com.docker.compose.service": "job",
		}},
		Spec{Name: "no_label_", Networks: []string{"app"}},
		Spec{Name: "bare", Networks: []string{"host"}},
		Spec{Name: "only", Networks: []string{"app"}, TCP: []uint16{80}, Publish: []string{"127.0.0.1:9003:80", "[::1]:9003:80"}},
	)
	s.beta.Run(t, Spec{Name: "only", Networks: []string{"app"}, TCP: []uint16{80}, Publish: []string{"127.0.0.1:9003:80", "[::1]:9003:80"}})
	rack.Settle(t)
	var two []string
	for _, at := range made[1].Published("tcp", 80) {
		if at.Addr().Is4() {
			two = append([]string{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), at.Port()).String()}, two...)
		} else {
			two = append(two, netip.AddrPortFrom(netip.MustParseAddr("fd00:2::2"), at.Port()).String())
		}
	}
	if len(two) != 2 || strings.HasSuffix(two[1], two[0][strings.LastIndex(two[0], ":"):]) {
		t.Fatalf("published at %v, which are not two ports", two)
	}
	web, both := []string{"172.20.0.9:80"}, []string{"192.0.2.2:8080", "[fd00:2::2]:8080"}
	meshed := []string{netip.AddrPortFrom(s.client(t, "beta/meshed").Container.Address(t, "mesh"), 80).String()}
	only := []string{netip.AddrPortFrom(s.client(t, "alpha/only").Container.Address(t, "app"), 80).String()}
	few := []string{netip.AddrPortFrom(s.client(t, "alpha/few").Container.Address(t, "app"), 80).String()}
	s.checkTold(t, rack, []row{
		{"a container on the network", []string{"alpha/peer", "alpha/web", "alpha/joiner"}, "alpha/web 80/tcp", web, false},
		{"the host what isn't published, on its bridges", []string{"alpha", "alpha/inhost"}, "alpha/locked 80/tcp", []string{"172.22.0.9:80"}, false},
		{"the host what is published", []string{"alpha", "alpha/inhost"}, "alpha/web 80/tcp", both, false},
		{"an asker that is not told", []string{"alpha/untold", "alpha/no_label_"}, "alpha/web 80/tcp", web, false},
		{"a one-off", []string{"alpha/oneoff"}, "alpha/locked 80/tcp", []string{"172.22.0.9:80"}, false},
		{"an overlay, asked from docker_gwbridge", []string{"alpha/meshed"}, "beta/meshed 80/tcp", meshed, false},
		{"no overlay from another network", []string{"alpha/peer", "alpha"}, "beta/meshed 80/tcp", []string{"192.0.2.3:8070"}, false},
		{"an address that means something in this host only", []string{"alpha/apart", "alpha/plain"}, "alpha/web 81/tcp", []string{"172.17.0.1:9001"}, false},
		{"and nothing to others", []string{"stranger", "outsider", "beta", "beta/apart"}, "alpha/web 81/tcp", nil, false},
		{"loopback, to the host and to who has its network", []string{"alpha", "alpha/inhost"}, "alpha/only 80/tcp", []string{"127.0.0.1:9003", "[::1]:9003"}, false},
		{"loopback, without docker-proxy", []string{"beta", "beta/inhost"}, "beta/only 80/tcp", []string{"127.0.0.1:9003"}, false},
		{"loopback, to nobody else", []string{"alpha/apart", "alpha/plain", "alpha/mate", "stranger", "beta", "beta/peer"}, "alpha/only 80/tcp", nil, false},
		{"loopback, from its network", []string{"alpha/peer"}, "alpha/only 80/tcp", only, false},
		{"the node's address", []string{"stranger", "outsider", "beta"}, "alpha/web 80/tcp", both, false},
		{"the node's address, without IPv6", []string{"beta/apart", "alpha/apart"}, "alpha/web 80/tcp", both[:1], false},
		{"an address of the few is that port's alone", []string{"stranger", "alpha/apart"}, "alpha/few 81/tcp", []string{"100.64.0.7:9010"}, false},
		{"who has no way there is told all the same", []string{"outsider"}, "alpha/few 81/tcp", []string{"100.64.0.7:9010"}, true},
		{"and does not outvote the node's", []string{"stranger", "outsider"}, "alpha/few 80/tcp", []string{"192.0.2.2:8110", "[fd00:2::2]:8110"}, false},
		{"nor on the node", []string{"alpha/apart"}, "alpha/few 80/tcp", []string{"192.0.2.2:8110"}, false},
		{"nor a shared network", []string{"alpha/peer"}, "alpha/few 80/tcp", few, false},
		{"two families, two ports", []string{"stranger", "outsider"}, "alpha/twoports 80/tcp", two, false},
		{"without docker-proxy, from another network", []string{"beta/apart", "beta/plain"}, "beta/web 80/tcp", nil, false},
		{"without docker-proxy, from elsewhere", []string{"beta", "stranger", "alpha/apart"}, "beta/web 80/tcp", []string{"192.0.2.3:8080"}, false},
		{"from an internal network", []string{"alpha/mate", "alpha/deeper"}, "alpha/web 80/tcp", nil, false},
		{"from an internal network the node itself", []string{"alpha/mate"}, "alpha/inhost 3000/tcp", []string{"192.0.2.2:3000"}, false},
	})
	t.Run("explain", func(t *testing.T) { s.testExplain(t, rack) })
	t.Run("an endpoint only where there is a port", func(t *testing.T) { s.testNoPort(t, rack, made[5]) })
	t.Run("an asker not known yet", func(t *testing.T) { s.testUnknown(t, rack) })
	t.Run("two containers in one namespace", func(t *testing.T) { s.testNamespaceOwner(t, rack) })
	t.Run("an asker hidden by a proxy", func(t *testing.T) { s.testHidden(t, rack) })
	t.Run("macvlan", func(t *testing.T) { s.testToldMACVLAN(t, rack) })
}

// What explain says of a container is what DNS does.
func (s *site) testExplain(t *testing.T, rack *Rack) {
	t.Helper()
	for _, r := range []struct{ of, line string }{
		{"alpha/web", "port 80/tcp 192.0.2.2:8080 from anywhere"},
		{"alpha/web", "port 80/tcp [fd00:2::2]:8080 from anywhere"},
		{"alpha/web", "port 81/tcp 172.17.0.1:9001 from this host and its containers"},
		{"beta/web", "port 81/tcp 172.17.0.1:9001 from this host"},
		{"alpha/only", "port 80/tcp 127.0.0.1:9003 from this host"},
		{"alpha/only", "port 80/tcp [::1]:9003 from this host"},
		{"alpha/few", "port 81/tcp 100.64.0.7:9010 from anywhere"},
		{"alpha/untold", "it asks as a container of app default"},
		{"alpha/bare", "no port A and AAAA only, no SRV: EXPOSE one, or label it rackdns.port.<n>"},
	} {
		c := s.client(t, r.of).Container
		text := rack.Explained(t, c)
		if !slices.ContainsFunc(strings.Split(text, "\n"), func(l string) bool { return strings.Join(strings.Fields(l), " ") == r.line }) {
			t.Errorf("explain %s has no line %q:\n%s", c, r.line, text)
		}
	}
}

// One on the host's network without a port has addresses, and no SRV record.
func (s *site) testNoPort(t *testing.T, rack *Rack, bare *Container) {
	t.Helper()
	name := rack.service(bare)
	for kind, want := range map[uint16]string{dns.TypeA: "192.0.2.2", dns.TypeAAAA: "fd00:2::2", dns.TypeSRV: ""} {
		rrs, err := s.stranger.Resolve("udp", lanServer(s.alpha), name, kind)
		got := ""
		for _, rr := range rrs {
			a, _ := addressOf(rr)
			got += a.String()
		}
		if err != nil || got != want {
			t.Errorf("%s of %s is %q, want %q (%v)", dns.TypeToString[kind], name, got, want, err)
		}
	}
}

// A container of which the agent hasn't told yet is told what its network
// reaches; a bare name waits for it, and nobody denies it meanwhile.
func (s *site) testUnknown(t *testing.T, rack *Rack) {
	t.Helper()
	agent := rack.Agents[s.alpha]
	stopAt(t, agent)
	c := s.alpha.Run(t, Spec{Name: "first", Networks: []string{"app"}})
	at, err := rack.Told(&c.Client, lanServer(s.alpha), s.client(t, "alpha/web").Container, "tcp", 80)
	if got := inWords(at); err != nil || !slices.Equal(got, []string{"172.20.0.9:80"}) {
		t.Errorf("told %v, want what is on its network (%v)", got, err)
	}
	bare := new(dns.Msg).SetQuestion("web.", dns.TypeA)
	reply, err := c.Exchange("udp", lanServer(s.alpha), bare)
	if err != nil || reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("a bare name before the container is known: %v %v, want SERVFAIL", reply, err)
	}
	resume(t, agent)
	soon(t, "the container is known", func() error {
		rrs, err := c.Resolve("udp", lanServer(s.alpha), "web.", dns.TypeA)
		if err == nil {
			err = errors.New("not the one on its host")
		}
		for _, rr := range rrs {
			if a, _ := addressOf(rr); a.String() == "172.20.0.9" {
				return nil
			}
		}
		return fmt.Errorf("told %v: %w", rrs, err)
	})
}

// The bare names of two in one namespace are those of its owner's app.
func (s *site) testNamespaceOwner(t *testing.T, rack *Rack) {
	t.Helper()
	of := func(app, name string) map[string]string {
		return map[string]string{"rackdns.app": app, "rackdns.service": name}
	}
	owner := s.alpha.RunAll(t,
		Spec{Name: "owner", Networks: []string{"app"}, TCP: []uint16{83}, Labels: of("own", "owner")},
		Spec{Name: "owndb", Networks: []string{"app"}, TCP: []uint16{80}, Labels: of("own", "db")},
		Spec{Name: "guestdb", Networks: []string{"app"}, TCP: []uint16{80}, Labels: of("guest", "db")},
	)
	// The one that started last is none the more who asks.
	guest := s.alpha.Run(t, Spec{Name: "guest", Networks: []string{"container:owner"}, TCP: []uint16{84}, Labels: of("guest", "guest")})
	rack.Settle(t)
	want := owner[1].Address(t, "app")
	for _, c := range []*Container{owner[0], guest} {
		rrs, err := c.Resolve("udp", lanServer(s.alpha), "db.", dns.TypeA)
		if err != nil || len(rrs) != 1 {
			t.Errorf("%s is told %v of db, want %s (%v)", c, rrs, want, err)
			continue
		}
		if a, _ := addressOf(rrs[0]); a != want {
			t.Errorf("%s is told %s of db, want %s", c, a, want)
		}
	}
}

// A server in a container sees docker-proxy. Its clients are told what anybody
// on the host reaches, and the log says why that is less.
func (s *site) testHidden(t *testing.T, rack *Rack) {
	t.Helper()
	publish := fmt.Sprintf("%d:%d", whoamiPort+1, rackPort)
	c := s.alpha.Run(t, Spec{Name: "dnsbehind", Networks: []string{"app"}, Publish: []string{publish, publish + "/udp"}})
	p := rack.Serve(t, s.alpha, &c.Client)
	apart := s.client(t, "alpha/apart")
	server := netip.AddrPortFrom(netip.MustParseAddr("172.21.0.1"), whoamiPort+1)
	at, err := rack.Told(apart, server, s.client(t, "alpha/web").Container, "tcp", 80)
	if got := inWords(at); err != nil || !slices.Equal(got, []string{"192.0.2.2:8080", "[fd00:2::2]:8080"}) {
		t.Errorf("told %v, want what is published (%v)", got, err)
	}
	for range 3 {
		if _, err := apart.Resolve("udp", server, "web.default."+rack.Zone, dns.TypeA); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(p.Log(), "clients can't be told apart"); n != 1 {
		t.Errorf("the log says %d times that clients can't be told apart, want once:\n%s", n, p.Log())
	}
}

// A macvlan's container is told to its LAN, and not to its own host.
func (s *site) testToldMACVLAN(t *testing.T, rack *Rack) {
	t.Helper()
	s.need(t, "macvlan")
	s.alpha.Network(t, NetworkSpec{
		Name: "toldlan", Driver: "macvlan", Parent: "eth0",
		Subnets: []Subnet{{Prefix: "192.0.2.0/24", Gateway: "192.0.2.1", Range: "192.0.2.64/28"}},
	})
	s.alpha.Run(t, Spec{Name: "onlan", Networks: []string{"toldlan"}, IP: "192.0.2.65", TCP: []uint16{80}, Publish: []string{"8051:80"}})
	s.alpha.Run(t, Spec{Name: "onlan2", Networks: []string{"toldlan"}, IP: "192.0.2.66", TCP: []uint16{80}})
	rack.Settle(t)
	at := []string{"192.0.2.65:80"}
	s.checkTold(t, rack, []row{
		{"the LAN", []string{"stranger", "beta"}, "alpha/onlan 80/tcp", at, false},
		{"not its own host", []string{"alpha", "alpha/inhost", "alpha/peer"}, "alpha/onlan 80/tcp", nil, false},
		// It asks another host, which knows it by its address.
		{"to it, not its own host", []string{"alpha/onlan"}, "alpha/web 80/tcp", nil, false},
		{"to it, nothing of its own host's network", []string{"alpha/onlan"}, "alpha/inhost 3000/tcp", nil, false},
		{"to it, another host", []string{"alpha/onlan"}, "beta/web 80/tcp", []string{"192.0.2.3:8080"}, false},
		{"to it, one beside it", []string{"alpha/onlan"}, "alpha/onlan2 80/tcp", []string{"192.0.2.66:80"}, false},
	})
	t.Run("its own app", func(t *testing.T) {
		c := s.client(t, "alpha/onlan")
		server, _ := s.asks(c)
		if rrs, err := c.Resolve("udp", server, "onlan2.", dns.TypeA); err != nil || len(rrs) != 1 {
			t.Errorf("a bare name: %v, %v", rrs, err)
		}
	})
}

// stopAt stops a process where it is, as a busy machine does.
func stopAt(t *testing.T, p *Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// resume lets it go on.
func resume(t *testing.T, p *Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
