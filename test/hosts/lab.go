package hosts

import (
	"bytes"
	"crypto/rand"
	_ "embed" // for the janitor
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
)

// Lab is a number of machines and the networks between them. It ends with the
// test that made it, also if that is killed.
type Lab struct {
	t   *testing.T
	dir string
	// prefix begins the names of the lab's namespaces, which all of the machine see.
	prefix string
	lans   []*LAN
	// machines and hosts are in the order in which they were made.
	machines []*Machine
	hosts    []*Host
	// swarm begins with its manager.
	swarm []*Host
	names map[string]bool
}

// New makes an empty lab. It skips the test where the machine lacks what an
// engine takes, unless RACKDNS_REQUIRE_DOCKER is 1.
func New(t *testing.T) *Lab {
	t.Helper()
	dockertest.Require(t)
	l := &Lab{t: t, dir: t.TempDir(), prefix: "rdlab" + strings.ToLower(rand.Text()[:8]), names: map[string]bool{}}
	l.hire(t)
	return l
}

// Hosts are the lab's machines that have an engine, in the order of their making.
func (l *Lab) Hosts() []*Host { return l.hosts }

// cleanup removes something at the end of a test. What ends with the lab needs
// no removal by itself: its engine goes as a whole, which is faster.
func (l *Lab) cleanup(t *testing.T, remove func() error) {
	t.Helper()
	if t == l.t {
		return
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
}

// janitor is what cleans up after a lab.
//
//go:embed janitor.sh
var janitor string

// hire starts the janitor, which begins as soon as the test has ended, or died.
func (l *Lab) hire(t *testing.T) {
	t.Helper()
	waits, inUse, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	var out bytes.Buffer
	cmd := exec.Command("sh", "-c", janitor, "janitor.sh", l.dir, l.prefix)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = waits, &out, &out
	// An interrupt from the terminal is for the tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = inUse.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("cleaning up after the lab: %v\n%s", err, &out)
		}
	})
}

// namespace makes one.
func (l *Lab) namespace(t *testing.T, name string) *namespace {
	t.Helper()
	if l.names[name] {
		t.Fatalf("the lab has a %s already", name)
	}
	l.names[name] = true
	full := l.prefix + "-" + name
	run(t, "ip", "netns", "add", full)
	n := &namespace{path: "/run/netns/" + full}
	n.ip(t, "link", "set", "lo", "up")
	return n
}

// run runs a tool that has to succeed.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// LAN is a switch: a namespace with a bridge, which has no address itself.
type LAN struct {
	Name string

	prefixes []netip.Prefix
	netns    *namespace
	ports    int
}

// LAN makes a network between machines out of one or several prefixes, of which
// each machine on it has an address.
func (l *Lab) LAN(t *testing.T, name string, prefixes ...string) *LAN {
	t.Helper()
	lan := &LAN{Name: name, netns: l.namespace(t, name)}
	for _, p := range prefixes {
		lan.prefixes = append(lan.prefixes, netip.MustParsePrefix(p).Masked())
	}
	// Snooping loses what a querier would have to ask for; there is none.
	lan.netns.ip(t, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	lan.netns.ip(t, "link", "set", "br0", "up")
	l.lans = append(l.lans, lan)
	return lan
}

// plug connects a device of a machine's, which it makes.
func (lan *LAN) plug(t *testing.T, m *Machine, device string) {
	t.Helper()
	lan.ports++
	port := fmt.Sprintf("port%d", lan.ports)
	m.netns.ip(t, "link", "add", device, "type", "veth", "peer", "name", port, "netns", filepath.Base(lan.netns.path))
	lan.netns.ip(t, "link", "set", port, "master", "br0", "up")
	m.netns.ip(t, "link", "set", device, "up")
}

// prefixed gives an address of this LAN's its length.
func (lan *LAN) prefixed(t *testing.T, address string) string {
	t.Helper()
	a, err := netip.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range lan.prefixes {
		if p.Contains(a) {
			return netip.PrefixFrom(a, p.Bits()).String()
		}
	}
	t.Fatalf("%s is not in the LAN %s, %v", a, lan.Name, lan.prefixes)
	return ""
}
