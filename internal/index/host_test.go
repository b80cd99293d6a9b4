package index

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// A host that no agent watches is told to everybody at its own address, and by
// a name of its own, whatever kind of endpoint the server is configured for.
func TestRegisteredHost(t *testing.T) {
	t.Parallel()
	ip, port := netip.MustParseAddr("10.0.5.1"), uint16(8080)
	i := registry.HostInstance("default", "legacy", netip.AddrPortFrom(ip, port))
	i.Weight = registry.DefaultWeight
	value, err := registry.Encode(i)
	if err != nil {
		t.Fatal(err)
	}
	asker := web("asker")
	asker.Networks = []registry.Network{{ID: "n", Name: "bridge", Scope: registry.ScopeLocal, IPv4: netip.MustParseAddr("172.17.0.2")}}
	asking, err := registry.Encode(asker)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{registry.AddressAuto, registry.AddressHost, registry.AddressContainer} {
		t.Run("address "+address, func(t *testing.T) {
			t.Parallel()
			x, err := Open(Config{
				Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "n1", Address: address}, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = x.Close() })
			x.Feed().BeginList(1, false)
			x.Feed().List([]registry.Entry{
				{Key: layout.Instance(registry.NodeAPI, "legacy~10.0.5.1"), Value: value, ModRevision: 1},
				{Key: layout.Instance("n1", "asker"), Value: asking, ModRevision: 1},
				{Key: layout.Node("n1"), Value: []byte(`{"node":"n1","addresses":["10.0.0.1"]}`), ModRevision: 1},
			})
			x.Feed().EndList()
			s := x.Snapshot()
			for _, from := range []string{"203.0.113.9", "172.17.0.2", "10.0.0.1", "10.0.5.1"} {
				for _, name := range []string{"legacy.default", i.ID + ".legacy.default"} {
					m := s.Lookup(name, s.Asker(netip.MustParseAddr(from)))
					if len(m.Endpoints) != 1 || !slices.Equal(m.Endpoints[0].All(), []netip.Addr{ip}) {
						t.Errorf("%s is told %s at %v", from, name, m.Endpoints)
						continue
					}
					if e := m.Endpoints[0]; e.Number(&e.Ports()[0]) != port || !e.Serving() {
						t.Errorf("%s is told of port %d of %s", from, e.Number(&e.Ports()[0]), name)
					}
				}
			}
		})
	}
}
