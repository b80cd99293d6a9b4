package test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// rack is a `rackdns standalone` and how to reach it.
type rack struct {
	*process
	t *testing.T
	// name and zone of the rack; node is this machine's name in it.
	name, zone, node string
	// dns is where it listens on the loopback interface, etcd the URL of its
	// registry's socket.
	dns, etcd string
	data      string
	args      []string
}

// httpOff keeps the racks of tests off the port that all of them would want.
const httpOff = "off"

// newRack prepares a rack for the containers of a network, which reach its DNS
// server at the network's gateway. Without a network it only listens on the
// loopback interface.
func newRack(t *testing.T, b *bridge, args ...string) *rack {
	t.Helper()
	name := unique("r")
	r := &rack{
		t: t, name: name, zone: name + ".convox.", node: unique("node"),
		dns: etcdtest.FreeAddr(t), data: filepath.Join(shortDir(t), "data"),
	}
	r.etcd = "unix://" + r.socket()
	r.args = []string{
		"standalone", "--rack", r.name, "--node", r.node, "--data", r.data,
		"--dns", r.dns, "--http", httpOff,
	}
	if b != nil {
		port53 := netip.AddrPortFrom(b.gateway, 53).String()
		demand(t, etcdtest.Listenable(port53) == nil, "can't listen on %s: run the tests as root", port53)
		r.args = append(r.args, "--dns", port53, "--host-address", b.gateway.String())
	}
	r.args = append(r.args, args...)
	return r
}

// socket is the path of the registry's socket.
func (r *rack) socket() string { return filepath.Join(r.data, "etcd.sock") }

// shortDir is a directory for sockets, whose paths must be shorter than
// t.TempDir's often are.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rackdns-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// startRack starts a new rack and waits until it answers.
func startRack(t *testing.T, b *bridge, args ...string) *rack {
	t.Helper()
	r := newRack(t, b, args...)
	r.start()
	return r
}

// start starts the rack, again if it was stopped, and waits until it answers.
func (r *rack) start() {
	r.t.Helper()
	r.process = launch(r.t, r.args...)
	ready(r.t, r.process, r.dns, r.zone)
}

// ready waits until a server answers for a zone.
func ready(t *testing.T, p *process, server, zone string) {
	t.Helper()
	eventually(t, "waiting for "+zone+" at "+server, func() error {
		if !p.running() {
			t.Fatalf("%v ended: %v", p.cmd.Args[1:], p.cmd.ProcessState)
		}
		m, err := ask(server, "udp", zone, dns.TypeSOA)
		if err == nil && (m.Rcode != dns.RcodeSuccess || !m.Authoritative) {
			err = fmt.Errorf("%s answers %s, authoritative: %t", zone, dns.RcodeToString[m.Rcode], m.Authoritative)
		}
		return err
	})
}

// service is the name of a service of an app.
func (r *rack) service(service, app string) string {
	return service + "." + app + "." + r.zone
}

// corefile writes a Corefile for `rackdns dns` and returns its path.
func corefile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
