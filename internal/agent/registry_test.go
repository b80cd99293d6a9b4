package agent

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// reader holds what is in a registry, and what was deleted from it.
type reader struct {
	mu      sync.Mutex
	keys    map[string][]byte
	deleted []string
	puts    int
}

// follow reads the registry with nothing of ours in between.
func (r *reader) follow(events clientv3.WatchChan) {
	for w := range events {
		r.mu.Lock()
		for _, e := range w.Events {
			key := string(e.Kv.Key)
			if e.Type == clientv3.EventTypeDelete {
				delete(r.keys, key)
				r.deleted = append(r.deleted, key)
				continue
			}
			r.keys[key] = e.Kv.Value
			r.puts++
		}
		r.mu.Unlock()
	}
}

func (r *reader) snapshot() (keys map[string][]byte, deleted []string, puts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.keys), r.deleted, r.puts
}

// etcd starts a registry and follows it.
func etcd(t *testing.T) (*registry.Client, *reader) {
	t.Helper()
	endpoints := etcdtest.Start(t, 1, nil).Endpoints()
	c, err := registry.Open(registry.Config{Endpoints: endpoints, Rack: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{keys: map[string][]byte{}}
	ctx, cancel := context.WithCancel(context.Background())
	events := cli.Watch(ctx, c.Layout().Base(), clientv3.WithPrefix(), clientv3.WithRev(1))
	var wg sync.WaitGroup
	wg.Go(func() { r.follow(events) })
	t.Cleanup(func() { cancel(); wg.Wait(); cli.Close() })
	return c, r
}

// registered waits until a container is registered, or with want false isn't.
func registered(t *testing.T, c *registry.Client, r *reader, id string, want bool) {
	t.Helper()
	key := c.Layout().Instance("node-1", shortID(id))
	eventually(t, fmt.Sprintf("%s registered: %t", key, want), func() string {
		if keys, _, _ := r.snapshot(); (keys[key] != nil) != want {
			return fmt.Sprintf("%d keys", len(keys))
		}
		return ""
	})
}

func TestRegistry(t *testing.T) {
	r := docker(t)
	c, reg := etcd(t)
	var mu sync.Mutex
	committed := map[string]time.Duration{}
	start := func(drain bool) (stop func()) {
		a, err := New(Config{
			DockerHost: r.host, Registry: c, Node: "node-1", HostAddress: testHost, Version: "test",
			DrainOnStop: drain, Logger: testLog(t),
			OnCommit: func(id string, observed time.Time, _ int64) {
				mu.Lock()
				defer mu.Unlock()
				committed[id] = time.Since(observed)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		stop = startAgent(t, a)
		waitReady(t, a)
		return stop
	}

	stop := start(false)
	stays := r.run(t, spec{name: "stays-registered"})
	dies := r.run(t, spec{name: "dies-unseen"})
	registered(t, c, reg, stays, true)
	registered(t, c, reg, dies, true)
	info, err := r.cli.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, _, _ := reg.snapshot()
	node, err := registry.DecodeNode(registry.Key{Kind: registry.KindNode, Owner: "node-1"}, keys[c.Layout().Node("node-1")])
	if err != nil || node.Engine != info.ID || node.Addresses[0] != testHost || node.Version != "test" || node.Started.IsZero() {
		t.Errorf("node = %+v, %v", node, err)
	}
	mu.Lock()
	if took, ok := committed[shortID(stays)]; !ok || took > patience {
		t.Errorf("from event to commit: %s, %t", took, ok)
	}
	mu.Unlock()

	// An agent that is replaced, as in an upgrade: nobody notices, but what
	// died meanwhile goes. Other people's containers may come and go.
	key := c.Layout().Instance("node-1", shortID(stays))
	value := keys[key]
	stop()
	r.remove(t, dies)
	stop = start(true)
	registered(t, c, reg, dies, false)
	keys, deleted, _ := reg.snapshot()
	for _, k := range deleted {
		if k == key || k == c.Layout().Node("node-1") {
			t.Errorf("%s was deleted by an agent's restart", k)
		}
	}
	if diff := cmp.Diff(string(value), string(keys[key])); diff != "" {
		t.Errorf("an agent's restart changed what is registered:\n%s", diff)
	}

	// An agent that is to drain leaves nothing but what was seen.
	stop()
	eventually(t, "empty registry", func() string {
		keys, _, _ := reg.snapshot()
		for key := range keys {
			if !strings.HasPrefix(key, c.Layout().Base()+"seen/") {
				return fmt.Sprintf("%d keys, such as %s", len(keys), key)
			}
		}
		return ""
	})
}

// Nothing is written while nothing changes, however often everything is
// listed: writing to refresh is what brings down the watchers of a large rack.
func TestQuietHostIsQuiet(t *testing.T) {
	d := newDaemon(t)
	c, reg := etcd(t)
	a, err := New(Config{
		DockerHost: d.Host(), Registry: c, Node: "node-1", HostAddress: testHost, Logger: testLog(t),
		RelistInterval: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := d.run(t, spec{name: "quiet"})
	startAgent(t, a)
	waitReady(t, a)
	registered(t, c, reg, id, true)
	noted(t, c, reg, "default", toLabel(d.name("quiet")), true)
	_, _, before := reg.snapshot()
	replaces := func() int {
		var m dto.Metric
		if err := writes.WithLabelValues("replace").Write(&m); err != nil {
			t.Fatal(err)
		}
		return int(m.GetCounter().GetValue())
	}
	lists := replaces()
	eventually(t, "twenty lists", func() string {
		if n := replaces() - lists; n < 20 {
			return fmt.Sprint(n)
		}
		return ""
	})
	if _, _, after := reg.snapshot(); after != before {
		t.Errorf("%d writes, though nothing changed", after-before)
	}
}
