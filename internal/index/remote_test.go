package index

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

// A server whose node's engine is on another host is not there itself, nor is who
// asks it: its own host may have the same bridges, with other containers on them.
func TestRemoteEngine(t *testing.T) {
	t.Parallel()
	const bridge, published = "172.17.0.2:3000", "10.9.0.1:8080"
	for _, tc := range []struct {
		remote bool
		want   map[string]string
	}{
		{false, map[string]string{"127.0.0.1": published, "10.9.0.1": published, "172.17.0.2": bridge, "172.17.0.9": bridge, "198.51.100.7": published}},
		{true, map[string]string{"127.0.0.1": published, "10.9.0.1": published, "172.17.0.2": published, "172.17.0.9": published, "198.51.100.7": published}},
	} {
		w := newWard(t, 0)
		n := registry.Node{
			Node: "n0", Remote: tc.remote, Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.1")},
			Networks: []registry.NodeNetwork{{ID: "net-n0", Name: "bridge", Driver: "bridge", Scope: "local", Subnets: []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}, Gateways: []netip.Addr{netip.MustParseAddr("172.17.0.1")}}},
		}
		value, err := registry.Encode(n)
		if err != nil {
			t.Fatal(err)
		}
		w.update(registry.Entry{Key: layout.Node("n0"), Value: value})
		w.update(w.bridged("aaaaaaaaaaaa", 3, func(i *registry.Instance) {
			i.Host = netip.MustParseAddr("10.9.0.1")
			i.Ports = []registry.Port{{Protocol: "tcp", Container: 3000, Bindings: []registry.Binding{{IP: i.Host, Port: 8080}}}}
		}))
		s := w.x.Snapshot()
		v := s.ServiceOf("shop", "web")
		if v == nil {
			t.Fatal("the service is not there")
		}
		got := map[string]string{}
		for from := range tc.want {
			for _, e := range s.Endpoints(v, s.Asker(netip.MustParseAddr(from))) {
				got[from] = netip.AddrPortFrom(e.All()[0], e.Number(&v.Instances()[0].Ports()[0])).String()
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("remote %t (-want +got):\n%s", tc.remote, diff)
		}
	}
}
