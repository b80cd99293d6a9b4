package index

import (
	"net/netip"
	"testing"

	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
)

// A container of another node that has an address of the LAN is known by it on
// every server of the rack, whatever was heard of first, and only as long as its
// node has such a network.
func TestAskerOfAnotherNode(t *testing.T) {
	t.Parallel()
	ip := netip.MustParseAddr("192.0.2.65")
	node := func(w *ward, name, driver, subnet string, revision int64) registry.Entry {
		n := registry.Node{Node: name, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}
		n.Networks = []registry.NodeNetwork{{ID: "lan-" + name, Name: "lan", Driver: driver, Scope: "local", Subnets: []netip.Prefix{netip.MustParsePrefix(subnet)}}}
		value, err := registry.Encode(n)
		if err != nil {
			w.t.Fatal(err)
		}
		return registry.Entry{Key: layout.Node(name), Value: value, ModRevision: revision, CreateRevision: revision}
	}
	on := func(w *ward, name string, revision int64) registry.Entry {
		return w.bridged("aaaaaaaaaaaa", revision, func(i *registry.Instance) {
			i.Node = name
			i.Networks = []registry.Network{{ID: "lan-" + name, Name: "lan", Scope: "local", IPv4: ip}}
		})
	}
	const lan = "192.0.2.0/24"
	for name, tc := range map[string]struct {
		entries func(*ward) []registry.Entry
		want    string
	}{
		"its node first": {func(w *ward) []registry.Entry {
			return []registry.Entry{node(w, "n1", "macvlan", lan, 2), on(w, "n1", 3)}
		}, "n1"},
		"its node last": {func(w *ward) []registry.Entry {
			return []registry.Entry{on(w, "n1", 2), node(w, "n1", "ipvlan", lan, 3)}
		}, "n1"},
		"a bridge": {func(w *ward) []registry.Entry {
			return []registry.Entry{node(w, "n1", "bridge", lan, 2), on(w, "n1", 3)}
		}, ""},
		"a bridge now": {func(w *ward) []registry.Entry {
			return []registry.Entry{node(w, "n1", "macvlan", lan, 2), on(w, "n1", 3), node(w, "n1", "bridge", lan, 4)}
		}, ""},
		"gone": {func(w *ward) []registry.Entry {
			e := on(w, "n1", 5)
			e.Value = nil
			return []registry.Entry{node(w, "n1", "macvlan", lan, 2), on(w, "n1", 3), node(w, "n1", "macvlan", lan, 4), e}
		}, ""},
		"two LANs": {func(w *ward) []registry.Entry {
			return []registry.Entry{node(w, "n1", "macvlan", lan, 2), on(w, "n1", 3), node(w, "n2", "macvlan", lan, 4), on(w, "n2", 5)}
		}, ""},
		"an address of a bridge here": {func(w *ward) []registry.Entry {
			return []registry.Entry{node(w, "n0", "bridge", lan, 2), node(w, "n1", "macvlan", lan, 3), on(w, "n1", 4)}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, 0)
			for _, e := range tc.entries(w) {
				w.h.Update([]registry.Entry{e})
			}
			c := w.x.Snapshot().Asker(ip)
			got := ""
			if c.Instance() != nil {
				got = c.Instance().Node()
			}
			if got != tc.want || (c.Kind() == reach.Container) != (got != "") {
				t.Errorf("asked by one of node %q, as %s, want %q", got, c.Kind(), tc.want)
			}
		})
	}
}
