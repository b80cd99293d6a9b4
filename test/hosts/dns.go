package hosts

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Whoami runs a DNS server inside, until the test ends, at a port of all
// addresses. It answers every question of type A or AAAA with the address that
// the question came from, or with none if that is of the other family: so a
// client learns as whom a DNS server there sees it.
func (c *Client) Whoami(t *testing.T, port uint16) {
	t.Helper()
	c.serveDNS(t, port, dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		reply.Authoritative = true
		q := query.Question[0]
		header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET}
		from, err := netip.ParseAddrPort(w.RemoteAddr().String())
		addr := from.Addr().Unmap().WithZone("")
		switch {
		case err != nil:
			reply.Rcode = dns.RcodeServerFailure
		case q.Qtype == dns.TypeA && addr.Is4():
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: addr.AsSlice()})
		case q.Qtype == dns.TypeAAAA && addr.Is6():
			reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
		}
		_ = w.WriteMsg(reply)
	}))
}

// serveDNS serves over UDP and TCP until the test ends.
func (c *Client) serveDNS(t *testing.T, port uint16, handler dns.Handler) {
	t.Helper()
	for _, proto := range []string{"udp", "tcp"} {
		s := &dns.Server{Handler: handler}
		err := c.netns.do(func() (err error) {
			if proto == "udp" {
				s.PacketConn, err = net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
			} else {
				s.Listener, err = net.ListenTCP("tcp", &net.TCPAddr{Port: int(port)})
			}
			return err
		})
		if err != nil {
			t.Fatalf("serve DNS on %s: %v", c.Name, err)
		}
		started, ended := make(chan struct{}), make(chan error, 1)
		s.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- s.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-ended:
			t.Fatalf("serve DNS on %s: %v", c.Name, err)
		}
		t.Cleanup(func() {
			_ = s.Shutdown()
			if err := <-ended; err != nil {
				t.Errorf("the DNS server on %s: %v", c.Name, err)
			}
		})
	}
}

// SeenAs is the address that the Whoami at server, or behind it, sees the client
// at.
func (c *Client) SeenAs(proto string, server netip.AddrPort) (netip.Addr, error) {
	// Each time another name: nobody between is to answer from a cache.
	name := fmt.Sprintf("q%d.whoami.test.", dns.Id())
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		found, err := c.Resolve(proto, server, name, kind)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("%s asks %s %s: %w", c.Name, proto, server, err)
		}
		for _, rr := range found {
			switch rr := rr.(type) {
			case *dns.A:
				return netip.MustParseAddr(rr.A.String()), nil
			case *dns.AAAA:
				return netip.MustParseAddr(rr.AAAA.String()), nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("%s asks %s %s: no address", c.Name, proto, server)
}

// Forward runs dnsmasq inside, until the test ends, at port 53 of all addresses.
// It asks the server at upstream and keeps no answers; more arguments are its
// own, such as --add-subnet=32,128. It is a proxying DNS in front of a server.
func (m *Machine) Forward(t *testing.T, upstream netip.AddrPort, args ...string) {
	t.Helper()
	m.lab.forward(t, &m.Client, upstream, args...)
}

// Forward is a machine's, inside the container's network namespace.
func (c *Container) Forward(t *testing.T, upstream netip.AddrPort, args ...string) {
	t.Helper()
	c.Node.lab.forward(t, &c.Client, upstream, args...)
}

func (l *Lab) forward(t *testing.T, c *Client, upstream netip.AddrPort, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		if os.Getenv("RACKDNS_REQUIRE_DOCKER") == "1" {
			t.Fatalf("no dnsmasq to put in front: %v", err)
		}
		t.Skipf("no dnsmasq to put in front: %v", err)
	}
	cmd := c.netns.command("dnsmasq", append([]string{
		"--keep-in-foreground", "--log-facility=-", "--user=root",
		"--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--cache-size=0",
		// The janitor knows it by this.
		"--pid-file=" + l.dir + "/dnsmasq-" + strings.ReplaceAll(c.Name, "/", "-"),
		"--server=" + upstream.Addr().String() + "#" + fmt.Sprint(upstream.Port()),
	}, args...)...)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the result is in cmd.ProcessState
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	loopback := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)
	// What it answers itself.
	probe := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
	probe.Question[0].Qclass = dns.ClassCHAOS
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := c.Exchange("udp", loopback, probe)
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("dnsmasq on %s: %v\n%s", c.Name, cmd.ProcessState, &log)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("dnsmasq on %s doesn't answer: %v", c.Name, err)
		}
	}
}
