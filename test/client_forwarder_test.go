package test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// runContext is for what all tests of a run share.
func runContext() context.Context { return context.Background() }

// forwarder runs a resolver that sends a rack's names to its DNS server, and
// returns its address.
func forwarder(t *testing.T, tool, zone, server string, options ...string) string {
	t.Helper()
	needTool(t, tool)
	at := etcdtest.FreeAddr(t)
	listen, upstream := netip.MustParseAddrPort(at), netip.MustParseAddrPort(server)
	var args []string
	switch tool {
	case "unbound":
		args = []string{"-d", "-c", unboundConfig(t, listen, fmt.Sprintf(
			"  domain-insecure: %q\nforward-zone:\n  name: %q\n  forward-addr: %s@%d\n", zone, zone, upstream.Addr(), upstream.Port()))}
	case "dnsmasq":
		args = []string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--pid-file=", "--user=root",
			"--listen-address=" + listen.Addr().String(), fmt.Sprintf("--port=%d", listen.Port()),
			fmt.Sprintf("--server=/%s/%s#%d", strings.TrimSuffix(zone, "."), upstream.Addr(), upstream.Port())}
	}
	p := launchCommand(t, exec.Command(tool, append(args, options...)...))
	answering(t, p, at, zone)
	return at
}

// unboundConfig writes a configuration that ends in what is given. Nothing
// else is configured, so no other server is asked.
func unboundConfig(t *testing.T, listen netip.AddrPort, rest string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "unbound.conf")
	text := fmt.Sprintf("server:\n  interface: %s\n  port: %d\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  directory: %q\n  use-syslog: no\n"+
		"  do-not-query-localhost: no\n  access-control: 127.0.0.0/8 allow\n  root-hints: \"\"\n  num-threads: 1\nremote-control:\n  control-enable: no\nserver:\n%s",
		listen.Addr(), listen.Port(), filepath.Dir(path), rest)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// answering waits until a resolver has an answer for a zone.
func answering(t *testing.T, p *process, server, zone string) {
	t.Helper()
	eventually(t, "waiting for "+zone+" at "+server, func() error {
		if !p.running() {
			t.Fatalf("%v ended: %v", p.cmd.Args, p.cmd.ProcessState)
		}
		_, err := found(server, zone, dns.TypeSOA)
		return err
	})
}

// TestForwarders has unbound and dnsmasq in front: they pass on all there is,
// remember it for no longer than they may, and deny nothing that exists.
func TestForwarders(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("orders")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 3, app, b)
	eventually(t, "three instances", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })
	for _, tool := range []string{"unbound", "dnsmasq"} {
		t.Run(tool, func(t *testing.T) {
			at := forwarder(t, tool, r.zone, r.dns)
			eventually(t, "SRV", func() error { return servedBy(at, name, atHost(name, instances...)) })
			if err := resolvesTo(at, name, b.gateway.String()); err != nil {
				t.Error(err)
			}
			if m, err := found(at, name, dns.TypeAAAA); err != nil || len(m.Answer) > 0 {
				t.Errorf("AAAA: %v %v, want NODATA", m, err)
			}
			if m, err := ask(at, "udp", "nothing."+r.zone, dns.TypeA); err != nil || m.Rcode != dns.RcodeNameError {
				t.Errorf("a name that isn't there: %v %v, want NXDOMAIN", m, err)
			}
			// A new service is seen as soon as its absence is forgotten.
			later := "later-" + tool
			if _, err := ask(at, "udp", r.service(later, app), dns.TypeA); err != nil {
				t.Fatal(err)
			}
			start(t, spec{app: app, service: later, network: b, expose: []string{"3000/tcp"}})
			eventually(t, "a new service", func() error { return resolvesTo(at, r.service(later, app), b.gateway.String()) })
		})
	}
	instances[0].kill()
	eventually(t, "the server has forgotten the killed one", func() error { return servedBy(r.dns, name, atHost(name, instances[1:]...)) })
}

// TestForwarderTellsClients has a dnsmasq on the host in front: whom it asks for is
// not who it is. Without a word of them its clients are strangers, who are told what
// is published, which is nothing here; by add-subnet the host's own are told the
// container's address.
func TestForwarderTellsClients(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("orders")
	r := startRack(t, b)
	name := r.service("web", app)
	c := start(t, spec{app: app, service: "web", network: b})
	eventually(t, "the host itself, by the rack's own server", func() error { return resolvesTo(r.dns, name, c.address().String()) })
	behind := func(forwarders string) string {
		at := etcdtest.FreeAddr(t)
		host, port, err := net.SplitHostPort(at)
		if err != nil {
			t.Fatal(err)
		}
		p := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf("%s:%s {\n bind %s\n errors\n rack {\n etcd %s\n node %s\n %s\n }\n}\n",
			strings.TrimSuffix(r.zone, "."), port, host, r.etcd, r.node, forwarders)))
		ready(t, p, at, r.zone)
		return at
	}
	for _, tc := range []struct{ name, forwarders, option, want string }{
		{"taken for the host", "", "--cache-size=0", c.address().String()},
		{"a forwarder", "forwarders 127.0.0.0/8", "--cache-size=0", ""},
		{"a forwarder that tells", "forwarders 127.0.0.0/8", "--add-subnet=32,128", c.address().String()},
		{"a forwarder that tells a part", "forwarders 127.0.0.0/8", "--add-subnet=8,56", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			at := forwarder(t, "dnsmasq", r.zone, behind(tc.forwarders), tc.option)
			if tc.want != "" {
				if err := resolvesTo(at, name, tc.want); err != nil {
					t.Error(err)
				}
				return
			}
			if m, err := ask(at, "udp", name, dns.TypeA); err != nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) > 0 {
				t.Errorf("A: %v %v, want NODATA: it isn't published", m, err)
			}
		})
	}
}

// signedRack runs a DNS server that signs a rack's zone, and returns where it
// is and the zone's key.
func signedRack(t *testing.T, r *rack) (at string, key *dns.DNSKEY) {
	t.Helper()
	key = &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: r.zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(t.TempDir(), fmt.Sprintf("K%s+013+%05d", r.zone, key.KeyTag()))
	for suffix, text := range map[string]string{".key": key.String() + "\n", ".private": key.PrivateKeyString(private)} {
		if err := os.WriteFile(base+suffix, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at = etcdtest.FreeAddr(t)
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf("%s:%s {\n bind %s\n errors\n dnssec {\n key file %s\n }\n rack {\n etcd %s\n node %s\n }\n}\n",
		strings.TrimSuffix(r.zone, "."), port, host, base, r.etcd, r.node)))
	ready(t, p, at, r.zone)
	return at, key
}

// TestValidatingResolver has CoreDNS's dnssec plugin sign the answers, and an
// unbound that knows the zone's key validate them.
func TestValidatingResolver(t *testing.T) {
	t.Parallel()
	needTool(t, "unbound")
	b, app := newBridge(t), unique("orders")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 2, app, b)
	eventually(t, "two instances", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })
	server, key := signedRack(t, r)
	upstream := netip.MustParseAddrPort(server)
	validator := func(key *dns.DNSKEY) string {
		at := etcdtest.FreeAddr(t)
		config := unboundConfig(t, netip.MustParseAddrPort(at), fmt.Sprintf(
			"  trust-anchor: %q\nstub-zone:\n  name: %q\n  stub-addr: %s@%d\n", strings.ReplaceAll(key.String(), "\t", " "), r.zone, upstream.Addr(), upstream.Port()))
		p := launchCommand(t, exec.Command("unbound", "-d", "-c", config))
		eventually(t, "unbound answers", func() error {
			if !p.running() {
				t.Fatalf("unbound ended: %v", p.cmd.ProcessState)
			}
			_, err := ask(at, "udp", r.zone, dns.TypeSOA)
			return err
		})
		return at
	}
	at := validator(key)
	for _, tc := range []struct {
		name  string
		qtype uint16
		count int
	}{
		{name, dns.TypeA, 1}, {name, dns.TypeSRV, 2}, {name, dns.TypeAAAA, 0}, {"_3000._tcp." + name, dns.TypeSRV, 2}, {instances[0].id + "." + name, dns.TypeA, 1},
		{"nothing." + r.zone, dns.TypeA, 0}, {app + "." + r.zone, dns.TypeA, 0}, {r.zone, dns.TypeSOA, 1}, {r.zone, dns.TypeNS, 1},
	} {
		m := new(dns.Msg).SetQuestion(tc.name, tc.qtype)
		m.SetEdns0(4096, true)
		reply, err := dns.Exchange(m, at)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		count := len(slices.DeleteFunc(reply.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype != tc.qtype }))
		// The dnssec plugin says of a name that isn't there that it has nothing.
		if reply.Rcode != dns.RcodeSuccess || !reply.AuthenticatedData || count != tc.count {
			t.Errorf("%s %s: %s, authenticated %v, %d records; want %d that are authenticated\n%v",
				tc.name, dns.TypeToString[tc.qtype], dns.RcodeToString[reply.Rcode], reply.AuthenticatedData, count, tc.count, reply)
		}
	}
	// Who expects another key is told nothing.
	other := *key
	if _, err := other.Generate(256); err != nil {
		t.Fatal(err)
	}
	if m, err := ask(validator(&other), "udp", name, dns.TypeA); err != nil || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("with another key: %v %v, want SERVFAIL", m, err)
	}
}

// TestGoLookupSRV is Go's own way to find a service.
func TestGoLookupSRV(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("orders")
	r := startRack(t, b)
	name := r.service("web", app)
	c := start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}, labels: map[string]string{"rackdns.port.3000": "http"}})
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, r.dns)
	}}
	want := []string{c.id + "." + name + ":" + c.published("3000/tcp")}
	eventually(t, "net.LookupSRV", func() error {
		_, all, err := resolver.LookupSRV(t.Context(), "http", "tcp", name)
		if err != nil {
			return err
		}
		var got []string
		for _, s := range all {
			got = append(got, fmt.Sprintf("%s:%d", s.Target, s.Port))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	if addrs, err := resolver.LookupHost(t.Context(), c.id+"."+name); err != nil || !slices.Equal(addrs, []string{b.gateway.String()}) {
		t.Errorf("net.LookupHost: %v %v, want %s", addrs, err, b.gateway)
	}
}

// pythonWithDNS returns a Python that has dnspython. The first one on the PATH
// need not be the system's, which is the one that Debian's package is for.
func pythonWithDNS() string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import dns.resolver").Run() == nil {
			return python
		}
	}
	return ""
}

// TestDnspython is Python's usual DNS library.
func TestDnspython(t *testing.T) {
	t.Parallel()
	python := pythonWithDNS()
	demand(t, python != "", "no dnspython: it is in Debian's package python3-dnspython")
	b, app := newBridge(t), unique("orders")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 2, app, b)
	eventually(t, "two instances", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })
	const script = `
import sys, dns.resolver
r = dns.resolver.Resolver(configure=False)
r.nameservers, r.port, name = [sys.argv[1]], int(sys.argv[2]), sys.argv[3]
for s in sorted(r.resolve(name, 'SRV'), key=lambda s: str(s.target)):
    print(s.target, s.port, *[a.address for a in r.resolve(s.target, 'A')])
try:
    r.resolve(name, 'AAAA')
except dns.resolver.NoAnswer:
    print('no answer')
try:
    r.resolve('nothing.' + name, 'A')
except dns.resolver.NXDOMAIN:
    print('no name')
`
	host, port, err := net.SplitHostPort(r.dns)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", script, host, port, name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var want []string
	for target, ports := range atHost(name, instances...) {
		want = append(want, fmt.Sprint(target, " ", ports[0], " ", b.gateway))
	}
	slices.Sort(want)
	want = append(want, "no answer", "no name", "")
	if diff := cmp.Diff(want, strings.Split(string(out), "\n")); diff != "" {
		t.Errorf("dnspython (-want +got):\n%s", diff)
	}
}
