package resolve

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// acme is the rack acme as node-1 sees it. worker is on a network of node-1,
// far on one of node-2, bare uses the network of node-1 itself, and outside was
// registered by HTTP.
func acme(t *testing.T) Rack {
	t.Helper()
	x, err := index.Open(index.Config{
		Registry: registry.Config{Rack: "acme"}, Options: index.Options{Node: "node-1"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := registry.NewLayout(registry.DefaultPrefix, "acme")
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, v any) {
		value, err := registry.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		x.Feed().List([]registry.Entry{{Key: key, Value: value, ModRevision: 1}})
	}
	instance := func(id, node, service, ip string) {
		i := &registry.Instance{
			ID: id, Node: node, App: "shop", Service: service, Status: registry.StatusRunning, Weight: 1,
			Host: netip.MustParseAddr("10.0.2.10"), Ports: []registry.Port{{Protocol: registry.TCP, Container: 80}},
		}
		if ip != "" {
			i.Networks = []registry.Network{{ID: node + "net", Name: "net", Scope: registry.ScopeLocal, IPv4: netip.MustParseAddr(ip)}}
		}
		put(l.Instance(node, id), i)
	}
	x.Feed().BeginList(1, false)
	instance("abcd00000001", "node-1", "worker", "172.18.0.5")
	instance("abcd00000002", "node-2", "far", "172.18.0.6")
	instance("beef00000003", "node-1", "bare", "")
	put(l.Instance(registry.NodeAPI, "outside~10.0.9.9"), &registry.Instance{
		ID: "cafe00000004", Node: registry.NodeAPI, App: "shop", Service: "outside", Status: registry.StatusRunning, Weight: 1,
		Host: netip.MustParseAddr("10.0.9.9"),
	})
	put(l.Resource("shop", "odd"), &registry.Resource{App: "shop", Name: "odd", Type: "redis", Host: "not a host"})
	x.Feed().EndList()
	return Rack{Snapshot: x.Snapshot(), Node: "node-1", Name: "acme", Zone: "acme.convox"}
}

func TestAskers(t *testing.T) {
	t.Parallel()
	r := acme(t)
	for _, tc := range []struct{ id, words, kind string }{
		{"abcd00000001", "from 172.18.0.5 (instance abcd00000001 of worker.shop on node-1)", "container"},
		// As docker run prints it.
		{"abcd00000001" + strings.Repeat("0", 52), "from 172.18.0.5 (instance abcd00000001 of worker.shop on node-1)", "container"},
		{"abcd00000002", "from 172.18.0.6 (instance abcd00000002 of far.shop on node-2, a stranger to node-1)", "stranger"},
		{"beef", "from 127.0.0.1 (instance beef00000003 of bare.shop on node-1, by the network of the node itself)", "node"},
		{"cafe", "from 10.0.9.9 (a stranger, neither node-1 nor a container there)", "stranger"},
	} {
		i, err := r.Instance(tc.id)
		if err != nil || i == nil {
			t.Errorf("%s: %v, %v", tc.id, i, err)
			continue
		}
		checkAsker(t, r.Of(i), tc.words, tc.kind)
	}
	checkAsker(t, r.At(netip.MustParseAddr("::ffff:172.18.0.5")), "from 172.18.0.5 (instance abcd00000001 of worker.shop on node-1)", "container")
	checkAsker(t, r.At(netip.MustParseAddr("::1")), "from ::1 (node-1 itself)", "node")
	checkAsker(t, r.Stranger(), "by a stranger, neither node-1 nor a container there", "stranger")
	checkAsker(t, r.Unregistered("x"), "by container x, which is not registered, as rackdns explain says, and so a stranger", "stranger")
}

func checkAsker(t *testing.T, a Asker, words, kind string) {
	t.Helper()
	if a.String() != words {
		t.Errorf("asked %s, want %s", a, words)
	}
	b, err := json.Marshal(a)
	if err != nil || !strings.Contains(string(b), `"kind":"`+kind+`"`) {
		t.Errorf("%s, %v; want kind %s", b, err, kind)
	}
}

func TestInstanceByID(t *testing.T) {
	t.Parallel()
	r := acme(t)
	for _, id := range []string{"abc", "worker", "abcdx", "ffff", ""} {
		if i, err := r.Instance(id); i != nil || err != nil {
			t.Errorf("%q: %v, %v; want nobody", id, i, err)
		}
	}
	if i, err := r.Instance("abcd"); i != nil || err == nil || !strings.Contains(err.Error(), "far.shop") || !strings.Contains(err.Error(), "worker.shop") {
		t.Errorf("abcd: %v, %v; want both named", i, err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	r := acme(t)
	worker := r.At(netip.MustParseAddr("172.18.0.5"))
	for _, tc := range []struct{ name, want string }{
		{"far.shop.acme.convox", "far.shop.acme.convox service"},
		{"FAR.shop.acme.convox.", "far.shop.acme.convox service"},
		{"far.shop.", "far.shop.acme.convox service"},
		{"far", "far.shop.acme.convox service"},
		{"_80._tcp.far.shop", "_80._tcp.far.shop.acme.convox port"},
		{"abcd00000002.far.shop", "abcd00000002.far.shop.acme.convox instance"},
		{"shop.acme.convox", "shop.acme.convox empty only names below it have addresses"},
		{"acme.convox.", "acme.convox empty only names below it have addresses"},
		{"ns.dns.acme.convox", "ns.dns.acme.convox empty is the DNS server itself"},
	} {
		res, err := r.Resolve(tc.name, worker)
		if got := strings.TrimSpace(res.Name + " " + res.Kind + " " + res.Remark); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v; want %s", tc.name, got, err, tc.want)
		}
	}
	for _, name := range []string{"", ".", "a..b", "far.shop..", strings.Repeat("a", 64)} {
		if _, err := r.Resolve(name, worker); err == nil || !strings.Contains(err.Error(), "is not a domain name") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
