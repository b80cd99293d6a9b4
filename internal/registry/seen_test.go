package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

const seenPrefix = "/rackdns/v1/acme/seen/"

// aged are the ages that a keeper has read.
type aged struct {
	mu  sync.Mutex
	all map[string]time.Time
}

func (a *aged) note(app, namespace string, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil {
		a.all = map[string]time.Time{}
	}
	a.all[app+" as "+namespace] = since
}

func (a *aged) get(key string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[key]
}

// startKeeper runs the keeper of a node until the test or what is returned ends it.
func startKeeper(t *testing.T, etcd *etcdtest.Cluster, node string, hour time.Duration, ages *aged, containers map[string]registry.SeenService) (k *registry.SeenKeeper, stop func()) {
	t.Helper()
	k = registry.NewSeenKeeper(open(t, registry.Config{Endpoints: etcd.Endpoints()}), node, ages.note, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if hour != 0 {
		k.Hasten(hour)
	}
	for id, s := range containers {
		k.Set(id, s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return k, stop
}

func service(name string, started time.Time) registry.SeenService {
	return registry.SeenService{App: "orders", Service: name, Namespace: "shop", Since: started}
}

// seen waits until just these services are noted.
func seen(t *testing.T, etcd *etcdtest.Cluster, want ...string) {
	t.Helper()
	slices.Sort(want)
	etcdtest.Eventually(t, "the services that were seen", func() error {
		got := slices.Sorted(maps.Keys(keys(t, etcd, seenPrefix)))
		for n := range got {
			got[n] = strings.TrimPrefix(got[n], seenPrefix)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%v, want %v", got, want)
		}
		return nil
	})
}

// leaseOf returns the lease of a key and what is left of it, and the key's
// version, which counts its writes.
func leaseOf(t *testing.T, client *clientv3.Client, name string) (lease clientv3.LeaseID, left time.Duration, version int64) {
	t.Helper()
	r, err := client.Get(t.Context(), seenPrefix+name)
	if err != nil || len(r.Kvs) == 0 {
		t.Fatalf("%s: %d keys: %v", name, len(r.Kvs), err)
	}
	lease = clientv3.LeaseID(r.Kvs[0].Lease)
	ttl, err := client.TimeToLive(t.Context(), lease)
	if err != nil {
		t.Fatal(err)
	}
	return lease, time.Duration(ttl.TTL) * time.Second, r.Kvs[0].Version
}

// A service is noted once, however many containers of it there are, on whatever
// node, and over a restart of the agent; an hour is left when the last one goes.
func TestSeenIsWrittenOnce(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	start := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	var ages aged
	one, stop := startKeeper(t, etcd, "node-1", 0, &ages, nil)
	one.Set("a", service("web", start))
	one.Set("b", service("web", start.Add(time.Hour)))
	one.Set("c", service("api", start))
	seen(t, etcd, "orders/web", "orders/api")
	lease, left, version := leaseOf(t, client, "orders/web")
	if left < 80*time.Minute || version != 1 {
		t.Errorf("%s are left, written %d times", left, version)
	}
	if other, _, _ := leaseOf(t, client, "orders/api"); other != lease {
		t.Error("two services have two leases")
	}
	if got := keys(t, etcd, seenPrefix)[seenPrefix+"orders/web"]; got != `{"node":"node-1","since":{"shop":"2026-11-20T09:00:00Z"}}` {
		t.Errorf("the key says %s", got)
	}

	// Another node's agent leaves it, and learns how old the namespace is.
	two, _ := startKeeper(t, etcd, "node-2", 0, &ages, nil)
	two.Set("x", service("web", start.Add(5*time.Hour)))
	two.Set("y", service("other", start))
	seen(t, etcd, "orders/web", "orders/api", "orders/other")
	etcdtest.Eventually(t, "the age of the namespace", func() error {
		if got := ages.get("orders as shop"); !got.Equal(start) {
			return fmt.Errorf("%s, want %s", got, start)
		}
		return nil
	})
	if other, _, version := leaseOf(t, client, "orders/web"); other != lease || version != 1 {
		t.Errorf("the other agent wrote it: %d times, on its own lease %t", version, other != lease)
	}

	// So does this node's next agent, which takes over the lease.
	stop()
	one, _ = startKeeper(t, etcd, "node-1", 0, &ages, map[string]registry.SeenService{"a": service("web", start), "d": service("new", start)})
	seen(t, etcd, "orders/web", "orders/api", "orders/other", "orders/new")
	if next, _, _ := leaseOf(t, client, "orders/new"); next != lease {
		t.Error("the next agent has another lease")
	}

	// The last container of one goes here, and its hour begins.
	one.Remove("d")
	etcdtest.Eventually(t, "a lease of its own", func() error {
		last, left, _ := leaseOf(t, client, "orders/new")
		if last == lease || left < registry.SeenFor || left > registry.SeenFor+10*time.Minute {
			return fmt.Errorf("on the lease of what there is: %t, %s are left", last == lease, left)
		}
		return nil
	})
	// One that comes and goes all the time is not written each time.
	_, _, version = leaseOf(t, client, "orders/new")
	for n := range 5 {
		one.Set("d", service("new", start))
		one.Set("mark", service(fmt.Sprintf("mark%d", n), start))
		etcdtest.Eventually(t, "a step", func() error {
			if keys(t, etcd, seenPrefix)[fmt.Sprintf("%sorders/mark%d", seenPrefix, n)] == "" {
				return errors.New("not yet")
			}
			return nil
		})
		one.Remove("d")
	}
	if _, _, now := leaseOf(t, client, "orders/new"); now > version+1 {
		t.Errorf("written %d times more", now-version)
	}
}

// What went while no agent was there is forgotten, too, though the next one takes
// over the lease.
func TestSeenOrphansEnd(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	start := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	var ages aged
	const hour = 6 * time.Second
	one, stop := startKeeper(t, etcd, "node-1", hour, &ages, nil)
	one.Set("a", service("web", start))
	one.Set("b", service("api", start))
	seen(t, etcd, "orders/web", "orders/api")
	lease, _, _ := leaseOf(t, etcd.Client(), "orders/web")
	stop()
	startKeeper(t, etcd, "node-1", hour, &ages, map[string]registry.SeenService{"a": service("web", start)})
	etcdtest.Within(t, 4*hour, "the end of what went", func() error {
		all := keys(t, etcd, seenPrefix)
		if all[seenPrefix+"orders/web"] == "" {
			t.Fatal("what is there is forgotten")
		}
		if all[seenPrefix+"orders/api"] != "" {
			return errors.New("it is noted")
		}
		return nil
	})
	if now, _, _ := leaseOf(t, etcd.Client(), "orders/web"); now != lease {
		t.Error("the lease was not taken over")
	}
}

// By an hour of a few seconds: what goes is known for that long, and what another
// node's agent, which is gone, has left is taken over in time.
func TestSeenLastsForAnHour(t *testing.T) {
	t.Parallel()
	const hour = 6 * time.Second
	etcd := etcdtest.Start(t, 1, nil)
	start := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	var ages aged
	one, stop := startKeeper(t, etcd, "node-1", hour, &ages, nil)
	one.Set("a", service("web", start))
	one.Set("b", service("api", start))
	seen(t, etcd, "orders/web", "orders/api")
	two, _ := startKeeper(t, etcd, "node-2", hour, &ages, nil)
	two.Set("x", service("web", start.Add(time.Hour)))
	one.Remove("b")
	removed := time.Now()
	stop() // Nobody renews the lease of orders/web.
	first := keys(t, etcd, seenPrefix)[seenPrefix+"orders/web"]
	var gone time.Time
	for time.Since(removed) < 2*hour {
		all := keys(t, etcd, seenPrefix)
		if all[seenPrefix+"orders/web"] == "" {
			t.Fatalf("a service that there is a container of is forgotten after %s", time.Since(removed))
		}
		if gone.IsZero() && all[seenPrefix+"orders/api"] == "" {
			gone = time.Now()
		}
		<-time.After(20 * time.Millisecond)
	}
	// Leases end in whole seconds.
	if lasted := gone.Sub(removed); gone.IsZero() || lasted < hour-time.Second || lasted > hour*3/2+3*time.Second {
		t.Errorf("what went was known for %s of an hour of %s", lasted, hour)
	}
	if now := keys(t, etcd, seenPrefix)[seenPrefix+"orders/web"]; now != strings.Replace(first, "node-1", "node-2", 1) {
		t.Errorf("after it was taken over it says %s, before %s", now, first)
	}
}

// The age of a namespace goes with its last container to another node.
func TestNamespaceAgeMovesToAnotherNode(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	minute := func(n int) time.Time { return time.Date(2026, 11, 20, 9, n, 0, 0, time.UTC) }
	var ages aged
	old, _ := startKeeper(t, etcd, "node-0", 0, &ages, nil)
	old.Set("a", service("web", minute(1)))
	seen(t, etcd, "orders/web")
	old.Remove("a")

	p := newPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), registry.DefaultTTL)
	publish(t, p)
	keeper := registry.NewSeenKeeper(open(t, registry.Config{Endpoints: etcd.Endpoints()}), "node-1", p.Inherit, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { keeper.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	set := func(id string, started int) {
		i := instance(id)
		i.App, i.Service, i.Namespace, i.Started = "orders", "web", "shop", minute(started)
		p.Set(i)
		keeper.Set(id, service("web", i.Started))
	}
	since := func(id string) {
		t.Helper()
		etcdtest.Eventually(t, "the age of "+id, func() error {
			if got := keys(t, etcd, prefix)[prefix+id]; !strings.Contains(got, `"namespaceSince":"2026-11-20T09:01:00Z"`) {
				return errors.New(got)
			}
			return nil
		})
	}
	p.Replace(nil, nil)
	set("b", 9)
	since("b")
	set("c", 12)
	since("c")
	if _, _, version := leaseOf(t, etcd.Client(), "orders/web"); version > 2 {
		t.Errorf("the service was noted %d times", version)
	}
}
