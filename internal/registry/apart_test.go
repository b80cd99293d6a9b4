package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// Without space etcd takes no put and grants no lease, but it takes deletions
// and renews leases. So what is gone goes, and what is there stays: for an agent
// that runs, for one that starts, and for a node that is drained.
func TestWithoutSpace(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) cluster{
		"built-in": func(t *testing.T) cluster {
			t.Helper()
			return etcdtest.Start(t, 1, func(c *embed.Config) { c.QuotaBackendBytes = 1 << 20 })
		},
		"3.4": func(t *testing.T) cluster {
			t.Helper()
			return startProcess(t, "--quota-backend-bytes", "1048576")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := start(t)
			client := etcd.Client()
			cfg := registry.Config{Endpoints: etcd.Endpoints()}
			const ttl = 3 * time.Second
			agent := func(version string, ttl time.Duration, log *lines) *registry.Publisher {
				node := node1("B1", "10.0.2.10")
				node.Version = version
				return registry.NewPublisher(open(t, cfg), registry.PublisherConfig{Node: node, TTL: ttl, Logger: log.logger()})
			}
			var log lines
			p := agent("1", ttl, &log)
			stop := publish(t, p)
			p.Replace(instances("a", "b", "c", "d"), nil)
			holds(t, etcd, "a", "b", "c", "d")
			listed(t, client, true)
			fill(t, client)

			// One to remove and one to add, at the same time.
			p.Replace(instances("b", "c", "d", "x"), nil)
			holds(t, etcd, "b", "c", "d")
			etcdtest.Eventually(t, "a word of it", func() error {
				if s := log.String(); !strings.Contains(s, "NOSPACE") {
					return errors.New(s)
				}
				return nil
			})
			stop()

			// Another version has another key to write, and another TTL another
			// lease to get.
			for n, other := range []time.Duration{ttl, ttl + time.Second} {
				var log lines
				p := agent(fmt.Sprint(n+2), other, &log)
				stop := publish(t, p)
				left := []string{"c", "d"}[n:]
				p.Replace(instances(append(left, "x")...), nil)
				holds(t, etcd, left...)
				pass(t, 2*ttl, func() error {
					if got := keysOf(t, client, prefix); len(got) != len(left) {
						return fmt.Errorf("the lease ended: %v", got)
					}
					return nil
				})
				stop()
			}

			last := agent("9", ttl, &log)
			stop = publish(t, last)
			last.Replace(instances("d", "x"), nil)
			err := open(t, cfg).DrainNode(context.Background(), registry.Drained{Node: "node-1"}, false)
			if err == nil || !strings.Contains(err.Error(), "put them back") {
				t.Errorf("draining: %v, want an error that says what was done", err)
			}
			holds(t, etcd)
			freeSpace(t, client)
			holds(t, etcd, "d", "x")
			listed(t, client, true)
			if v := keysOf(t, client, "/rackdns/v1/acme/nodes/")["/rackdns/v1/acme/nodes/node-1"]; !strings.Contains(v, `"version":"9"`) {
				t.Errorf("the node's key is still %s", v)
			}
			stop()
		})
	}
}

// What is refused by itself, or together with others, keeps nothing else from
// being registered.
func TestRefusedByItself(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, func(c *embed.Config) { c.MaxRequestBytes = 8 << 10 })
	client := etcd.Client()
	var log lines
	p := registry.NewPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), registry.PublisherConfig{
		Node: node1("B1", "10.0.2.10"), Logger: log.logger(),
	})
	publish(t, p)
	all := map[string]*registry.Instance{"huge": instance("huge")}
	all["huge"].Tags = map[string]string{"x": strings.Repeat("x", 16<<10)}
	var ids []string
	for n := range 60 {
		id := fmt.Sprintf("%012x", n)
		all[id] = instance(id)
		ids = append(ids, id)
	}
	p.Replace(all, nil)
	holds(t, etcd, ids...)
	etcdtest.Eventually(t, "a word of it", func() error {
		if s := log.String(); !strings.Contains(s, "instance huge") {
			return errors.New(s)
		}
		return nil
	})
	p.Set(instance("later"))
	p.Remove(ids[0])
	holds(t, etcd, append(ids[1:], "later")...)
	listed(t, client, false)
	p.Set(instance("huge"))
	holds(t, etcd, append(ids[1:], "later", "huge")...)
	listed(t, client, true)
}
