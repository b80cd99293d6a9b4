package index

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// inUse is what is in use once the garbage is gone.
func inUse() uint64 {
	var m runtime.MemStats
	// What has a finalizer, or is weakly held, takes another round.
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestRelistingKeepsToItsBudget lists everything again, from a registry with
// another history, so that nothing of before can be kept. At no moment may
// more than twice the steady state be in use: a server sized for that would
// otherwise end right when the registry comes back. And nothing may stay.
func TestRelistingKeepsToItsBudget(t *testing.T) {
	const n = 8000
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "n1"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	empty := inUse()
	feed, layout, most := x.Feed(), x.client.Layout(), uint64(0)
	list := func(revision int64, reset bool) {
		feed.BeginList(revision, reset)
		for i := range n {
			ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			is := &registry.Instance{
				ID: fmt.Sprintf("%012x", i), Node: fmt.Sprintf("node-%d", i%100), App: fmt.Sprintf("app%d", i/3%500), Service: fmt.Sprintf("web%d", i/3/500),
				Namespace: fmt.Sprintf("app%d", i/3%500), Status: registry.StatusRunning, Weight: 1, Host: ip,
				Ports:    []registry.Port{{Name: "http", Protocol: registry.TCP, Container: 3000, Bindings: []registry.Binding{{IP: ip, Port: 40000}}}},
				Networks: []registry.Network{{ID: "net", Name: "net", Scope: "swarm", IPv4: ip}},
			}
			value, err := registry.Encode(is)
			if err != nil {
				t.Fatal(err)
			}
			feed.List([]registry.Entry{{Key: layout.Instance(is.Node, is.ID), Value: value, ModRevision: revision}})
			if i%(n/4) == n/4-1 {
				most = max(most, inUse())
			}
		}
		feed.EndList()
	}
	list(10, false)
	steady := inUse() - empty
	most = 0
	list(20, true)
	if peak := most - empty; peak > 2*steady+steady/10 {
		t.Errorf("listing again takes %d KiB, twice the steady state is %d", peak>>10, 2*steady>>10)
	}
	if after := inUse() - empty; after > steady+steady/10 {
		t.Errorf("%d KiB stay after listing again, %d before", after>>10, steady>>10)
	}
	t.Logf("steady %d KiB, %d bytes an instance; listing again %.2f times as much", steady>>10, steady/n, float64(most-empty)/float64(steady))
	runtime.KeepAlive(x)
}
