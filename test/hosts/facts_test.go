package hosts

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// TestHostFacts has a host's facts change under a rackdns that runs there: its
// address, its default route, the addresses that it answers DNS at, and the DNS
// servers that it forwards to.
func TestHostFacts(t *testing.T) {
	t.Parallel()
	l := New(t)
	program := l.build(t)
	lan := l.LAN(t, "lan", "192.0.2.0/24")
	stranger := l.Machine(t, "stranger", On(lan, "192.0.2.9"))
	stranger.Whoami(t, 53)
	// No default route, as before DHCP has given one.
	alpha := l.Host(t, "alpha", On(lan, "192.0.2.2"))
	alpha.Run(t, Spec{Name: "web", TCP: []uint16{80}, Publish: []string{"8080:80"}})

	dir := t.TempDir()
	resolvers := filepath.Join(dir, "resolv.conf")
	write(t, resolvers, "nameserver 192.0.2.200\n")
	socket := filepath.Join(dir, "s")
	server := alpha.rackdns(t, program, resolvers, "standalone", "--rack", "lab", "--docker", "off", "--http", "off", "--data", filepath.Join(dir, "data"),
		"--etcd-listen", "unix:"+socket, "--dns", "192.0.2.50:1053", "--dns", "192.0.2.2:1053", "--allow-recursion", "any")
	agent := alpha.rackdns(t, program, resolvers, "agent", "--rack", "lab", "--etcd", "unix://"+socket, "--docker", alpha.Engine.Host(), "--node", "alpha")

	const name = "web.default.lab.convox"
	first, joined := netip.MustParseAddrPort("192.0.2.2:1053"), netip.MustParseAddrPort("192.0.2.50:1053")
	// whom the stranger finds by the name, and where.
	found := func(at netip.AddrPort, want string) {
		t.Helper()
		soon(t, "the stranger finds web at "+want, func() error {
			all, err := stranger.Resolve("udp", at, name, dns.TypeSRV)
			if err != nil || len(all) != 1 {
				return fmt.Errorf("%v, %w", all, err)
			}
			srv, ok := all[0].(*dns.SRV)
			if !ok {
				return fmt.Errorf("%v", all)
			}
			as, err := stranger.Resolve("udp", at, srv.Target, dns.TypeA)
			if err != nil || len(as) != 1 {
				return fmt.Errorf("%v, %w", as, err)
			}
			a, ok := as[0].(*dns.A)
			if !ok {
				return fmt.Errorf("%v", as)
			}
			to := netip.AddrPortFrom(netip.MustParseAddr(a.A.String()), srv.Port)
			who, err := stranger.Dial("tcp", to)
			if who != "alpha/web" || to.String() != want {
				return fmt.Errorf("%q answers at %s, %w", who, to, err)
			}
			return nil
		})
	}
	// The server answers at the one address that is there, and the agent waits.
	soon(t, "the zone at "+first.String(), func() error {
		_, err := stranger.Resolve("udp", first, "lab.convox", dns.TypeSOA)
		return err
	})
	soon(t, "the agent's word", func() error { return agent.says("waiting for an address") })
	soon(t, "the server's word", func() error { return server.says("trying again until this one is there") })
	if all, err := stranger.Resolve("udp", first, name, dns.TypeA); err == nil && len(all) > 0 {
		t.Errorf("%s is known before the host's address: %v", name, all)
	}

	alpha.netns.ip(t, "route", "add", "default", "via", "192.0.2.1", "dev", "eth0")
	found(first, "192.0.2.2:8080")

	// DHCP gives another address, and the one that the server waits for.
	alpha.netns.ip(t, "address", "delete", "192.0.2.2/24", "dev", "eth0")
	alpha.netns.ip(t, "address", "add", "192.0.2.77/24", "dev", "eth0")
	alpha.netns.ip(t, "address", "add", "192.0.2.50/24", "dev", "eth0")
	alpha.netns.ip(t, "route", "add", "default", "via", "192.0.2.1", "dev", "eth0")
	found(joined, "192.0.2.77:8080")
	if n := strings.Count(agent.Log(), "address has changed"); n != 1 {
		t.Errorf("%d lines tell of the new address", n)
	}

	write(t, filepath.Join(dir, "Corefile"), ".:1054 {\n  bind 127.0.0.1\n  forward . /etc/resolv.conf\n}\n")
	plain := alpha.rackdns(t, program, resolvers, "dns", "-conf", filepath.Join(dir, "Corefile"))
	soon(t, "CoreDNS", func() error { return plain.says("CoreDNS") })
	// Nobody is at the DNS server that the system had at first.
	write(t, resolvers, "search example\nnameserver 192.0.2.9\n")
	soon(t, "the server's word of the new DNS servers", func() error { return server.says("DNS servers have changed") })
	for _, at := range []netip.AddrPort{joined, netip.MustParseAddrPort("127.0.0.1:1054")} {
		soon(t, "other names from the system's new DNS server at "+at.String(), func() error {
			as, err := alpha.Resolve("udp", at, "whoami.example", dns.TypeA)
			if err != nil || len(as) != 1 {
				return fmt.Errorf("%v, %w", as, err)
			}
			return nil
		})
	}
	found(joined, "192.0.2.77:8080")
	if n := strings.Count(server.Log(), "DNS servers have changed"); n != 1 {
		t.Errorf("%d lines tell of the new DNS servers", n)
	}
	t.Run("Elsewhere", func(t *testing.T) { testElsewhere(t, program, alpha, stranger) })
}

// testElsewhere asks a host's engine from another one, by each way to say which
// engine it is: the node is at the engine's host.
func testElsewhere(t *testing.T, program string, alpha *Host, from *Machine) {
	t.Helper()
	const at = "192.0.2.77:2375"
	var listener net.Listener
	err := alpha.netns.do(func() (err error) {
		listener, err = net.Listen("tcp", at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var carrying sync.WaitGroup
	t.Cleanup(func() { listener.Close(); carrying.Wait() })
	carrying.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", strings.TrimPrefix(alpha.Engine.Host(), "unix://"))
			if err != nil {
				c.Close()
				continue
			}
			carrying.Go(func() { _, _ = io.Copy(to, c); to.Close() })
			carrying.Go(func() { _, _ = io.Copy(c, to); c.Close() })
		}
	})
	settings := t.TempDir()
	// A context lies below the digest of its name.
	dir := filepath.Join(settings, "contexts", "meta", fmt.Sprintf("%x", sha256.Sum256([]byte("far"))))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "meta.json"), `{"Name": "far", "Metadata": {}, "Endpoints": {"docker": {"Host": "tcp://`+at+`", "SkipTLSVerify": false}}}`)
	for name, env := range map[string][]string{
		"flag":        {"RACKDNS_DOCKER=tcp://" + at},
		"DOCKER_HOST": {"DOCKER_HOST=tcp://" + at},
		"context":     {"DOCKER_CONTEXT=far"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := from.Command(program, "explain", "web")
			cmd.Env = append(append(os.Environ(), "DOCKER_CONFIG="+settings, "RACKDNS_DOCKER=", "DOCKER_HOST="), env...)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "192.0.2.77") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestLateBind has an address of a Corefile come late, beside another one and as
// the only one.
func TestLateBind(t *testing.T) {
	t.Parallel()
	l := New(t)
	program := l.build(t)
	lan := l.LAN(t, "lan", "192.0.2.0/24")
	stranger := l.Machine(t, "stranger", On(lan, "192.0.2.9"))
	answers := func(at string) {
		t.Helper()
		soon(t, "an answer at "+at, func() error {
			_, err := stranger.Resolve("udp", netip.AddrPortFrom(netip.MustParseAddr(at), 1053), "example.org", dns.TypeA)
			return err
		})
	}
	for name, hosts := range map[string]string{"beside": "192.0.2.2 192.0.2.50", "alone": "192.0.2.51"} {
		t.Run(name, func(t *testing.T) {
			alpha := l.Machine(t, name, On(lan, "192.0.2.2"))
			dir := t.TempDir()
			write(t, filepath.Join(dir, "Corefile"), ".:1053 {\n  bind "+hosts+"\n  whoami\n}\n")
			server := alpha.rackdns(t, program, "/etc/resolv.conf", "dns", "-conf", filepath.Join(dir, "Corefile"))
			soon(t, "the server's word", func() error { return server.says("this host has no address") })
			if name == "beside" {
				answers("192.0.2.2")
			}
			late := hosts[strings.LastIndex(hosts, " ")+1:]
			alpha.Address(t, late+"/24", "eth0")
			answers(late)
			if name == "beside" {
				answers("192.0.2.2")
			}
			alpha.netns.ip(t, "link", "delete", "eth0") // the next one has the same address
		})
	}
}

// rackdns runs the program under test on a machine, with a resolv.conf of its
// own, until the test ends.
func (c *Client) rackdns(t *testing.T, program, resolvConf string, args ...string) *Process {
	t.Helper()
	return c.Start(t, "unshare", append([]string{"-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolvConf, program}, args...)...)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
