package registry_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// An agent that can't say yet whose names these are keeps them if the node
// looks like its own, and changes nothing.
func TestKeepNode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		ours bool
	}{{"ours", true}, {"another's", false}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			const ttl = 2 * time.Second
			etcd := etcdtest.Start(t, 1, nil)
			client := etcd.Client()
			cfg := registry.Config{Endpoints: etcd.Endpoints()}
			p := newPublisher(open(t, cfg), ttl)
			stop := publish(t, p)
			p.Replace(instances("a", "b"), nil)
			holds(t, etcd, "a", "b")
			lease, revision := meta(t, client, prefix+"a")
			stop()

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var keeping sync.WaitGroup
			keeping.Go(func() {
				open(t, cfg).KeepNode(ctx, "node-1", func(n *registry.Node) bool { return tc.ours && n.Engine == "E1" }, discard())
			})
			if !tc.ours {
				holds(t, etcd)
				cancel()
				keeping.Wait()
				return
			}
			// Only time shows that a lease is kept.
			end := time.Now().Add(2 * ttl)
			etcdtest.Within(t, 3*ttl, "time to pass", func() error {
				if l, r := meta(t, client, prefix+"a"); l != lease || r != revision {
					t.Fatalf("a: lease %x at revision %d, want %x at %d", l, r, lease, revision)
				}
				if left := time.Until(end); left > 0 {
					return fmt.Errorf("%s left", left)
				}
				return nil
			})
			cancel()
			keeping.Wait()
			// Whoever keeps no longer holds no longer.
			holds(t, etcd)
		})
	}
}

// What is kept outlives a registry that is away for a moment.
func TestKeepNodeReturns(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	etcd := etcdtest.Start(t, 1, nil)
	wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
	p := newPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), ttl)
	stop := publish(t, p)
	p.Replace(instances("a"), nil)
	holds(t, etcd, "a")
	stop()

	ctx, cancel := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() {
		open(t, registry.Config{Endpoints: []string{wire.URL()}}).KeepNode(ctx, "node-1", func(*registry.Node) bool { return true }, discard())
	})
	defer func() { cancel(); keeping.Wait() }()
	for range 3 {
		wire.Cut()
		wire.Mend()
		end := time.Now().Add(ttl / 2)
		etcdtest.Within(t, ttl, "time to pass", func() error {
			if time.Now().Before(end) {
				return fmt.Errorf("until %s", end)
			}
			return nil
		})
	}
	holds(t, etcd, "a")
}
