package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

func TestInherits(t *testing.T) {
	boot := testStart
	other := netip.MustParseAddr("10.0.2.11")
	tests := []struct {
		name  string
		node  registry.Node
		alone bool
		want  bool
	}{
		{"ours", registry.Node{Addresses: []netip.Addr{testHost, other}, Started: boot.Add(time.Hour)}, false, true},
		{"before the host was booted", registry.Node{Addresses: []netip.Addr{testHost}, Started: boot.Add(-time.Hour)}, false, false},
		{"another host's", registry.Node{Addresses: []netip.Addr{other, testHost}, Started: boot.Add(time.Hour)}, false, false},
		{"nobody's", registry.Node{Started: boot.Add(time.Hour)}, false, false},
		{"it doesn't say since when", registry.Node{Addresses: []netip.Addr{testHost}}, false, true},
		{"alone", registry.Node{Addresses: []netip.Addr{other}, Started: boot.Add(time.Hour)}, true, true},
		{"alone, before the host was booted", registry.Node{Addresses: []netip.Addr{testHost}, Started: boot.Add(-time.Hour)}, true, false},
		{"of this boot, whatever the clock said", registry.Node{Addresses: []netip.Addr{testHost}, Boot: "b1", Started: boot.Add(-time.Hour)}, false, true},
		{"of another boot", registry.Node{Addresses: []netip.Addr{testHost}, Boot: "b2", Started: boot.Add(time.Hour)}, false, false},
		{"of this boot at another address", registry.Node{Addresses: []netip.Addr{other}, Boot: "b1", Started: boot.Add(time.Hour)}, false, false},
		{"alone, of another boot", registry.Node{Addresses: []netip.Addr{other}, Boot: "b2", Started: boot.Add(time.Hour)}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := &Agent{cfg: Config{Alone: tt.alone}}
			a.place.Store(&place{home: testHome})
			if got := a.inherits("b1", boot)(&tt.node); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
	// A host that waits for its address.
	a := &Agent{}
	a.place.Store(&place{})
	for boots, want := range map[string]bool{"b1": true, "b2": false, "": false} {
		if got := a.inherits("b1", boot)(&registry.Node{Addresses: []netip.Addr{testHost}, Boot: boots, Started: boot.Add(time.Hour)}); got != want {
			t.Errorf("without an address, boot %q: got %t, want %t", boots, got, want)
		}
	}
	if id := bootID(); len(id) != 36 || id != bootID() {
		t.Errorf("the boot's ID is %q", id)
	}
	if b := booted(); b.IsZero() || b.After(time.Now()) {
		t.Errorf("the host was booted at %s", b)
	}
}

// leases is how long the names of the tests below outlive their agent.
const leases = 2 * time.Second

// absent starts an agent whose engine is away, and returns how its run ends.
func absent(t *testing.T, c *registry.Client, p *proxy, log *buffer) (*Agent, <-chan error) {
	t.Helper()
	a, err := New(Config{
		DockerHost: "unix://" + p.path, Registry: c, Node: "node-1", HostAddress: testHost, TTL: leases,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { defer close(done); ended <- a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, "an agent that keeps names", func() string {
		if log.count("keeping the names") == 0 {
			return "it says nothing"
		}
		return ""
	})
	// What it claims is only shown by the time that passes.
	wait(t.Context(), leases+leases/2)
	return a, ended
}

// An agent that is started while the engine is down keeps what the one before
// it left, for longer than the lease, and then finds out what became of it.
func TestNamesOutliveTheAgentWithoutAnEngine(t *testing.T) {
	t.Parallel()
	r := docker(t)
	c, reg := etcd(t)
	stays, dies := r.run(t, spec{name: "stays-kept"}), r.run(t, spec{name: "dies-kept"})
	first, err := New(Config{DockerHost: r.host, Registry: c, Node: "node-1", HostAddress: testHost, TTL: leases, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	stop := startAgent(t, first)
	registered(t, c, reg, stays, true)
	registered(t, c, reg, dies, true)
	stop()

	p, log := newProxy(t), &buffer{}
	second, ended := absent(t, c, p, log)
	registered(t, c, reg, stays, true)
	registered(t, c, reg, dies, true)
	r.remove(t, dies)
	p.open()
	waitReady(t, second)
	registered(t, c, reg, dies, false)
	_, deleted, _ := reg.snapshot()
	for _, k := range deleted {
		if k == c.Layout().Instance("node-1", shortID(stays)) || k == c.Layout().Node("node-1") {
			t.Errorf("%s was gone for a moment", k)
		}
	}
	select {
	case err := <-ended:
		t.Errorf("the agent ended: %v", err)
	default:
	}
}

// Should the engine turn out to be another one, its agent has no right to the
// names that it kept.
func TestKeepsNothingForAnotherEngine(t *testing.T) {
	t.Parallel()
	docker(t)
	c, reg := etcd(t)
	before := registry.NewPublisher(c, registry.PublisherConfig{
		Node: registry.Node{Node: "node-1", Engine: "another", Addresses: []netip.Addr{testHost}, Started: time.Now()},
		TTL:  leases, Logger: testLog(t),
	})
	i := &registry.Instance{ID: "3485248b1d18", Node: "node-1", App: "shop", Service: "web", Namespace: "shop", Weight: 1, Status: "running"}
	before.Set(i)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- before.Run(ctx) }()
	registered(t, c, reg, i.ID, true)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	p, log := newProxy(t), &buffer{}
	_, ended := absent(t, c, p, log)
	registered(t, c, reg, i.ID, true)
	p.open()
	registered(t, c, reg, i.ID, false)
	// Not taken over: it went with its lease, and only then was the name ours.
	eventually(t, "the node's key of the other engine gone", func() string {
		if _, deleted, _ := reg.snapshot(); !slices.Contains(deleted, c.Layout().Node("node-1")) {
			return fmt.Sprintf("deleted: %v", deleted)
		}
		return ""
	})
	eventually(t, "a node of this engine", func() string {
		keys, _, _ := reg.snapshot()
		n, err := registry.DecodeNode(registry.Key{Kind: registry.KindNode, Owner: "node-1"}, keys[c.Layout().Node("node-1")])
		if err != nil || n.Engine == "another" || n.Boot != bootID() || !n.Listed {
			return fmt.Sprintf("%+v, %v", n, err)
		}
		return ""
	})
	select {
	case err := <-ended:
		t.Errorf("the agent ended: %v", err)
	default:
	}
}
