package index

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rackdns/rackdns/internal/registry"
)

// agrees checks that what is explained of a name is what is answered: the
// endpoints of a lookup are those of the verdicts, and there is a verdict with
// a reason for each instance.
func agrees(s *Snapshot, name string, a Asker) error {
	m := s.Lookup(name, a)
	x, err := s.Explain(name, a)
	var unknown *UnknownError
	if m.Kind == None {
		if !errors.As(err, &unknown) {
			return fmt.Errorf("%s is unknown and is explained by: %w", name, err)
		}
		return nil
	}
	if err != nil || x.Kind != m.Kind {
		return fmt.Errorf("%s is of kind %d, is explained as %d, %w", name, m.Kind, x.Kind, err)
	}
	var told []Endpoint
	for _, v := range x.Verdicts {
		if v.Why == "" || v.Told != (len(v.Endpoints) > 0) {
			return fmt.Errorf("%s: verdict %+v", name, v)
		}
		told = append(told, v.Endpoints...)
	}
	want := m.Endpoints
	if m.Kind == Ports {
		want = nil
		for _, e := range m.Endpoints {
			for n := range e.Ports() {
				if p := &e.Ports()[n]; m.Filter.Match(p) && e.Number(p) != 0 {
					want = append(want, e)
					break
				}
			}
		}
	}
	same := func(x, y Endpoint) bool {
		return x.Instance == y.Instance && x.addrs == y.addrs && x.label == y.label && slices.Equal(x.numbers, y.numbers)
	}
	if diff := cmp.Diff(want, told, cmp.Comparer(same), cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("%s (-answered +explained):\n%s", name, diff)
	}
	if all := len(x.Verdicts); m.Kind == AService && all != len(m.Service.Instances()) {
		return fmt.Errorf("%s: %d verdicts for %d instances", name, all, len(m.Service.Instances()))
	}
	return nil
}

// names are all that can be asked for of what the model has, and some that it
// hasn't.
func (m *machine) names() []string {
	all := []string{"nosuch", "nosuch.a", "x.nosuch.a", "resource", "x.resource"}
	for _, app := range modelNames {
		all = append(all, app)
		for _, service := range modelServices {
			full := service + "." + app
			all = append(all, full, "_tcp."+full, "_3000._tcp."+full, "_3001._tcp."+full, "_3000._udp."+full)
			for n := 1; n <= 12; n++ {
				all = append(all, modelID(n)+"."+full)
			}
		}
	}
	return all
}

// shop is a rack with an instance for each case, on node n1 and n2.
func shop(t *testing.T, o Options, instances ...*registry.Instance) *Snapshot {
	t.Helper()
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	x.Feed().BeginList(1, false)
	for _, i := range instances {
		value, err := registry.Encode(i)
		if err != nil {
			t.Fatal(err)
		}
		x.Feed().List([]registry.Entry{{Key: x.client.Layout().Instance(i.Node, i.ID), Value: value, ModRevision: 1}})
	}
	x.Feed().EndList()
	return x.Snapshot()
}

// on puts an instance on a network that ends at its node.
func on(i *registry.Instance, network, ip string) *registry.Instance {
	i.Networks = append(i.Networks, registry.Network{
		ID: network + i.Node, Name: network, Scope: registry.ScopeLocal, IPv4: netip.MustParseAddr(ip),
	})
	return i
}

func unpublished(i *registry.Instance) *registry.Instance {
	i.Ports[0].Bindings = nil
	return i
}

// TestExplainWhy shows the reasons, each by an instance with just that one.
func TestExplainWhy(t *testing.T) {
	t.Parallel()
	with := func(i *registry.Instance, change func(*registry.Instance)) *registry.Instance {
		change(i)
		return i
	}
	const stranger, node, container = "203.0.113.9", "127.0.0.1", "172.18.0.9"
	asker := on(web("f"), "red", container)
	asker.Service = "asker"
	for _, tc := range []struct {
		name     string
		options  Options
		asker    string
		instance *registry.Instance
		want     string
	}{
		{"published", Options{}, stranger, web("a"), "told at 10.0.0.1:40000, is published where the client reaches it"},
		{"shared network", Options{}, container, on(web("a"), "red", "172.18.0.2"), "told at 172.18.0.2:3000, shares network red with the client"},
		{"other network", Options{}, container, on(web("a"), "blue", "172.19.0.2"), "told at 10.0.0.1:40000, is published where the client reaches it"},
		{"not published, other network", Options{}, container, unpublished(on(web("a"), "blue", "172.19.0.2")), "isn't published beyond its host, and the client is not on its network blue"},
		{"not published, stranger", Options{}, stranger, unpublished(on(web("a"), "red", "172.18.0.2")), "isn't published beyond its host, and the client is not on its network red"},
		{
			"not published, two networks", Options{}, stranger, unpublished(on(on(web("a"), "red", "172.18.0.2"), "blue", "172.19.0.2")),
			"isn't published beyond its host, and the client is on none of its networks red, blue",
		},
		{"not published, no network", Options{}, container, unpublished(web("a")), "publishes no such port and is on no network"},
		{"not published, routable", Options{Routable: []string{"red"}}, stranger, unpublished(on(web("a"), "red", "172.18.0.2")), "told at 172.18.0.2:3000, is on network red, which is routable"},
		{"not published, the node", Options{}, node, unpublished(on(web("a"), "red", "172.18.0.2")), "told at 172.18.0.2:3000, is on network red of the client, the node itself"},
		{
			"not published, another node", Options{}, node, with(unpublished(on(web("a"), "red", "172.18.0.2")), func(i *registry.Instance) { i.Node, i.Networks[0].ID = "n2", "redn2" }),
			"isn't published beyond its host, and the client is not on its network red",
		},
		{"address host", Options{Address: "host"}, container, on(web("a"), "red", "172.18.0.2"), "told at 10.0.0.1:40000, is published where the client reaches it, and limited to such addresses (address host)"},
		{"address host, not published", Options{Address: "host"}, container, unpublished(on(web("a"), "red", "172.18.0.2")), "is limited to what it publishes (address host), which is nothing"},
		{"address container", Options{Address: "container"}, stranger, on(web("a"), "red", "172.18.0.2"), "told at 172.18.0.2:3000, is limited to its own address (address container)"},
		{
			"label container, no network", Options{}, stranger, with(web("a"), func(i *registry.Instance) { i.Address = "container" }),
			"is limited to its own address (rackdns.address=container) and has none",
		},
		{"paused", Options{}, stranger, with(web("a"), func(i *registry.Instance) { i.Status = "paused" }), "is paused"},
		{"draining", Options{}, stranger, with(web("a"), func(i *registry.Instance) { i.Draining = true }), "is draining: it was told to stop, or its process has ended"},
		{"starting", Options{}, stranger, with(web("a"), func(i *registry.Instance) { i.Health = "starting" }), "is starting: its health check has not succeeded yet"},
		{"unhealthy", Options{}, stranger, with(web("a"), func(i *registry.Instance) { i.Health = "unhealthy" }), "is unhealthy"},
		{"no status", Options{}, stranger, with(web("a"), func(i *registry.Instance) { i.Status = "" }), "is in no known state"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.options.Node = "n1"
			s := shop(t, tc.options, tc.instance, asker)
			a := s.Asker(netip.MustParseAddr(tc.asker))
			if err := agrees(s, "web.shop", a); err != nil {
				t.Error(err)
			}
			x, err := s.Explain("web.shop", a)
			if err != nil || len(x.Verdicts) != 1 {
				t.Fatalf("%d verdicts, %v", len(x.Verdicts), err)
			}
			v := x.Verdicts[0]
			got := v.Why
			if v.Told {
				e := v.Endpoints[0]
				got = fmt.Sprintf("told at %s:%d, %s", netip.AddrFrom4([4]byte(e.V4())), e.Number(&e.Ports()[0]), v.Why)
			}
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// TestExplainPorts shows what becomes of single ports.
func TestExplainPorts(t *testing.T) {
	t.Parallel()
	i := web("a")
	i.Ports = append(i.Ports, registry.Port{Name: "metrics", Protocol: "tcp", Container: 9000})
	s := shop(t, Options{Node: "n1"}, i)
	for _, tc := range []struct{ name, want string }{
		{"web.shop", "true [3000] [9000] is published where the client reaches it"},
		{"_3000._tcp.web.shop", "true [3000] [] is published where the client reaches it"},
		{"_metrics._tcp.web.shop", "false [] [] publishes no such port and is on no network"},
		{"a.web.shop", "true [3000] [9000] is published where the client reaches it"},
	} {
		x, err := s.Explain(tc.name, Stranger())
		if err != nil {
			t.Fatal(err)
		}
		numbers := func(ports []*Port) []uint16 {
			all := []uint16{}
			for _, p := range ports {
				all = append(all, p.Container)
			}
			return all
		}
		v := x.Verdicts[0]
		var told, left []*Port
		for n := range v.Endpoints {
			told = append(told, x.Wanted(&v.Endpoints[n])...)
		}
		for _, p := range v.Left {
			left = append(left, p.Port)
		}
		if got := fmt.Sprintf("%t %v %v %s", v.Told, numbers(told), numbers(left), v.Why); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestExplainUnknown shows which part of a name is unknown.
func TestExplainUnknown(t *testing.T) {
	t.Parallel()
	db := web("d")
	db.Service, db.Resource = "db", &registry.InstanceResource{Name: "main", Type: "mysql"}
	blog := web("e")
	blog.App = "blog"
	s := shop(t, Options{Node: "n1"}, web("a"), web("b"), db, blog)
	for _, tc := range []struct{ name, want string }{
		{"web.nosuch", `app "nosuch": there is none in the rack; there are blog and shop`},
		{"api.blog", `service "api": there is none in app blog; there is web`},
		{"api.shop", `service "api": there is none in app shop; there are db and web`},
		{"c.web.shop", `instance "c": there is none in service web of app shop; there are a and b`},
		{"_http._tcp.web.shop", `port "http/tcp": there is none in service web of app shop; there is 3000/tcp`},
		{"x.resource.shop", `resource "x": there is none in app shop; there is main`},
		{"x.resource", `resource "x": there is none in the rack, nor any other`},
		{"x.mysql.shop", `name "x": there is none in resource mysql of app shop, nor any other`},
	} {
		if _, err := s.Explain(tc.name, Stranger()); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

// TestUnknownNamesAFew shows that a large rack makes no long error.
func TestUnknownNamesAFew(t *testing.T) {
	t.Parallel()
	err := UnknownError{What: "app", Name: "x", Of: "the rack", Known: []string{"a", "b", "c", "d", "e", "f", "g"}}
	if got, want := err.Error(), `app "x": there is none in the rack; there are a, b, c, d, e and 2 more`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
