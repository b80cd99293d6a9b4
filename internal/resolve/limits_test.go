package resolve

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// limited is a rack in which some things can't all be told.
func limited(t *testing.T, zone string, instances ...registry.Instance) Rack {
	t.Helper()
	x, err := index.Open(index.Config{Registry: registry.Config{Rack: "acme"}, Options: index.Options{Node: "node-1"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	l, err := registry.NewLayout(registry.DefaultPrefix, "acme")
	if err != nil {
		t.Fatal(err)
	}
	x.Feed().BeginList(1, false)
	for _, i := range instances {
		value, err := registry.Encode(i)
		if err != nil {
			t.Fatal(err)
		}
		x.Feed().List([]registry.Entry{{Key: l.Instance(i.Node, i.ID), Value: value, ModRevision: 1}})
	}
	x.Feed().EndList()
	return Rack{Snapshot: x.Snapshot(), Node: "node-1", Name: "acme", Zone: zone}
}

func published(n int, app, service string) registry.Instance {
	ip := netip.AddrFrom4([4]byte{10, 0, 2, byte(n)})
	return registry.Instance{
		ID: fmt.Sprintf("%012x", n), Node: "node-1", App: app, Service: service, Status: registry.StatusRunning, Weight: 1, Host: ip,
		Ports: []registry.Port{{Protocol: registry.TCP, Container: 80, Bindings: []registry.Binding{{IP: ip, Port: 40000}}}},
	}
}

// TestAnswers: a service that limits its replies says so, if it has more.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ instances, limit, want int }{{3, 2, 2}, {3, 0, 0}, {2, 2, 0}, {1, 2, 0}} {
		var all []registry.Instance
		for n := range tc.instances {
			i := published(n+1, "shop", "web")
			i.Answers = tc.limit
			all = append(all, i)
		}
		r := limited(t, "acme.convox", all...)
		res, err := r.Resolve("web.shop", r.Stranger())
		if err != nil || res.Answers != tc.want {
			t.Errorf("%d instances, answers %d: %d, %v; want %d", tc.instances, tc.limit, res.Answers, err, tc.want)
		}
	}
}

// TestTargetTooLong: an address without an SRV record is told without a port, and
// with the reason.
func TestTargetTooLong(t *testing.T) {
	t.Parallel()
	app, service := strings.Repeat("a", 63), strings.Repeat("s", 63)
	r := limited(t, "acme."+strings.Repeat("d", 50)+"."+strings.Repeat("e", 50)+".convox", published(1, app, service))
	res, err := r.Resolve(service+"."+app+"."+r.Zone, r.Stranger())
	if err != nil || len(res.Instances) != 1 {
		t.Fatalf("%+v %v", res, err)
	}
	i := res.Instances[0]
	if len(i.Endpoints) != 1 || i.Endpoints[0].Port != 0 || i.Endpoints[0].Address.String() != "10.0.2.1" {
		t.Errorf("endpoints %+v, want the address without a port", i.Endpoints)
	}
	const why = "has no SRV record, since its target would be a name of 256 octets, and 255 are the most"
	if len(i.Unreachable) != 1 || i.Unreachable[0].Port != "80/tcp" || i.Unreachable[0].Why != why {
		t.Errorf("%+v, want %s", i.Unreachable, why)
	}
}
