package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

const prefix = "/rackdns/v1/acme/instances/node-1/"

func keysOf(t *testing.T, c *clientv3.Client, prefix string) map[string]string {
	t.Helper()
	r, err := c.Get(context.Background(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range r.Kvs {
		all[string(kv.Key)] = string(kv.Value)
	}
	return all
}

// meta returns the lease and the revision of a key.
func meta(t *testing.T, c *clientv3.Client, key string) (lease, revision int64) {
	t.Helper()
	r, err := c.Get(context.Background(), key)
	if err != nil || len(r.Kvs) != 1 {
		t.Fatalf("%s: %v, %v", key, r, err)
	}
	return r.Kvs[0].Lease, r.Kvs[0].ModRevision
}

func TestPublisherWritesDifferences(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	p := newPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), registry.DefaultTTL)
	publish(t, p)
	p.Replace(instances("a", "b", "c"), nil)
	holds(t, etcd, "a", "b", "c")
	client := etcd.Client()
	lease, a := meta(t, client, prefix+"a")
	if node, _ := meta(t, client, "/rackdns/v1/acme/nodes/node-1"); node != lease || lease == 0 {
		t.Errorf("the node hangs on lease %x, its instance on %x", node, lease)
	}

	// Only what differs is written; when it was observed is no difference.
	again := instances("a", "b", "c")
	again["a"].Observed = time.Now()
	again["b"].Weight = 7
	p.Replace(again, nil)
	p.Remove("c")
	holds(t, etcd, "a", "b")
	etcdtest.Eventually(t, "b's new weight", func() error {
		if v := keysOf(t, client, prefix)[prefix+"b"]; !strings.Contains(v, `"weight":7`) {
			return errors.New(v)
		}
		return nil
	})
	if _, now := meta(t, client, prefix+"a"); now != a {
		t.Errorf("a was written at revision %d, and again at %d without a difference", a, now)
	}
}

// A thousand instances are more than one transaction can take.
func TestPublisherBatches(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	p := newPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), registry.DefaultTTL)
	publish(t, p)
	many := map[string]*registry.Instance{}
	var ids []string
	for n := range 1000 {
		id := fmt.Sprintf("%012x", n)
		many[id] = instance(id)
		ids = append(ids, id)
	}
	p.Replace(many, nil)
	holds(t, etcd, ids...)
	p.Replace(instances("a"), nil)
	holds(t, etcd, "a")
}

func TestPublisherKeepsFieldsOfOthers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	p := newPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), registry.DefaultTTL)
	if _, err := client.Put(context.Background(), prefix+"a", `{"id":"a","theirs":{"x":1},"weight":3,"tags":{"old":"1"}}`); err != nil {
		t.Fatal(err)
	}
	publish(t, p)
	p.Replace(instances("a"), nil)
	etcdtest.Eventually(t, "a's value", func() error {
		v := keysOf(t, client, prefix)[prefix+"a"]
		if !strings.Contains(v, `"theirs":{"x":1}`) || !strings.Contains(v, `"weight":1`) || !strings.Contains(v, `"tags":{}`) {
			return errors.New(v)
		}
		return nil
	})
}

// An agent that starts again within its lease writes nothing at all, until it
// knows what runs; then what is gone goes, and what is unknown stays.
func TestPublisherAdopts(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	cfg := registry.Config{Endpoints: etcd.Endpoints()}
	first := newPublisher(open(t, cfg), registry.DefaultTTL)
	stop := publish(t, first)
	first.Replace(instances("a", "b", "c"), nil)
	holds(t, etcd, "a", "b", "c")
	lease, a := meta(t, client, prefix+"a")
	stop()

	second := newPublisher(open(t, cfg), registry.DefaultTTL)
	publish(t, second)
	// Before it knows everything it may learn of something.
	second.Set(instance("d"))
	holds(t, etcd, "a", "b", "c", "d")
	second.Replace(instances("a", "d"), map[string]bool{"c": true})
	holds(t, etcd, "a", "c", "d")
	second.Remove("c")
	holds(t, etcd, "a", "d")
	if l, r := meta(t, client, prefix+"a"); l != lease || r != a {
		t.Errorf("a: lease %x at revision %d, want %x at %d as before the restart", l, r, lease, a)
	}
}

// With another TTL the old lease is of no use; its keys move to the new one.
func TestPublisherMovesToANewLease(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	cfg := registry.Config{Endpoints: etcd.Endpoints()}
	first := newPublisher(open(t, cfg), 10*time.Second)
	stop := publish(t, first)
	first.Replace(instances("a"), nil)
	holds(t, etcd, "a")
	lease, _ := meta(t, client, prefix+"a")
	stop()
	publish(t, newPublisher(open(t, cfg), 20*time.Second))
	etcdtest.Eventually(t, "a on another lease", func() error {
		if l, _ := meta(t, client, prefix+"a"); l == lease {
			return fmt.Errorf("still on %x", l)
		}
		return nil
	})
}

// A node that is cut off past its lease loses its names; back again, they come
// back by themselves.
func TestPublisherReturnsAfterItsLease(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
	p := newPublisher(open(t, registry.Config{Endpoints: []string{wire.URL()}}), 2*time.Second)
	publish(t, p)
	p.Replace(instances("a", "b"), nil)
	holds(t, etcd, "a", "b")
	wire.Cut()
	holds(t, etcd)
	p.Remove("b")
	p.Set(instance("c"))
	wire.Mend()
	holds(t, etcd, "a", "c")
}

// Whoever deletes or changes a node's keys by hand sees them come back.
func TestPublisherRepairs(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	p := newPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), registry.DefaultTTL)
	publish(t, p)
	p.Replace(instances("a", "b"), nil)
	holds(t, etcd, "a", "b")
	ctx := context.Background()
	if _, err := client.Delete(ctx, prefix+"a"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(ctx, prefix+"b", `"nonsense"`); err != nil {
		t.Fatal(err)
	}
	holds(t, etcd, "a", "b")
	changed := instance("b")
	changed.Weight = 9
	p.Set(changed)
	holds(t, etcd, "a", "b")
	etcdtest.Eventually(t, "b's value", func() error {
		if v := keysOf(t, client, prefix)[prefix+"b"]; !strings.Contains(v, `"weight":9`) {
			return errors.New(v)
		}
		return nil
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	cfg := registry.Config{Endpoints: etcd.Endpoints()}
	p := newPublisher(open(t, cfg), registry.DefaultTTL)
	stop := publish(t, p)
	p.Replace(instances("a", "b"), nil)
	holds(t, etcd, "a", "b")

	const mark = "/rackdns/v1/acme/drained/node-1"
	admin := open(t, cfg)
	ctx := context.Background()
	if err := admin.DrainNode(ctx, registry.Drained{Node: "node-1", By: "ann@host", Why: "new kernel"}, false); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, etcd, prefix); len(got) != 0 {
		t.Errorf("a drained node has %v", got)
	}
	// The agent, which goes on, registers nothing.
	p.Set(instance("c"))
	p.Replace(instances("a", "c"), nil)
	etcdtest.Eventually(t, "the publisher's next look", func() error {
		if n := len(keys(t, etcd, prefix)); n != 0 {
			t.Fatalf("%d instances on a drained node", n)
		}
		if got := keys(t, etcd, mark)[mark]; !strings.Contains(got, `"why":"new kernel"`) {
			return fmt.Errorf("the mark is %q", got)
		}
		return nil
	})
	// Neither the agent's end nor that of all leases takes it back.
	stop()
	if err := p.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, etcd, "/rackdns/"); len(got) != 1 || got[mark] == "" {
		t.Errorf("without an agent, etcd has %v", got)
	}
	nodes, err := admin.Nodes(ctx)
	if err != nil || len(nodes) != 1 || !nodes[0].Absent || nodes[0].Drained == nil || nodes[0].Drained.By != "ann@host" {
		t.Errorf("the nodes are %+v: %v", nodes, err)
	}
	var log lines
	p = registry.NewPublisher(open(t, cfg), registry.PublisherConfig{Node: node1("B2", "10.0.2.10"), Logger: log.logger()})
	stop = publish(t, p)
	p.Replace(instances("a", "c"), nil)
	etcdtest.Eventually(t, "a word in the log of the next agent", func() error {
		if s := log.String(); !strings.Contains(s, "ann@host") || !strings.Contains(s, "node drain node-1 --undo") {
			return errors.New(s)
		}
		return nil
	})
	etcdtest.Eventually(t, "the next agent's node", func() error {
		if keys(t, etcd, "/rackdns/v1/acme/nodes/")["/rackdns/v1/acme/nodes/node-1"] == "" {
			return errors.New("it has none")
		}
		return nil
	})
	if got := keys(t, etcd, prefix); len(got) != 0 {
		t.Errorf("after a reboot a drained node has %v", got)
	}
	if err := admin.UndrainNode(ctx, "node-1"); err != nil {
		t.Fatal(err)
	}
	p.Set(instance("d"))
	holds(t, etcd, "a", "c", "d")
	if err := admin.DrainNode(ctx, registry.Drained{Node: "nowhere"}, false); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("draining an unknown node: %v", err)
	}

	stop()
	if err := p.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, etcd, "/rackdns/"); len(got) != 0 {
		t.Errorf("after draining, etcd has %v", got)
	}
}
