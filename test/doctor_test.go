package test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// finding is one of `rackdns doctor -o json`.
type finding struct{ Check, Result, What, Next string }

// doctor is the command for a rack and the files that it is told of.
type doctor struct {
	*rack
	args []string
}

// examined prepares the command. Whatever else runs on the machine is left out as
// far as it can be.
func (r *rack) examined(t *testing.T, b *bridge, args ...string) *doctor {
	t.Helper()
	return &doctor{r, append([]string{
		"doctor", "-o", "json", "--rack", r.name, "--node", r.node, "--etcd", r.etcd, "--dns", r.dns, "--network", b.name,
		"--daemon-config", file(t, "daemon.json", `{"dns": ["`+b.gateway.String()+`"]}`),
		"--resolv-conf", file(t, "resolv.conf", "nameserver "+b.gateway.String()+"\n"),
	}, args...)}
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// finds runs the command and returns its findings by check. Whether one failed is
// its exit code.
func (d *doctor) finds(t *testing.T, more ...string) map[string][]finding {
	t.Helper()
	stdout, stderr, code := completed(t, command(t, append(slices.Clone(d.args), more...)...))
	var all []finding
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	by, failed := map[string][]finding{}, 0
	for _, f := range all {
		by[f.Check] = append(by[f.Check], f)
		if f.Result == "failed" {
			failed = 1
		}
		if (f.Result == "failed" || f.Result == "warned") && f.Next == "" {
			t.Errorf("no next step: %+v", f)
		}
	}
	if code != failed {
		t.Errorf("exit code %d, want %d: %s", code, failed, stderr)
	}
	return by
}

// checkFinding demands a finding with these words.
func checkFinding(t *testing.T, by map[string][]finding, check, result string, words ...string) {
	t.Helper()
	is := func(f finding) bool {
		return f.Result == result && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(f.What, w) })
	}
	if !slices.ContainsFunc(by[check], is) || result == "passed" && len(by[check]) > 1 {
		t.Errorf("%s: %+v, want %s: %q", check, by[check], result, words)
	}
}

// TestDoctor looks at a rack with nothing wrong in it, and then at what is.
func TestDoctor(t *testing.T) {
	t.Parallel()
	b, app, at := newBridge(t), unique("shop"), etcdtest.FreeAddr(t)
	r := newRack(t, b)
	r.args[slices.Index(r.args, httpOff)] = at
	r.start()
	web := start(t, spec{app: app, service: "web", network: b, dns: b.gateway, expose: []string{"3000/tcp"}})
	eventually(t, "the service", func() error { return servedBy(r.dns, r.service("web", app), atHost(r.service("web", app), web)) })
	d := r.examined(t, b, "--http", at)
	by := d.finds(t)
	for check, words := range map[string]string{
		"registry": r.name, "registry-members": "1 member", "registry-protection": "socket", "nodes": "1 node", "engine": "Docker Engine",
		"node-versions": version, "services": "serving", "registered": "all", "processes": "1 process", "picture": "", "dns-server": r.dns,
		"dns-answers": "answer", "hidden-clients": "", "resolv-conf": b.gateway.String(), "daemon-dns": b.gateway.String(), "container-dns": b.name,
	} {
		checkFinding(t, by, check, "passed", words)
	}
	// By itself it finds the server, and its metrics.
	d.args = slices.DeleteFunc(d.args, func(a string) bool { return a == "--dns" || a == r.dns || a == "--http" || a == at })
	by = d.finds(t)
	checkFinding(t, by, "dns-server", "passed", r.dns)
	checkFinding(t, by, "picture", "passed")
	checkFinding(t, by, "ports", "passed", b.gateway.String()+":53")

	// Elsewhere nobody knows the rack.
	nowhere := etcdtest.FreeAddr(t)
	by = d.finds(t, "--dns", nowhere, "--docker", "tcp://127.0.0.1:1",
		"--resolv-conf", file(t, "resolv.conf", "nameserver 127.255.255.1\nnameserver "+b.gateway.String()+"\n"))
	checkFinding(t, by, "dns-server", "failed", nowhere)
	checkFinding(t, by, "resolv-conf", "warned", b.gateway.String(), "127.255.255.1, which is asked first")
	checkFinding(t, by, "engine", "failed", "127.0.0.1:1")
	by = d.finds(t, "--daemon-config", file(t, "daemon.json", `{"dns": ["127.255.255.1"]}`),
		"--resolv-conf", file(t, "resolv.conf", "nameserver 127.255.255.1\n"))
	checkFinding(t, by, "daemon-dns", "warned", "127.255.255.1")
	checkFinding(t, by, "resolv-conf", "warned", "127.255.255.1")

	// By another name this host has no agent.
	by = d.finds(t, "--node", "node-nobody")
	checkFinding(t, by, "nodes", "warned", "node-nobody, has no agent")
	checkFinding(t, by, "registered", "skipped")

	// What is wrong with containers.
	start(t, spec{network: b, labels: map[string]string{"rackdns.app": app, "rackdns.service": "no!name"}, dns: netip.MustParseAddr("127.255.255.1")})
	start(t, spec{network: b, labels: map[string]string{"rackdns.app": app, "rackdns.service": "my_job", "rackdns.weight": "many"}})
	start(t, spec{network: b, labels: map[string]string{"rackdns.app": app, "rackdns.service": "my-job"}})
	by = d.finds(t)
	if len(by["containers"]) == 1 { // others may have more of them than are told
		checkFinding(t, by, "containers", "warned", "no!name")
	}
	checkFinding(t, by, "folded", "warned", "my-job of app "+app+" and my_job of app "+app)
	if len(by["labels"]) == 1 {
		checkFinding(t, by, "labels", "warned", "rackdns.weight")
	}
}

// A container that asks elsewhere is told of, from inside.
func TestDoctorInside(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	r := startRack(t, b)
	start(t, spec{network: b, dns: netip.MustParseAddr("127.255.255.1")})
	checkFinding(t, r.examined(t, b).finds(t), "container-dns", "warned", b.name, r.zone[:len(r.zone)-1])
}

// A server that answers by other rules than the registry's is told of.
func TestDoctorAnswers(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	c := start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}})
	eventually(t, "the service", func() error { return servedBy(r.dns, r.service("web", app), atHost(r.service("web", app), c)) })
	at := etcdtest.FreeAddr(t)
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf("%s:%s {\n bind %s\n errors\n rack {\n etcd %s\n node %s\n address container\n }\n}\n",
		strings.TrimSuffix(r.zone, "."), port, host, r.etcd, r.node)))
	ready(t, p, at, r.zone)
	d := r.examined(t, b)
	checkFinding(t, d.finds(t), "dns-answers", "passed")
	checkFinding(t, d.finds(t, "--dns", at), "dns-answers", "failed", at, "web."+app, c.id+":3000")
	checkFinding(t, d.finds(t, "--dns", at, "--address", "container"), "dns-answers", "failed", r.dns)
}

// resolver runs a dnsmasq or an unbound at port 53 of a loopback address of its
// own.
func resolver(t *testing.T, r *rack, tool string, ip netip.Addr, options ...string) {
	t.Helper()
	needTool(t, tool)
	listen, upstream := netip.AddrPortFrom(ip, 53), netip.MustParseAddrPort(r.dns)
	demand(t, etcdtest.Listenable(listen.String()) == nil, "can't listen on %s: run the tests as root", listen)
	zone := strings.TrimSuffix(r.zone, ".")
	var args []string
	switch tool {
	case "unbound":
		args = []string{"-d", "-c", unboundConfig(t, listen, strings.Join(options, "")+
			fmt.Sprintf("forward-zone:\n  name: %q\n  forward-addr: %s@%d\n", zone, upstream.Addr(), upstream.Port()))}
	case "dnsmasq":
		args = append([]string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--pid-file=", "--user=root",
			"--listen-address=" + ip.String(), "--port=53", fmt.Sprintf("--server=/%s/%s#%d", zone, upstream.Addr(), upstream.Port())}, options...)
	}
	p := launchCommand(t, exec.Command(tool, args...))
	eventually(t, tool+" answers", func() error {
		if !p.running() {
			t.Fatalf("%v ended: %v", p.cmd.Args, p.cmd.ProcessState)
		}
		_, err := ask(listen.String(), "udp", r.zone, dns.TypeSOA)
		return err
	})
}

// TestDoctorForwarders has forwarders in front that spoil answers, and the same
// ones told not to.
func TestDoctorForwarders(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	zone := strings.TrimSuffix(r.zone, ".")
	start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}})
	anchor := func(zone string) string { return fmt.Sprintf("  trust-anchor: \"%s DS 12345 13 2 %064d\"\n", zone, 1) }
	for n, tc := range []struct {
		name, tool, result, words string
		options                   []string
	}{
		{"dnsmasq", "dnsmasq", "passed", "", nil},
		{"dnsmasq with a filter against rebinding", "dnsmasq", "failed", "filters against rebinding", []string{"--stop-dns-rebind"}},
		{"dnsmasq with a filter that knows the zone", "dnsmasq", "passed", "", []string{"--stop-dns-rebind", "--rebind-domain-ok=/" + zone + "/"}},
		{"unbound", "unbound", "passed", "", nil},
		{"unbound that validates", "unbound", "failed", "validates DNSSEC", []string{anchor(r.zone)}},
		{"unbound that validates, and knows the zone", "unbound", "passed", "", []string{anchor("convox."), fmt.Sprintf("  domain-insecure: %q\n", zone)}},
		{"unbound with a filter against rebinding", "unbound", "failed", "filters against rebinding", []string{"  private-address: 10.0.0.0/8\n  private-address: 172.16.0.0/12\n  private-address: 192.168.0.0/16\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ip := netip.AddrFrom4([4]byte{127, 83, byte(os.Getpid()), byte(n + 1)})
			resolver(t, r, tc.tool, ip, tc.options...)
			by := r.examined(t, b).finds(t, "--resolv-conf", file(t, "resolv.conf", "nameserver "+ip.String()+"\n"))
			checkFinding(t, by, "forwarder", tc.result, ip.String(), tc.words)
		})
	}
	by := r.examined(t, b).finds(t, "--resolv-conf", file(t, "resolv.conf", "nameserver 127.255.255.1\n"))
	checkFinding(t, by, "forwarder", "skipped")
}

// Clients of a dnsmasq on the host are taken for the host, unless our server knows
// it for a forwarder.
func TestDoctorForwarderClients(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, result string
		args         []string
	}{
		{"unknown", "warned", nil},
		{"known", "passed", []string{"--forwarders", "127.0.0.0/8"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, app := newBridge(t), unique("shop")
			r := startRack(t, nil, append([]string{"--host-address", b.gateway.String()}, tc.args...)...)
			c := start(t, spec{app: app, service: "web", network: b})
			d := r.examined(t, b, tc.args...)
			if tc.args == nil {
				eventually(t, "the service", func() error { return resolvesTo(r.dns, r.service("web", app), c.address().String()) })
			}
			resolver(t, r, "dnsmasq", b.gateway)
			by := d.finds(t)
			checkFinding(t, by, "forwarder-clients", tc.result)
			checkFinding(t, by, "ports", "warned", b.gateway.String()+" is taken by dnsmasq")
		})
	}
}
