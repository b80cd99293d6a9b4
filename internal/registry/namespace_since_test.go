package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// The containers of a rolling deployment hand on since when their app has its
// namespace, over a restart of the agent too, and nothing is written for it but
// what is written anyway.
func TestNamespaceIsHandedOn(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	since := func(id string) string {
		t.Helper()
		var value struct {
			Since string `json:"namespaceSince"`
		}
		if err := json.Unmarshal([]byte(keysOf(t, client, prefix)[prefix+id]), &value); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		return value.Since
	}
	minute := func(n int) time.Time { return time.Date(2026, 11, 20, 9, n, 0, 0, time.UTC) }
	set := func(p *registry.Publisher, id string, started int) *registry.Instance {
		i := instance(id)
		i.App, i.Namespace, i.Started = "shop-prod", "shop", minute(started)
		p.Set(i)
		return i
	}
	start := func() (*registry.Publisher, func()) {
		p := newPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), registry.DefaultTTL)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		stop := func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		return p, stop
	}
	p, stop := start()
	p.Replace(nil, nil)
	set(p, "a", 1)
	holds(t, etcd, "a")
	if got := since("a"); got != "" {
		t.Errorf("the first one tells of %s, which is its start", got)
	}
	set(p, "b", 9)
	holds(t, etcd, "a", "b")
	p.Remove("a")
	holds(t, etcd, "b")
	const first = "2026-11-20T09:01:00Z"
	if got := since("b"); got != first {
		t.Errorf("the next one tells of %q, want %s", got, first)
	}
	stop()

	p, stop = start()
	defer stop()
	_, before := meta(t, client, prefix+"b")
	b := set(p, "b", 9)
	p.Replace(map[string]*registry.Instance{"b": b}, nil)
	set(p, "c", 12)
	holds(t, etcd, "b", "c")
	if got := since("c"); got != first {
		t.Errorf("the one after the agent's restart tells of %q, want %s", got, first)
	}
	// A reconcile, seen by a write that comes after it.
	p.Replace(map[string]*registry.Instance{"b": b, "c": set(p, "c", 12)}, nil)
	set(p, "d", 13)
	holds(t, etcd, "b", "c", "d")
	if _, now := meta(t, client, prefix+"b"); now != before {
		t.Errorf("b was written at revision %d, and again at %d without a difference", before, now)
	}
	// All stop before the next one starts.
	p.Replace(nil, nil)
	holds(t, etcd)
	set(p, "e", 20)
	holds(t, etcd, "e")
	if got := since("e"); got != first {
		t.Errorf("after a gap it tells of %q, want %s", got, first)
	}
	// Another app has another namespace.
	other := instance("f")
	other.App, other.Namespace, other.Started = "shop", "shop", minute(21)
	p.Set(other)
	etcdtest.Eventually(t, "another app", func() error {
		if len(keysOf(t, client, prefix)) != 2 {
			return fmt.Errorf("%d instances", len(keysOf(t, client, prefix)))
		}
		return nil
	})
	if got := since("f"); got != "" {
		t.Errorf("another app tells of %s", got)
	}
}
