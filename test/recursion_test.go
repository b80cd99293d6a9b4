package test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// largeName is one for which the world has an answer of 7 KB.
const largeName = "large.test."

// vicinity is a network namespace with a wire to this host, and an address in
// each of the host's networks on it; a stranger's address is in none of them.
type vicinity struct {
	t    *testing.T
	name string
	// host and wire are the ends of the wire.
	host, wire string
}

func newVicinity(t *testing.T) *vicinity {
	t.Helper()
	needTool(t, "ip")
	demand(t, os.Getuid() == 0, "can't make a network namespace: not root")
	v := &vicinity{t: t, name: unique("rd"), host: unique("h"), wire: unique("w")}
	v.ip("netns", "add", v.name)
	t.Cleanup(func() { v.ip("netns", "del", v.name) }) // the wire goes with it
	v.ip("link", "add", v.host, "type", "veth", "peer", "name", v.wire, "netns", v.name)
	v.ip("link", "set", v.host, "up")
	v.inside("link", "set", v.wire, "up")
	v.inside("link", "set", "lo", "up")
	return v
}

func (v *vicinity) ip(args ...string) {
	v.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		v.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (v *vicinity) inside(args ...string) {
	v.t.Helper()
	v.ip(append([]string{"-n", v.name}, args...)...)
}

// network gives the wire a network, of which the host has the first address and
// a neighbor the second.
func (v *vicinity) network(first netip.Prefix) (neighbor netip.Addr) {
	v.t.Helper()
	neighbor = first.Addr().Next()
	there := netip.PrefixFrom(neighbor, first.Bits())
	if first.Addr().Is4() {
		v.inside("address", "add", there.String(), "dev", v.wire)
		v.ip("address", "add", first.String(), "dev", v.host)
	} else {
		v.inside("address", "add", there.String(), "dev", v.wire, "nodad")
		v.ip("address", "add", first.String(), "dev", v.host, "nodad")
	}
	return neighbor
}

// stranger gives the namespace an address that the host has a way to, by way of
// a neighbor, and no network with.
func (v *vicinity) stranger(addr, neighbor netip.Addr) netip.Addr {
	v.t.Helper()
	one := netip.PrefixFrom(addr, addr.BitLen()).String()
	v.inside("address", "add", one, "dev", "lo")
	v.ip("route", "add", one, "via", neighbor.String())
	return addr
}

// octets are a reply and its size, and that of the question.
type octets struct {
	*dns.Msg
	sent, received int
}

// ask asks over UDP from an address in the namespace, as one who takes 4096
// octets.
func (v *vicinity) ask(from, server netip.AddrPort, name string, qtype uint16) (octets, error) {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(4096, false)
	wire, err := m.Pack()
	if err != nil {
		return octets{}, err
	}
	conn, err := v.dial(from, server)
	if err != nil {
		return octets{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return octets{}, err
	}
	if _, err := conn.Write(wire); err != nil {
		return octets{}, err
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		return octets{}, fmt.Errorf("%s asks %s for %s: %w", from, server, name, err)
	}
	r := octets{Msg: new(dns.Msg), sent: len(wire), received: n}
	return r, r.Unpack(buf[:n])
}

// dial opens a socket in the namespace, which it stays in.
func (v *vicinity) dial(from, to netip.AddrPort) (conn *net.UDPConn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread ends with the goroutine, and takes no other into the namespace.
		runtime.LockOSThread()
		var f *os.File
		if f, err = os.Open("/run/netns/" + v.name); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
		}
	}()
	<-done
	return conn, err
}

// refused wants a refusal that is of no use to anybody who sent the question in
// another's name.
func refused(r octets, err error) error {
	if err == nil && (r.Rcode != dns.RcodeRefused || len(r.Answer) > 0 || r.received > r.sent) {
		err = fmt.Errorf("%d octets for %d: %v", r.received, r.sent, r.Msg)
	}
	return err
}

func answeredBy(r octets, err error) error {
	if err == nil && (r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0 && !r.Truncated || r.received > 1232) {
		err = fmt.Errorf("%d octets for %d: %v", r.received, r.sent, r.Msg)
	}
	return err
}

// subnets are networks of this test's own: of the ranges for local use, and one
// of the range for documentation, which stands for public addresses.
func subnets() (v4, later, v6, public netip.Prefix) {
	pid := os.Getpid()
	hi, lo := byte(pid>>8), byte(pid)
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 203, hi, lo &^ 7}).Next(), 29),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 204, hi, lo &^ 7}).Next(), 29),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0x5e, hi, lo, 15: 1}), 64),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, lo &^ 7}).Next(), 29)
}

// A server that listens on all addresses, as the image's does, tells everybody
// the rack's names. Other names it looks up for those alone who are in a network
// of its host, also one that is new, also if it remembers the answer.
func TestNotAnOpenResolver(t *testing.T) {
	t.Parallel()
	v := newVicinity(t)
	v4, later, v6, public := subnets()
	neighbor, neighbor6 := v.network(v4), v.network(v6)
	tenant := v.network(public)
	stranger := v.stranger(netip.AddrFrom4([4]byte{192, 0, 2, byte(os.Getpid())}), neighbor)
	stranger6 := v.stranger(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(os.Getpid() >> 8), byte(os.Getpid()), 15: 1}), neighbor6)

	r := newRack(t, nil, "--docker", "off")
	open := etcdtest.FreeAddr(t)
	r.args = append(r.args, "--dns", "[::]:"+portOf(t, open))
	cmd := command(t, r.args...)
	instead(t, cmd)
	r.process = launchCommand(t, cmd)
	ready(t, r.process, r.dns, r.zone)
	register(t, r, "orders", 30)
	eventually(t, "the instances", func() error {
		m, err := found(r.dns, r.service("web", "orders"), dns.TypeA)
		if err == nil && len(m.Answer) < 30 {
			err = fmt.Errorf("%d addresses", len(m.Answer))
		}
		return err
	})
	if out := r.out.String(); !strings.Contains(out, "this host's networks and Docker's (--allow-recursion)") {
		t.Errorf("the banner doesn't say for whom names are looked up:\n%s", out)
	}
	openPort := netip.MustParseAddrPort(open).Port()
	at4, at6 := netip.AddrPortFrom(v4.Addr(), openPort), netip.AddrPortFrom(v6.Addr(), openPort)
	own := []string{r.zone, r.service("web", "orders"), "web.orders."}
	for _, tc := range []struct {
		who     string
		from    netip.Addr
		at      netip.AddrPort
		allowed bool
	}{
		{"neighbor", neighbor, at4, true}, // first, so that the answers are remembered
		{"neighbor by IPv6", neighbor6, at6, true},
		{"stranger", stranger, at4, false},
		{"stranger by IPv6", stranger6, at6, false},
		{"neighbor with a public address", tenant, netip.AddrPortFrom(public.Addr(), openPort), false},
	} {
		from := netip.AddrPortFrom(tc.from, 0)
		for _, name := range own {
			qtype := dns.TypeSRV
			if name == r.zone {
				qtype = dns.TypeSOA
			}
			if err := answeredBy(v.ask(from, tc.at, name, qtype)); err != nil {
				t.Errorf("%s, a name of ours: %v", tc.who, err)
			}
		}
		for name, qtype := range map[string]uint16{"elsewhere.test.": dns.TypeA, largeName: dns.TypeTXT, ".": dns.TypeNS} {
			got, err := v.ask(from, tc.at, name, qtype)
			if err == nil {
				t.Logf("%s: %s %s: %d octets for %d, %s, TC %v", tc.who, name, dns.TypeToString[qtype], got.received, got.sent, dns.RcodeToString[got.Rcode], got.Truncated)
			}
			switch {
			case !tc.allowed:
				if err := refused(got, err); err != nil {
					t.Errorf("%s: %v", tc.who, err)
				}
			case name == largeName && err == nil && (!got.Truncated || got.received > 1232):
				t.Errorf("%s: %d octets, TC %v: %v", tc.who, got.received, got.Truncated, got.Rcode)
			case err != nil || got.Rcode != dns.RcodeSuccess:
				t.Errorf("%s: %v %v", tc.who, got.Msg, err)
			}
		}
	}
	if err := resolvesTo(r.dns, "elsewhere.test.", ofTheWorld); err != nil {
		t.Errorf("the host itself: %v", err)
	}
	newcomer := v.network(later)
	if err := answeredBy(v.ask(netip.AddrPortFrom(newcomer, 0), netip.AddrPortFrom(later.Addr(), openPort), "elsewhere.test.", dns.TypeA)); err != nil {
		t.Errorf("the first question from a network that is new: %v", err)
	}
	v.ip("address", "del", later.String(), "dev", v.host)
	v.ip("route", "add", later.Masked().String(), "dev", v.host)
	eventually(t, "a network that is gone is a stranger's", func() error {
		return refused(v.ask(netip.AddrPortFrom(newcomer, 0), at4, "elsewhere.test.", dns.TypeA))
	})
	if n := strings.Count(r.out.String(), "refused to look up"); n != 1 {
		t.Errorf("%d lines of refusals, want 1:\n%s", n, r.out)
	}
}

// The operator says whom else names are looked up for, or that they aren't.
func TestAllowRecursion(t *testing.T) {
	t.Parallel()
	v := newVicinity(t)
	pid := os.Getpid()
	link := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 205, byte(pid >> 8), byte(pid) &^ 7}).Next(), 29)
	stranger := v.stranger(netip.AddrFrom4([4]byte{198, 51, 100, byte(pid)}), v.network(link))
	for _, tc := range []struct {
		allow, banner   string
		stranger, local bool
	}{
		{"localnets," + stranger.String() + "/32", "this host's networks and Docker's, " + stranger.String(), true, true},
		{stranger.String(), "for " + stranger.String(), true, false},
		{"any", "an open resolver", true, true},
		{"none", "no other names", false, false},
	} {
		t.Run(tc.allow, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, nil, "--docker", "off", "--allow-recursion", tc.allow)
			all := netip.AddrPortFrom(netip.IPv4Unspecified(), netip.MustParseAddrPort(r.dns).Port())
			for n, arg := range r.args {
				if arg == r.dns {
					r.args[n] = all.String()
				}
			}
			cmd := command(t, r.args...)
			instead(t, cmd)
			r.process = launchCommand(t, cmd)
			ready(t, r.process, r.dns, r.zone)
			// It is printed once it answers.
			eventually(t, "the banner", func() error {
				if !strings.Contains(r.out.String(), tc.banner) {
					return fmt.Errorf("no %q in\n%s", tc.banner, r.out)
				}
				return nil
			})
			check := refused
			if tc.stranger {
				check = answeredBy
			}
			if err := check(v.ask(netip.AddrPortFrom(stranger, 0), netip.AddrPortFrom(link.Addr(), all.Port()), "elsewhere.test.", dns.TypeA)); err != nil {
				t.Errorf("stranger: %v", err)
			}
			m, err := ask(r.dns, "udp", "elsewhere.test.", dns.TypeA)
			if err == nil && (m.Rcode == dns.RcodeSuccess) != tc.local {
				err = errors.New(m.String())
			}
			if err != nil {
				t.Errorf("this host: %v", err)
			}
		})
	}
}
