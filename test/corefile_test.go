package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// Addresses in Corefile.example.
const (
	exampleDNS     = "127.0.0.1:1053"
	exampleMetrics = "127.0.0.1:9153"
	exampleHealth  = "127.0.0.1:8180"
	exampleReady   = "127.0.0.1:8181"
)

// The example runs as it stands, against the registry of this host, and
// answers for the rack, for its short names, for the parent zone and for the
// rest of the world.
func TestCorefileExample(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	path, at := example(t)
	registry := newRack(t, b, "--rack", "acme")
	registry.zone = "acme.convox."
	registry.start()

	cmd := command(t, "dns", "-conf", path)
	cmd.Dir = repository()
	cmd.Env = append(cmd.Env, "RACKDNS_DATA="+registry.data)
	instead(t, cmd)
	d := launchCommand(t, cmd)
	server := at[exampleDNS]
	ready(t, d, server, registry.zone)

	name := registry.service("web", app)
	instances := web(t, 2, app, b)
	eventually(t, "two instances", func() error { return servedBy(server, name, atHost(name, instances...)) })
	// A short name's targets are in the rack's zone. The block that answers has
	// a rack of its own, which may be a moment behind.
	short := "web." + app + "."
	eventually(t, "a short name", func() error { return servedBy(server, short, atHost(name, instances...)) })
	if err := resolvesTo(server, short, b.gateway.String()); err != nil {
		t.Error(err)
	}
	if err := resolvesTo(server, "ns.convox.", "127.0.0.1"); err != nil {
		t.Error(err)
	}
	for unknown, zone := range map[string]string{
		"nope.acme.convox.":            "acme.convox.",
		"nope.convox.":                 "convox.",
		"250.250.18.172.in-addr.arpa.": "18.172.in-addr.arpa.",
	} {
		m, err := ask(server, "udp", unknown, dns.TypeA)
		if err != nil || m.Rcode != dns.RcodeNameError || !m.Authoritative || len(m.Ns) != 1 || m.Ns[0].Header().Name != zone {
			t.Errorf("%s: %v %v, want an authoritative NXDOMAIN with the SOA of %s", unknown, m, err, zone)
		}
	}
	for url, want := range map[string]string{
		"http://" + at[exampleHealth] + "/health":   "OK",
		"http://" + at[exampleReady] + "/ready":     "OK",
		"http://" + at[exampleMetrics] + "/metrics": "coredns_dns_requests_total",
	} {
		if body, err := get(url); err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: %v, want %q in %.200s", url, err, want, body)
		}
	}
	if strings.HasSuffix(cmd.Path, "unshare") {
		for _, name := range []string{"elsewhere.test.", "web.elsewhere."} {
			if err := resolvesTo(server, name, ofTheWorld); err != nil {
				t.Error(err)
			}
		}
	}
}

// example returns the path of Corefile.example, and where each address in it
// is. If one is taken, which happens on a shared machine, it is the path of a
// copy with a free one.
func example(t *testing.T) (path string, at map[string]string) {
	t.Helper()
	path = "Corefile.example"
	text, err := os.ReadFile(filepath.Join(repository(), path))
	if err != nil {
		t.Fatal(err)
	}
	at = map[string]string{}
	replaced := string(text)
	for _, addr := range []string{exampleDNS, exampleMetrics, exampleHealth, exampleReady} {
		at[addr] = addr
		if etcdtest.Listenable(addr) == nil {
			continue
		}
		at[addr] = etcdtest.FreeAddr(t)
		t.Logf("%s is taken, so %s stands in for it", addr, at[addr])
		was, is := addr, at[addr]
		if addr == exampleDNS { // its address is in `bind`
			was, is = ":"+portOf(t, was), ":"+portOf(t, is)
		}
		replaced = strings.ReplaceAll(replaced, was, is)
	}
	if replaced != string(text) {
		path = corefile(t, replaced)
	}
	return path, at
}

// ofTheWorld is what the server that stands for the rest of the world says.
const ofTheWorld = "192.0.2.53"

// worlds counts those servers, each of which has an address of its own.
var worlds atomic.Uint32

// instead gives a command another /etc/resolv.conf, in which a server of ours
// stands for the rest of the world: tests ask nobody outside of this machine.
// Whoever isn't root runs the command as it is.
func instead(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	needTool(t, "unshare")
	at := net.IPv4(127, 53+byte(worlds.Add(1)), byte(os.Getpid()>>8), byte(os.Getpid())).String()
	world := &dns.Server{Addr: net.JoinHostPort(at, "53"), Net: "udp", Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}
			m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.ParseIP(ofTheWorld)}}
		}
		if q.Question[0].Name == largeName {
			h := dns.RR_Header{Name: largeName, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}
			for n := range 28 {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: h, Txt: []string{strings.Repeat(string('a'+rune(n)), 240)}})
			}
		}
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			m.SetEdns0(4096, false)
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
		_ = w.WriteMsg(m) // who asks will ask again
	})}
	up, down := make(chan struct{}), make(chan error, 1)
	world.NotifyStartedFunc = func() { close(up) }
	go func() { down <- world.ListenAndServe() }()
	select {
	case <-up:
	case err := <-down:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(world.Shutdown(), <-down); err != nil {
			t.Error(err)
		}
	})
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+at+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal(err)
	}
	script := `conf=$1; shift; mount --bind "$conf" /etc/resolv.conf; exec "$@"`
	cmd.Args = append([]string{"unshare", "--mount", "sh", "-ec", script, "sh", conf, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = unshare
}

// The parent zone by itself sends those who ask for a rack to its server.
func TestParentZoneDelegates(t *testing.T) {
	t.Parallel()
	server := etcdtest.FreeAddr(t)
	zone := filepath.Join(repository(), "zones", "convox.zone")
	d := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf("convox:%s {\n    bind 127.0.0.1\n    file %s\n}\n", portOf(t, server), zone)))
	ready(t, d, server, "convox.")
	m, err := found(server, "web.shop.acme.convox.", dns.TypeA)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rr := range append(m.Ns, m.Extra...) {
		if rr.Header().Rrtype != dns.TypeOPT {
			got = append(got, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	want := []string{"acme.convox. 300 IN NS ns.dns.acme.convox.", "ns.dns.acme.convox. 300 IN A 127.0.0.1"}
	if diff := cmp.Diff(want, got); diff != "" || len(m.Answer) > 0 || m.Authoritative {
		t.Errorf("referral (-want +got):\n%s%v", diff, m)
	}
}

// What the product prints about itself is one try away from an answer.
func TestBanner(t *testing.T) {
	t.Parallel()
	r := startRack(t, nil, "--docker", "off")
	eventually(t, "the banner", func() error {
		for _, want := range []string{r.name + ".convox", r.dns, r.etcd, "dig @127.0.0.1 -p " + portOf(t, r.dns)} {
			if !strings.Contains(r.out.String(), want) {
				return fmt.Errorf("%q is not in it", want)
			}
		}
		return nil
	})
}
