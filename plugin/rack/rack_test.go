package rack

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

const (
	testZone = "acme.convox."
	// outside is the address of an asker of whom nothing is known.
	outside = "203.0.113.9"
	// serial is the revision of the last change in the rack under test.
	serial = 42
)

var layout = func() registry.Layout {
	l, err := registry.NewLayout(registry.DefaultPrefix, "acme")
	if err != nil {
		panic(err)
	}
	return l
}()

// put is the entry of a value in the registry.
func put(t testing.TB, v any) registry.Entry {
	t.Helper()
	e := registry.Entry{ModRevision: serial}
	switch v := v.(type) {
	case registry.Instance:
		e.Key = layout.Instance(v.Node, v.ID)
	case registry.Node:
		e.Key = layout.Node(v.Node)
	case registry.Service:
		e.Key = layout.Service(v.App, v.Service)
	case registry.Resource:
		e.Key = layout.Resource(v.App, v.Name)
	default:
		t.Fatalf("%T is nothing that a registry holds", v)
	}
	value, err := registry.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	e.Value = value
	return e
}

// newIndex returns an index of what the registry holds, for node-1.
func newIndex(t testing.TB, values ...any) *index.Index {
	t.Helper()
	x, err := index.Open(index.Config{
		Registry: registry.Config{Rack: "acme"},
		Options:  index.Options{Node: "node-1"},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	feed(t, x, values...)
	return x
}

// feed makes the values all that the registry holds.
func feed(t testing.TB, x *index.Index, values ...any) {
	t.Helper()
	f := x.Feed()
	f.BeginList(serial, false)
	for _, v := range values {
		f.List([]registry.Entry{put(t, v)})
	}
	f.EndList()
	f.Confirm()
}

// change is a change as the watch reports it.
func change(t testing.TB, x *index.Index, revision int64, v any, deleted bool) {
	t.Helper()
	e := put(t, v)
	e.ModRevision = revision
	if deleted {
		e.Value = nil
	}
	x.Feed().Update([]registry.Entry{e})
	x.Feed().Confirm()
}

// newTestRack returns a plugin over an index of these values.
func newTestRack(t testing.TB, values ...any) *Rack {
	t.Helper()
	r, err := New(newIndex(t, values...), testZone, "18.172.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa.")
	if err != nil {
		t.Fatal(err)
	}
	r.config.Options.Node = "node-1"
	r.nsAddrs = []netip.Addr{netip.MustParseAddr("10.0.2.10")}
	return r
}

// instance is a running one on node-1, published at 10.0.2.10 and 47889, with
// an address on a network of its node.
func instance(id, app, service string, change ...func(*registry.Instance)) registry.Instance {
	i := registry.Instance{
		ID: id, Node: "node-1", App: app, Service: service, Namespace: app,
		Status: registry.StatusRunning, Weight: 1, Host: netip.MustParseAddr("10.0.2.10"),
		Started: time.Unix(1_700_000_000, 0),
		Ports: []registry.Port{{Name: "http", Protocol: registry.TCP, Container: 3000,
			Bindings: []registry.Binding{{IP: netip.MustParseAddr("10.0.2.10"), Port: 47889}}}},
	}
	for _, c := range change {
		c(&i)
	}
	return i
}

// at publishes the instance's first port somewhere.
func at(ip string, port uint16) func(*registry.Instance) {
	return func(i *registry.Instance) {
		i.Ports[0].Bindings = []registry.Binding{{IP: netip.MustParseAddr(ip), Port: port}}
	}
}

// on puts the instance on a network of its node; "" is no address.
func on(network, ipv4, ipv6 string) func(*registry.Instance) {
	return func(i *registry.Instance) {
		n := registry.Network{ID: network + "@" + i.Node, Name: network, Scope: registry.ScopeLocal}
		if ipv4 != "" {
			n.IPv4 = netip.MustParseAddr(ipv4)
		}
		if ipv6 != "" {
			n.IPv6 = netip.MustParseAddr(ipv6)
		}
		i.Networks = append(i.Networks, n)
	}
}

func weight(n int) func(*registry.Instance)   { return func(i *registry.Instance) { i.Weight = n } }
func priority(n int) func(*registry.Instance) { return func(i *registry.Instance) { i.Priority = n } }
func namespace(ns string) func(*registry.Instance) {
	return func(i *registry.Instance) { i.Namespace = ns }
}
func draining(i *registry.Instance) { i.Draining = true }

// soa is the record that a negative answer of a zone has.
func soa(zone, ns string) []dns.RR {
	return []dns.RR{test.SOA(fmt.Sprintf("%s 5 IN SOA %s hostmaster.acme.convox. %d 5 3 86400 5", zone, ns, serial))}
}

var testSOA = soa(testZone, "ns.dns.acme.convox.")

// query asks the plugin and returns the code, and the reply if one was written.
func ask(t testing.TB, h plugin.Handler, from string, m *dns.Msg) (int, *dns.Msg) {
	t.Helper()
	return askOver(t, h, &test.ResponseWriter{RemoteIP: from}, m)
}

func askOver(t testing.TB, h plugin.Handler, w dns.ResponseWriter, m *dns.Msg) (int, *dns.Msg) {
	t.Helper()
	rec := dnstest.NewRecorder(w)
	code, err := h.ServeDNS(context.Background(), rec, m)
	if err != nil {
		t.Fatalf("%v: %v", m.Question, err)
	}
	if (rec.Msg == nil) == plugin.ClientWrite(code) {
		t.Fatalf("%v: code %s, and a reply was written: %v", m.Question, dns.RcodeToString[code], rec.Msg != nil)
	}
	return code, rec.Msg
}

// checkReply compares a whole reply with what is wanted. Beyond test.Case it
// looks at AA, at every TTL, and at what must be true of any reply of ours.
func checkReply(t testing.TB, c test.Case, m *dns.Msg) {
	t.Helper()
	if m == nil {
		t.Fatalf("%s %s: no reply", c.Qname, dns.TypeToString[c.Qtype])
	}
	if !m.Authoritative || !m.Response || m.RecursionAvailable {
		t.Errorf("AA %v, QR %v, RA %v; want AA and QR alone", m.Authoritative, m.Response, m.RecursionAvailable)
	}
	if m.Question[0].Name != c.Qname {
		t.Errorf("the reply repeats the question as %q, not %q", m.Question[0].Name, c.Qname)
	}
	if m.Rcode != c.Rcode || m.Truncated != c.Truncated {
		t.Errorf("%s, TC %v; want %s, TC %v", dns.RcodeToString[m.Rcode], m.Truncated, dns.RcodeToString[c.Rcode], c.Truncated)
	}
	for _, s := range []struct {
		name      string
		want, got []dns.RR
	}{{"answer", c.Answer, m.Answer}, {"authority", c.Ns, m.Ns}, {"additional", c.Extra, m.Extra}} {
		if diff := cmp.Diff(texts(s.want), texts(s.got)); diff != "" {
			t.Errorf("%s %s: %s (-want +got):\n%s", c.Qname, dns.TypeToString[c.Qtype], s.name, diff)
		}
	}
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == dns.TypeSOA && c.Qtype != dns.TypeSOA {
			t.Error("SOA in the answer section")
		}
	}
	if _, err := m.Pack(); err != nil {
		t.Errorf("the reply can't be packed: %v", err)
	}
}

// texts are records as text, in order; nil and none are the same.
func texts(rrs []dns.RR) map[string]int {
	all := map[string]int{}
	for _, rr := range rrs {
		all[strings.ReplaceAll(rr.String(), "\t", " ")]++
	}
	return all
}

// question is a query without EDNS.
func question(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }
