package hosts

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
)

// Machine is one without Docker: whoever else is on a LAN, or routes between
// two.
type Machine struct {
	Client

	lab     *Lab
	config  string
	devices int
}

// Option is what a machine has.
type Option func(*testing.T, *Machine)

// On puts a machine on a LAN, with addresses there. The first LAN is eth0, as
// Docker's macvlan and ipvlan want it named, the second eth1.
func On(lan *LAN, addresses ...string) Option {
	return func(t *testing.T, m *Machine) {
		t.Helper()
		device := fmt.Sprintf("eth%d", m.devices)
		m.devices++
		lan.plug(t, m, device)
		for _, a := range addresses {
			m.Address(t, lan.prefixed(t, a), device)
		}
	}
}

// Address gives a machine one more address, as a VPN does: 100.64.0.7/32 on lo.
func Address(prefix, device string) Option {
	return func(t *testing.T, m *Machine) {
		t.Helper()
		m.Address(t, prefix, device)
	}
}

// Default gives a machine a default route; without, it has none.
func Default(gateway string) Option { return Route("default", gateway) }

// Route gives it another one.
func Route(prefix, gateway string) Option {
	return func(t *testing.T, m *Machine) {
		t.Helper()
		family := "-4"
		if strings.Contains(gateway, ":") {
			family = "-6"
		}
		m.netns.ip(t, family, "route", "add", prefix, "via", gateway)
	}
}

// Forwarding makes a machine a router.
func Forwarding() Option {
	return func(t *testing.T, m *Machine) {
		t.Helper()
		// What lies below /proc/sys/net is the reader's namespace's.
		err := m.netns.do(func() error {
			if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
				return err
			}
			return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Engine configures a host's Docker Engine: a daemon.json.
func Engine(config string) Option {
	return func(_ *testing.T, m *Machine) { m.config = config }
}

// Machine makes one.
func (l *Lab) Machine(t *testing.T, name string, opts ...Option) *Machine {
	t.Helper()
	m := &Machine{Client: Client{Name: name, netns: l.namespace(t, name)}, lab: l, config: "{}"}
	for _, o := range opts {
		o(t, m)
	}
	l.machines = append(l.machines, m)
	return m
}

// Address gives the machine one more address, in use at once.
func (m *Machine) Address(t *testing.T, prefix, device string) {
	t.Helper()
	args := []string{"address", "add", prefix, "dev", device}
	if netip.MustParsePrefix(prefix).Addr().Is6() {
		args = append(args, "nodad")
	}
	m.netns.ip(t, args...)
}

// Addresses are all that the machine has now, those of Docker's bridges and lo
// among them, but not what is link-local.
func (m *Machine) Addresses(t *testing.T) []netip.Addr {
	t.Helper()
	var addrs []netip.Addr
	err := m.netns.do(func() error {
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
				addrs = append(addrs, p.Addr())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// IPTables are the rules of one of the machine's tables, as iptables-save has
// them.
func (m *Machine) IPTables(t *testing.T, table string) string {
	t.Helper()
	return m.netns.run(t, "iptables-save", "-t", table)
}

// Host is a machine with a Docker Engine of its own.
type Host struct {
	*Machine
	// Engine is its Docker Engine.
	Engine *dockertest.Engine

	// networks and containers are those that are there.
	networks   []*Network
	containers []*Container
}

// Host makes one; its engine answers.
func (l *Lab) Host(t *testing.T, name string, opts ...Option) *Host {
	t.Helper()
	m := l.Machine(t, name, opts...)
	h := &Host{Machine: m, Engine: dockertest.New(t, dockertest.InNamespace(m.netns.path), dockertest.WithConfig(m.config))}
	m.Node = h
	h.importImage(t)
	l.hosts = append(l.hosts, h)
	return h
}

// canMake tries whether the kernel has a kind of link.
func (m *Machine) canMake(kind string) error {
	args := []string{"link", "add", "probe0", "type", kind}
	if kind == "vxlan" {
		args = append(args, "id", "4096", "dstport", "4789")
	} else {
		args = append([]string{"link", "add", "probe0", "link", "eth0"}, args[3:]...)
	}
	if out, err := m.netns.command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("the kernel makes no link of type %s: %s", kind, strings.TrimSpace(string(out)))
	}
	return m.netns.command("ip", "link", "delete", "probe0").Run()
}

// source is the IPv4 address that the default route sends from.
func (m *Machine) source() (from netip.Addr) {
	_ = m.netns.do(func() error {
		// Nothing is sent: it is the route that is asked for.
		c, err := net.Dial("udp4", "203.0.113.1:9")
		if err != nil {
			return err
		}
		defer c.Close()
		from = netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
		return nil
	})
	return from
}
