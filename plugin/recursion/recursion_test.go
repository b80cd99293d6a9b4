package recursion

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/plugin/rack"
)

// on is a network of an interface that has the address.
func on(own string, docker bool) network {
	p := netip.MustParsePrefix(own)
	return network{own: p.Addr(), prefix: p.Masked(), docker: docker}
}

// host is one in a cloud, with a LAN, a VPN and Docker.
func host() []network {
	return []network{
		on("127.0.0.1/8", false), on("::1/128", false),
		on("203.0.113.5/24", false), on("2001:db8::5/64", false), on("fe80::1/64", false), on("fe80::2/64", false),
		on("10.0.2.10/24", false), on("100.64.0.7/32", false), on("fd00::5/64", false),
		on("172.17.0.1/16", true), on("11.0.0.1/16", true), on("2001:db8:d::1/64", true), on("192.1.0.1/8", false),
	}
}

func TestServed(t *testing.T) {
	t.Parallel()
	set := served(host())
	for ip, want := range map[string]bool{
		"127.0.0.1": true, "127.1.2.3": false, // which contain knows without a set
		"203.0.113.5": true, "203.0.113.6": false, "2001:db8::5": true, "2001:db8::6": false,
		"10.0.2.10": true, "10.0.2.99": true, "10.0.3.1": false, "fe80::9": true, "fd00::9": true, "fd00:0:0:1::9": false,
		"100.64.0.7": true, "100.64.0.8": false, "172.17.5.5": true, "172.18.0.2": false, "11.0.9.9": true, "2001:db8:d::9": true,
		"192.168.0.1": false, "192.1.0.1": true, "8.8.8.8": false,
	} {
		if got := contains(&set, netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	if n := len(set); n != 12 {
		t.Errorf("%d networks, so some are there twice: %v", n, set)
	}
}

// A network that is new is found by its first question; strangers have the
// interfaces read once a second at most, and clients that are known never.
func TestReread(t *testing.T) {
	t.Parallel()
	found, reads := host(), 0
	var fault error
	n := newNetworks(func() ([]network, error) {
		reads++
		return found, fault
	})
	if err := n.reread(0); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if !n.contain(netip.MustParseAddr("10.0.2.99")) || n.contain(netip.MustParseAddr("198.51.100.1")) {
			t.Fatal("wrong")
		}
	}
	if reads != 1 {
		t.Errorf("read %d times", reads)
	}
	found = append(found, on("10.9.0.1/24", true))
	n.readAt = n.readAt.Add(-rereadAfter)
	if !n.contain(netip.MustParseAddr("10.9.0.2")) || reads != 2 {
		t.Errorf("the new network is unknown, after %d reads", reads)
	}
	// What was known stays if the kernel doesn't answer.
	fault = errors.New("no")
	n.readAt = n.readAt.Add(-rereadAfter)
	if n.contain(netip.MustParseAddr("198.51.100.1")) || !n.contain(netip.MustParseAddr("10.9.0.2")) || n.contain(netip.Addr{}) {
		t.Error("after a fault")
	}
}

// The kernel's list is what the net package says.
func TestInterfaceNetworks(t *testing.T) {
	t.Parallel()
	found, err := interfaceNetworks()
	if err != nil {
		t.Fatal(err)
	}
	loopback := false
	for _, n := range found {
		loopback = loopback || n.own == netip.MustParseAddr("127.0.0.1") && n.prefix == netip.MustParsePrefix("127.0.0.0/8")
		if !n.prefix.IsValid() || !n.own.IsValid() {
			t.Errorf("%+v", n)
		}
	}
	if !loopback {
		t.Errorf("no loopback in %v", found)
	}
}

// Nothing is left when the server stops, which it may before it started.
func TestStop(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n := newNetworks(interfaceNetworks)
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- n.stop() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still listens for changes")
	}
}

func TestServeDNS(t *testing.T) {
	t.Parallel()
	x, err := index.Open(index.Config{
		Registry: registry.Config{Rack: "acme"}, Options: index.Options{Node: "node-1"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	own, err := rack.New(x, "acme.convox.", "18.172.in-addr.arpa.")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, corefile, from, qname string
		want                        bool
	}{
		{"neighbor", "recursion", "10.0.2.99", "example.com.", true},
		{"container", "recursion", "172.17.0.9", "example.com.", true},
		{"itself", "recursion", "127.0.0.53", "example.com.", true},
		{"itself by IPv6", "recursion", "::1", "example.com.", true},
		{"mapped", "recursion", "::ffff:10.0.2.99", "example.com.", true},
		{"stranger", "recursion", "203.0.113.6", "example.com.", false},
		{"the root", "recursion", "203.0.113.6", ".", false},
		{"the suffix", "recursion", "203.0.113.6", "convox.", false},
		{"alike", "recursion", "203.0.113.6", "evilacme.convox.", false},
		{"escaped", "recursion", "203.0.113.6", `evil\.acme.convox.`, false},
		{"the rack's", "recursion", "203.0.113.6", "WEB.shop.ACME.convox.", true},
		{"the rack itself", "recursion", "203.0.113.6", "acme.convox.", true},
		{"reverse", "recursion", "203.0.113.6", "2.0.18.172.in-addr.arpa.", true},
		{"the rack's, for nobody", "recursion none", "203.0.113.6", "web.shop.acme.convox.", true},
		{"nobody", "recursion none", "10.0.2.99", "example.com.", false},
		{"everybody", "recursion any", "203.0.113.6", "example.com.", true},
		{"listed", "recursion 203.0.113.0/30", "203.0.113.2", "example.com.", true},
		{"beside", "recursion 203.0.113.0/30", "203.0.113.4", "example.com.", false},
		{"not listed", "recursion 203.0.113.0/30", "10.0.2.99", "example.com.", false},
		{"except", "recursion {\n except Example.org\n}", "203.0.113.6", "WWW.example.org.", true},
		{"beside except", "recursion {\n except example.org\n}", "203.0.113.6", "example.com.", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := parse(caddy.NewTestController("dns", tc.corefile))
			if err != nil {
				t.Fatal(err)
			}
			set := served(host())
			r.networks.set.Store(&set)
			r.networks.readAt = time.Now().Add(time.Hour)
			r.rack = own
			passed := false
			r.Next = plugin.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
				passed = true
				return dns.RcodeSuccess, nil
			})
			code, err := r.ServeDNS(t.Context(), &test.ResponseWriter{RemoteIP: tc.from}, new(dns.Msg).SetQuestion(tc.qname, dns.TypeA))
			want := dns.RcodeRefused
			if tc.want {
				want = dns.RcodeSuccess
			}
			if diff := cmp.Diff([]any{want, error(nil), tc.want}, []any{code, err, passed}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func BenchmarkOwnName(b *testing.B) {
	x, err := index.Open(index.Config{
		Registry: registry.Config{Rack: "acme"}, Options: index.Options{Node: "node-1"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	own, err := rack.New(x, "acme.convox.")
	if err != nil {
		b.Fatal(err)
	}
	r := &Recursion{localnets: true, networks: newNetworks(interfaceNetworks), rack: own, Next: plugin.HandlerFunc(
		func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return dns.RcodeSuccess, nil })}
	m, w := new(dns.Msg).SetQuestion("web.shop.acme.convox.", dns.TypeA), &test.ResponseWriter{}
	for b.Loop() {
		_, _ = r.ServeDNS(context.Background(), w, m)
	}
}
