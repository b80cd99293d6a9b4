package hosts

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// rackZone is the zone of the rack that a site's hosts are in.
const rackZone = "lab.convox."

// rackdns builds it once.
var rackdns = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "rackdns-hosts-")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "rackdns")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/rackdns/rackdns/cmd/rackdns")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build rackdns: %w\n%s", err, out)
	}
	return path, nil
})

// launch runs rackdns on a machine until the test ends.
func launch(t *testing.T, on *Client, args ...string) {
	t.Helper()
	bin, err := rackdns()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := on.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s: rackdns %s:\n%s", on, strings.Join(args, " "), text)
		}
	})
}

// serve makes a rack of the site's hosts: alpha has its registry.
func (s *site) serve(t *testing.T) {
	t.Helper()
	// A short name: the path of a socket has at most 107 octets.
	data, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	socket := "unix://" + filepath.Join(data, "etcd.sock")
	launch(t, &s.alpha.Client, "standalone", "--rack", "lab", "--node", "alpha", "--host-address", lanAddress(s.alpha),
		"--docker", s.alpha.Engine.Host(), "--data", data, "--dns", "0.0.0.0:53", "--http", "off")
	launch(t, &s.beta.Client, "agent", "--rack", "lab", "--node", "beta", "--host-address", lanAddress(s.beta),
		"--docker", s.beta.Engine.Host(), "--etcd", socket)
	conf := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "%s {\n\track {\n\t\tetcd %s\n\t\tnode beta\n\t}\n}\n", rackZone, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, &s.beta.Client, "dns", "-conf", conf)
}

// servers are where a client may ask, the nearest first.
func (s *site) servers(c *Client) (all []netip.AddrPort) {
	add := func(ip string) { all = append(all, netip.MustParseAddrPort(ip+":53")) }
	switch {
	case c.Container == nil && c.Node == nil:
		add(lanAddress(s.alpha))
		add("10.9.0.2")
	case isHost(c):
		add("127.0.0.1")
	default:
		for _, gw := range gateways(c) {
			if gw.Is4() {
				add(gw.String())
			}
		}
		add(lanAddress(c.Node))
		for _, h := range s.Hosts() {
			add(lanAddress(h))
		}
	}
	return all
}

// server is the one that answers a client, not valid if none does.
func (s *site) server(c *Client) netip.AddrPort {
	for _, at := range s.servers(c) {
		if m, err := c.Exchange("tcp", at, new(dns.Msg).SetQuestion(rackZone, dns.TypeSOA)); err == nil && m.Rcode == dns.RcodeSuccess {
			return at
		}
	}
	return netip.AddrPort{}
}

// told is where a client is led.
type told struct {
	id string
	at netip.AddrPort
}

// ask asks for one port of a service, with all addresses of its targets.
func ask(c *Client, server netip.AddrPort, service, proto string, port uint16) ([]told, error) {
	name := fmt.Sprintf("_%d._%s.%s.default.%s", port, proto, service, rackZone)
	m, err := c.Exchange("tcp", server, new(dns.Msg).SetQuestion(name, dns.TypeSRV))
	if err != nil {
		return nil, err
	}
	var all []told
	for _, rr := range m.Answer {
		srv, ok := rr.(*dns.SRV)
		if !ok {
			continue
		}
		labels := dns.SplitDomainName(strings.TrimSuffix(srv.Target, "."+service+".default."+rackZone))
		for _, glue := range m.Extra {
			var ip netip.Addr
			switch a := glue.(type) {
			case *dns.A:
				ip, _ = netip.AddrFromSlice(a.A.To4())
			case *dns.AAAA:
				ip, _ = netip.AddrFromSlice(a.AAAA)
			}
			if ip.IsValid() && glue.Header().Name == srv.Target {
				all = append(all, told{labels[len(labels)-1], netip.AddrPortFrom(ip, srv.Port)})
			}
		}
	}
	return all, nil
}

// What a client is told answers when it dials it, and is the instance that it
// was told; what is left out couldn't be reached.
func (s *site) testTold(t *testing.T) {
	s.serve(t)
	// The same scenes each time, unless others are asked for: what is drawn may
	// be a host that nobody has thought of.
	first := *seed
	if first == 0 {
		first = 31404
	}
	for i := range uint64(*draws) {
		t.Run(fmt.Sprintf("seed=%d", first+i), func(t *testing.T) { s.tells(t, s.Draw(t, first+i, Size{Networks: 3, Containers: 4})) })
	}
}

func (s *site) tells(t *testing.T, scene *Scene) {
	t.Helper()
	s.settled(t, scene)
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
		server := s.server(c)
		if !server.IsValid() {
			mu.Lock()
			deaf++
			mu.Unlock()
			return
		}
		for _, i := range scene.Instances {
			service := i.Spec.Name
			for proto, ports := range map[string][]uint16{"tcp": i.Spec.TCP, "udp": i.Spec.UDP} {
				for _, port := range ports {
					all, err := ask(c, server, service, proto, port)
					if err != nil {
						t.Errorf("%s asks %s: %v", c, server, err)
						continue
					}
					reached := slices.ContainsFunc(all, func(a told) bool { return a.id == i.ID })
					for _, a := range all {
						if a.id != i.ID {
							continue
						}
						f := s.Reach(c, Endpoint{Instance: i, Proto: proto, Port: port, At: a.at})
						if !f.Reachable && !hasNoWay(f) && !s.beyond(c, i, a.at.Addr()) {
							t.Errorf("%s, asking %s, is told %s port %d/%s of %s, on %v, at %s: %s", describe(c), server, proto, port, proto, i, i.Spec.Networks, a.at, f)
						}
					}
					mu.Lock()
					checked += len(all)
					mu.Unlock()
					if reached || proto == "udp" || c.Container != nil && c.Container.owner() == i.owner() {
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
	case c.Node != nil && c.Node == i.Node && r.onMACVLAN(c):
		// It asks another host, which takes it for a neighbour.
		return true
	}
	// Nothing masquerades a container's IPv6, and the LAN may know a way back.
	return a.Is6() && c.Container != nil && !isHost(c) && c.Node != i.Node
}

// unsaid is true for what is reachable and not told, since it is by no rule.
func (s *site) unsaid(c *Client, f Fact) bool {
	r := rules{s}
	return f.At.Addr().IsLoopback() ||
		// Docker lets nobody expose a port of a container in another's namespace.
		f.Instance != f.Instance.owner() ||
		// The LAN leads there, which is for routable to say.
		f.Via == ViaContainer && r.driver(f.Instance.Node, f.Network) == "macvlan" && c == &s.outsider.Client
}

// settled waits until both servers know all instances that can be known.
func (s *site) settled(t *testing.T, scene *Scene) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		missing := ""
		for _, h := range s.Hosts() {
			for _, i := range scene.Instances {
				if i.Inspect.HostConfig.NetworkMode.IsNone() {
					continue
				}
				m, err := h.Exchange("tcp", netip.MustParseAddrPort("127.0.0.1:53"),
					new(dns.Msg).SetQuestion(i.ID+"."+i.Spec.Name+".default."+rackZone, dns.TypeA))
				if err != nil || m.Rcode != dns.RcodeSuccess {
					missing = fmt.Sprintf("%s doesn't know of %s: %v", h, i, err)
				}
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(missing)
		}
	}
}
