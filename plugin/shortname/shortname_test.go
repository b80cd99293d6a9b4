package shortname

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/cache"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/plugin/rack"
)

const (
	stranger = "203.0.113.9"
	serial   = 42
)

// newRack returns a rack of these values, and its index.
func newRack(t testing.TB) (*rack.Rack, *index.Index) {
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
	r, err := rack.New(x, "acme.convox.")
	if err != nil {
		t.Fatal(err)
	}
	return r, x
}

func feed(t testing.TB, x *index.Index, values ...any) {
	t.Helper()
	l, err := registry.NewLayout(registry.DefaultPrefix, "acme")
	if err != nil {
		t.Fatal(err)
	}
	f := x.Feed()
	f.BeginList(serial, false)
	for _, v := range values {
		e := registry.Entry{ModRevision: serial}
		switch v := v.(type) {
		case registry.Instance:
			e.Key = l.Instance(v.Node, v.ID)
		case registry.Resource:
			e.Key = l.Resource(v.App, v.Name)
		default:
			t.Fatalf("%T", v)
		}
		if e.Value, err = registry.Encode(v); err != nil {
			t.Fatal(err)
		}
		f.List([]registry.Entry{e})
	}
	f.EndList()
	f.Confirm()
}

// instance is one on node-1 with an address on its app's network.
func instance(app, ns, service, ip string) registry.Instance {
	addr := netip.MustParseAddr(ip)
	return registry.Instance{
		ID: fmt.Sprintf("0000%x", addr.AsSlice()), Node: "node-1", App: app, Service: service, Namespace: ns,
		Status: registry.StatusRunning, Weight: 1, Started: time.Unix(1, 0),
		Ports:    []registry.Port{{Name: "http", Protocol: registry.TCP, Container: 3000}},
		Networks: []registry.Network{{ID: app, Name: app, Scope: registry.ScopeLocal, IPv4: addr}},
	}
}

// rackOfTwo has the same service in two apps, each with an asker, and apps
// named like what belongs to others.
func rackOfTwo() []any {
	all := []any{
		instance("orders", "orders", "web", "172.18.0.2"), instance("orders", "orders", "cli", "172.18.0.9"),
		instance("billing", "ledger", "web", "172.19.0.2"), instance("billing", "ledger", "cli", "172.19.0.9"),
		func() registry.Instance {
			i := instance("my-shop", "my-shop", "order-db", "172.22.0.2")
			i.Ports[0].Bindings = []registry.Binding{{IP: netip.MustParseAddr("10.0.9.9"), Port: 3000}}
			return i
		}(),
		registry.Resource{App: "orders", Name: "main", Type: "mysql", Host: "10.0.9.1", Port: 3306},
	}
	for n, app := range []string{"com", "org", "shop", "dev", "localhost", "local", "wpad", "isatap", "test", "internal", "home", "arpa", "convox"} {
		ip := fmt.Sprintf("172.20.%d.", n)
		all = append(all, instance(app, app, "web", ip+"2"), instance(app, app, "cli", ip+"9"))
	}
	for n, service := range []string{"app", "wpad", "localhost", "isatap"} {
		all = append(all, instance("orders", "orders", service, fmt.Sprintf("172.18.1.%d", n+1)))
	}
	return all
}

// next says by REFUSED that a query got to it, and notes it as it is.
type next struct{ got []string }

func (n *next) Name() string { return "next" }

func (n *next) ServeDNS(_ context.Context, _ dns.ResponseWriter, m *dns.Msg) (int, error) {
	if len(m.Question) > 0 {
		n.got = append(n.got, m.Question[0].Name)
	}
	return dns.RcodeRefused, nil
}

func ask(t testing.TB, h plugin.Handler, from string, m *dns.Msg) (int, *dns.Msg) {
	t.Helper()
	rec := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: from})
	code, err := h.ServeDNS(t.Context(), rec, m)
	if err != nil {
		t.Fatal(err)
	}
	return code, rec.Msg
}

func question(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }

// told is a reply in words: its code, and what its answer says.
func told(code int, m *dns.Msg) string {
	if m == nil {
		if code == dns.RcodeRefused {
			return "next"
		}
		return dns.RcodeToString[code]
	}
	words := []string{}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			words = append(words, rr.Hdr.Name+" "+rr.A.String())
		case *dns.SRV:
			words = append(words, fmt.Sprint(rr.Hdr.Name, " ", rr.Target, " ", rr.Port))
		default:
			words = append(words, rr.String())
		}
	}
	slices.Sort(words)
	for _, rr := range m.Ns {
		words = append(words, dns.RcodeToString[m.Rcode]+" below "+rr.Header().Name)
	}
	return fmt.Sprint(words)
}

func TestShortNames(t *testing.T) {
	t.Parallel()
	r, x := newRack(t)
	feed(t, x, rackOfTwo()...)
	const orders, billing = "172.18.0.9", "172.19.0.9"
	for _, tc := range []struct {
		name, from, qname string
		qtype             uint16
		listed            []string
		want              string
	}{
		{"qualified", orders, "web.orders.", dns.TypeA, nil, "[web.orders. 172.18.0.2]"},
		{"in the question's spelling", orders, "Web.ORDERS.", dns.TypeA, nil, "[Web.ORDERS. 172.18.0.2]"},
		{"targets are in the rack's zone", orders, "web.orders.", dns.TypeSRV, nil, "[web.orders. 0000ac120002.web.orders.acme.convox. 3000]"},
		{"by namespace", billing, "web.ledger.", dns.TypeSRV, nil, "[web.ledger. 0000ac130002.web.ledger.acme.convox. 3000]"},
		{"by app, where the namespace differs", billing, "web.billing.", dns.TypeA, nil, "[web.billing. 172.19.0.2]"},
		{"port", orders, "_http._tcp.web.orders.", dns.TypeSRV, nil, "[_http._tcp.web.orders. 0000ac120002.web.orders.acme.convox. 3000]"},
		{"instance", orders, "0000ac120002.web.orders.", dns.TypeA, nil, "[0000ac120002.web.orders. 172.18.0.2]"},
		{"resource", orders, "main.resource.orders.", dns.TypeA, nil, "[main.resource.orders. 10.0.9.1]"},
		{"AAAA", orders, "web.orders.", dns.TypeAAAA, nil, "[NOERROR below orders.]"},
		{"no such service", orders, "nothing.orders.", dns.TypeA, nil, "[NXDOMAIN below orders.]"},
		{"a stranger reaches nothing", stranger, "web.orders.", dns.TypeA, nil, "[NOERROR below orders.]"},
		{"bare", orders, "web.", dns.TypeA, nil, "[web. 172.18.0.2]"},
		{"bare SRV", orders, "web.", dns.TypeSRV, nil, "[web. 0000ac120002.web.orders.acme.convox. 3000]"},
		{"the same service of the other app", billing, "web.", dns.TypeA, nil, "[web. 172.19.0.2]"},
		{"bare of another type", orders, "web.", dns.TypeTXT, nil, "[NOERROR below web.]"},
		{"bare database", orders, "mysql.", dns.TypeA, nil, "[mysql. 10.0.9.1]"},
		{"bare from a stranger", stranger, "web.", dns.TypeA, nil, "next"},
		{"bare from the node", "127.0.0.1", "web.", dns.TypeA, nil, "next"},
		{"bare of nothing", orders, "nothing.", dns.TypeA, nil, "next"},
		{"bare of another app", billing, "mysql.", dns.TypeA, nil, "next"},
		{"bare app: there are names below it", orders, "orders.", dns.TypeA, nil, "[NOERROR below orders.]"},
		{"bare app, of all types", stranger, "orders.", dns.TypeNS, nil, "[NOERROR below orders.]"},
		{"bare namespace", stranger, "ledger.", dns.TypeA, nil, "[NOERROR below ledger.]"},
		{"bare app named like a top-level domain", orders, "dev.", dns.TypeA, nil, "next"},
		{"bare app, listed", orders, "dev.", dns.TypeA, []string{"dev"}, "[NOERROR below dev.]"},
		{"underscores", orders, "Order_DB.My_Shop.", dns.TypeSRV, nil, "[Order_DB.My_Shop. 0000ac160002.order-db.my-shop.acme.convox. 3000]"},
		{"bare with underscores", "172.22.0.2", "order_db.", dns.TypeA, nil, "[order_db. 172.22.0.2]"},
		{"a resource's port is in the rack's zone", orders, "main.resource.orders.", dns.TypeSRV, nil, "[main.resource.orders. main.resource.orders.acme.convox. 3306]"},
		{"also bare", orders, "mysql.", dns.TypeSRV, nil, "[mysql. mysql.orders.acme.convox. 3306]"},
		{"what is below resources is no service", orders, "resource.", dns.TypeA, nil, "next"},
		{"a service named like a top-level domain", orders, "app.", dns.TypeA, nil, "[app. 172.18.1.1]"},
		{"but not the domain itself", orders, "app.", dns.TypeNS, nil, "next"},
		{"nor its signatures", orders, "app.", dns.TypeDS, nil, "next"},
		{"unless listed", orders, "app.", dns.TypeNS, []string{"app"}, "[NOERROR below app.]"},
		{"bare wpad", orders, "wpad.", dns.TypeA, nil, "next"},
		{"bare localhost", orders, "localhost.", dns.TypeA, nil, "next"},
		{"bare isatap", orders, "isatap.", dns.TypeA, nil, "next"},
		{"bare wpad, listed", orders, "wpad.", dns.TypeA, []string{"wpad"}, "[wpad. 172.18.1.2]"},
		{"com", "172.20.0.9", "web.com.", dns.TypeA, nil, "next"},
		{"org", "172.20.1.9", "web.org.", dns.TypeA, nil, "next"},
		{"shop", "172.20.2.9", "web.shop.", dns.TypeA, nil, "next"},
		{"shop, listed", "172.20.2.9", "web.shop.", dns.TypeA, []string{"shop"}, "[web.shop. 172.20.2.2]"},
		{"dev", "172.20.3.9", "web.dev.", dns.TypeA, nil, "next"},
		{"localhost", "172.20.4.9", "web.localhost.", dns.TypeA, nil, "next"},
		{"local", "172.20.5.9", "web.local.", dns.TypeA, nil, "next"},
		{"wpad", "172.20.6.9", "web.wpad.", dns.TypeA, nil, "next"},
		{"isatap", "172.20.7.9", "web.isatap.", dns.TypeA, nil, "next"},
		{"test", "172.20.8.9", "web.test.", dns.TypeA, nil, "next"},
		{"internal", "172.20.9.9", "web.internal.", dns.TypeA, nil, "next"},
		{"home", "172.20.10.9", "web.home.", dns.TypeA, nil, "next"},
		{"arpa", "172.20.11.9", "web.arpa.", dns.TypeA, nil, "next"},
		{"the suffix of racks", "172.20.12.9", "web.convox.", dns.TypeA, nil, "next"},
		{"the rack's zone", orders, "web.orders.acme.convox.", dns.TypeA, nil, "next"},
		{"no namespace", orders, "web.nothing.", dns.TypeA, nil, "next"},
		{"the world", orders, "www.example.com.", dns.TypeA, nil, "next"},
		{"the root", orders, ".", dns.TypeNS, nil, "next"},
		{"a zone transfer", orders, "web.orders.", dns.TypeAXFR, nil, "next"},
		{"a dot inside a label", orders, `web\.orders.`, dns.TypeA, nil, "next"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, n := New(r, tc.listed...), &next{}
			s.Next = n
			got := told(ask(t, s, tc.from, question(tc.qname, tc.qtype)))
			if got != tc.want {
				t.Errorf("%s %s for %s: %s, want %s", tc.qname, dns.TypeToString[tc.qtype], tc.from, got, tc.want)
			}
			// Whatever falls through does so as it came.
			if want := []string{tc.qname}; tc.want == "next" && !cmp.Equal(n.got, want) {
				t.Errorf("the next plugin was asked %q, want %q", n.got, want)
			}
		})
	}
}

// TestAnswersAreTheRacks compares with what the full name says.
func TestAnswersAreTheRacks(t *testing.T) {
	t.Parallel()
	r, x := newRack(t)
	feed(t, x, rackOfTwo()...)
	s := New(r)
	for short, full := range map[string]string{"web.orders.": "web.orders.acme.convox.", "web.": "web.orders.acme.convox.", "mysql.": "mysql.orders.acme.convox."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeANY, dns.TypeMX} {
			_, a := ask(t, s, "172.18.0.9", question(short, qtype))
			_, b := ask(t, r, "172.18.0.9", question(full, qtype))
			if a == nil || !a.Authoritative || a.Rcode != b.Rcode || a.Question[0].Name != short {
				t.Fatalf("%s: %v, want as %v", short, a, b)
			}
			// Only the owner differs: the question's, or the zone's.
			for _, m := range []*dns.Msg{a, b} {
				for _, rr := range slices.Concat(m.Answer, m.Ns) {
					if rr.Header().Name == m.Question[0].Name || rr.Header().Rrtype == dns.TypeSOA {
						rr.Header().Name = "x."
					}
				}
			}
			if diff := cmp.Diff(fmt.Sprint(b.Answer, b.Ns), fmt.Sprint(a.Answer, a.Ns)); diff != "" && qtype != dns.TypeSRV {
				t.Errorf("%s %s (-full +short):\n%s", short, dns.TypeToString[qtype], diff)
			}
		}
	}
}

// TestNeverCachedAcrossAskers has the cache plugin where the Corefile puts it.
func TestNeverCachedAcrossAskers(t *testing.T) {
	t.Parallel()
	r, x := newRack(t)
	feed(t, x, rackOfTwo()...)
	s, n, c := New(r), &next{}, cache.New()
	s.Next, c.Next = c, n
	for range 3 {
		for from, want := range map[string]string{"172.18.0.9": "[web. 172.18.0.2]", "172.19.0.9": "[web. 172.19.0.2]", stranger: "next"} {
			if got := told(ask(t, s, from, question("web.", dns.TypeA))); got != want {
				t.Errorf("%s is told %s, want %s", from, got, want)
			}
		}
	}
	if want := []string{"web.", "web.", "web."}; !cmp.Equal(n.got, want) {
		t.Errorf("the plugin after cache was asked %q, want %q", n.got, want)
	}
}

// TestBeforeFirstSync wants SERVFAIL for all that can be ours, and nothing else
// changed.
func TestBeforeFirstSync(t *testing.T) {
	t.Parallel()
	r, x := newRack(t)
	s, n := New(r), &next{}
	s.Next = n
	for name, want := range map[string]string{
		"web.orders.": "SERVFAIL", "web.": "SERVFAIL", "x.y.z.orders.": "SERVFAIL",
		"www.example.com.": "next", "wpad.": "next", "localhost.": "next", ".": "next", "9.0.18.172.in-addr.arpa.": "next", "web.local.": "next",
	} {
		if got := told(ask(t, s, "172.18.0.9", question(name, dns.TypeA))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := told(ask(t, s, "172.18.0.9", question("com.", dns.TypeNS))); got != "next" {
		t.Errorf("com. NS: %s, want next", got)
	}
	feed(t, x, rackOfTwo()...)
	if got := told(ask(t, s, "172.18.0.9", question("web.nothing.", dns.TypeA))); got != "next" {
		t.Errorf("after the first sync: %s, want next", got)
	}
}

// TestMetadata: what a short name stands for is there for logs as a full one's is,
// and nothing for a name that is none of ours.
func TestMetadata(t *testing.T) {
	t.Parallel()
	r, x := newRack(t)
	feed(t, x, rackOfTwo()...)
	s := New(r)
	for _, tc := range []struct {
		from, name string
		want       map[string]string
	}{
		{"172.18.0.9", "web.", map[string]string{
			"shortname/name": "web.orders.acme.convox.", "rack/rack": "acme", "rack/kind": "service", "rack/app": "orders", "rack/service": "web",
		}},
		{stranger, "Web.Ledger.", map[string]string{
			"shortname/name": "web.ledger.acme.convox.", "rack/rack": "acme", "rack/kind": "service", "rack/app": "billing", "rack/service": "web",
		}},
		{"172.18.0.9", "mysql.", map[string]string{
			"shortname/name": "mysql.orders.acme.convox.", "rack/rack": "acme", "rack/kind": "resource", "rack/app": "orders", "rack/resource": "main",
		}},
		{stranger, "orders.", map[string]string{"shortname/name": "orders.acme.convox.", "rack/rack": "acme", "rack/kind": "empty"}},
		{stranger, "web.", map[string]string{}},
		{stranger, "www.example.com.", map[string]string{}},
		{stranger, "web.orders.acme.convox.", map[string]string{}}, // rack's own
	} {
		state := request.Request{W: &test.ResponseWriter{RemoteIP: tc.from}, Req: question(tc.name, dns.TypeA)}
		ctx := s.Metadata(metadata.ContextWithMetadata(t.Context()), state)
		got := map[string]string{}
		for label, f := range metadata.ValueFuncs(ctx) {
			if v := f(); v != "" {
				got[label] = v
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s from %s (-want +got):\n%s", tc.name, tc.from, diff)
		}
	}
}

// TestNotQuestions hands on what asks for no records.
func TestNotQuestions(t *testing.T) {
	t.Parallel()
	r, x := newRack(t)
	feed(t, x, rackOfTwo()...)
	notify := question("web.orders.", dns.TypeSOA)
	notify.Opcode = dns.OpcodeNotify
	chaos := question("web.orders.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	for _, m := range []*dns.Msg{notify, chaos, new(dns.Msg)} {
		s := New(r)
		s.Next = &next{}
		if got := told(ask(t, s, "172.18.0.9", m)); got != "next" {
			t.Errorf("%v: %s, want next", m, got)
		}
	}
}
