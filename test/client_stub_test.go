package test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/rackdns/rackdns/internal/registry"
)

// register writes instances of another node, as its agent would.
func register(t *testing.T, r *rack, app string, n int) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{r.etcd}, DialTimeout: soon, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := registry.NewLayout(registry.DefaultPrefix, r.name)
	if err != nil {
		t.Fatal(err)
	}
	var puts []clientv3.Op
	for i := range n {
		ip := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		is := registry.Instance{
			ID: fmt.Sprintf("%012x", i), Node: "node-of-" + app, App: app, Service: "web", Namespace: app,
			Status: registry.StatusRunning, Weight: 1, Host: ip, Started: time.Now(),
			Ports: []registry.Port{{Protocol: registry.TCP, Container: 3000, Bindings: []registry.Binding{{IP: ip, Port: 40000}}}},
		}
		value, err := registry.Encode(is)
		if err != nil {
			t.Fatal(err)
		}
		puts = append(puts, clientv3.OpPut(l.Instance(is.Node, is.ID), string(value)))
	}
	// etcd takes no more at once.
	for part := range slices.Chunk(puts, 100) {
		if _, err := c.Txn(t.Context()).Then(part...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// withoutEDNS asks a question, and returns the reply with its size.
func withoutEDNS(network, server string, question *dns.Msg) (*dns.Msg, int, error) {
	conn, err := net.DialTimeout(network, server, soon)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return nil, 0, err
	}
	c := dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
	if err := c.WriteMsg(question); err != nil {
		return nil, 0, err
	}
	wire, err := c.ReadMsgHeader(nil)
	if err != nil {
		return nil, 0, err
	}
	m := new(dns.Msg)
	return m, len(wire), m.Unpack(wire)
}

// TestStubWithoutEDNS is a resolver such as systemd's stub or a small device:
// it takes 512 octets over UDP, and asks over TCP when it is told that there
// is more.
func TestStubWithoutEDNS(t *testing.T) {
	t.Parallel()
	r, app := startRack(t, nil), unique("orders")
	const n = 300
	register(t, r, app, n)
	name := r.service("web", app)
	stub := func(network string, qtype uint16) (*dns.Msg, int, error) {
		return withoutEDNS(network, r.dns, new(dns.Msg).SetQuestion(name, qtype))
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
		eventually(t, "all instances over TCP", func() error {
			m, _, err := stub("tcp", qtype)
			if err == nil && (len(m.Answer) != n || m.Truncated) {
				err = fmt.Errorf("%d records, TC %v", len(m.Answer), m.Truncated)
			}
			return err
		})
		m, size, err := stub("udp", qtype)
		if err != nil {
			t.Fatal(err)
		}
		if size > dns.MinMsgSize || !m.Truncated || len(m.Answer) == 0 || len(m.Extra) > 0 {
			t.Errorf("%s over UDP: %d octets, TC %v, %d records, %d beside them; want some records alone in 512 octets, and TC",
				dns.TypeToString[qtype], size, m.Truncated, len(m.Answer), len(m.Extra))
		}
	}
}
