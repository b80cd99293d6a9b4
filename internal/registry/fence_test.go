package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

func node1(boot, address string) registry.Node {
	return registry.Node{Node: "node-1", Engine: "E1", Boot: boot, Addresses: []netip.Addr{netip.MustParseAddr(address)}}
}

// mods returns how many changes were made to the keys below /rackdns/, with
// those since a revision.
func mods(t *testing.T, etcd *etcdtest.Cluster, since int64) (revision int64) {
	t.Helper()
	r, err := etcd.Client().Get(context.Background(), "/rackdns/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision - since
}

// Whoever has a node's name alive keeps it. Another agent of the same engine's
// ID waits for a lease, says who it is, and writes nothing.
func TestFence(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		node registry.Node
		want []string
	}{
		{"a copy on another host", node1("B2", "10.0.2.10"), []string{`"B1"`, `"B2"`}},
		{"another address", node1("B1", "10.0.2.11"), []string{"10.0.2.10", "10.0.2.11"}},
		{"another engine", registry.Node{Node: "node-1", Engine: "E2", Boot: "B1", Addresses: node1("", "10.0.2.10").Addresses}, []string{`"E1"`, `"E2"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 1, nil)
			cfg := registry.Config{Endpoints: etcd.Endpoints()}
			holder := node1("B1", "10.0.2.10")
			holder.Started = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
			const ttl = 2 * time.Second
			p := registry.NewPublisher(open(t, cfg), registry.PublisherConfig{Node: holder, TTL: ttl, Logger: discard()})
			publish(t, p)
			p.Replace(instances("a"), nil)
			holds(t, etcd, "a")
			listed(t, etcd.Client(), true)

			var log lines
			other := registry.NewPublisher(open(t, cfg), registry.PublisherConfig{Node: tc.node, TTL: ttl, Logger: log.logger()})
			other.Replace(instances("x"), nil)
			before := mods(t, etcd, 0)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err := other.Run(ctx)
			var taken *registry.TakenError
			if !errors.As(err, &taken) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v, want a TakenError in one line", err)
			}
			for _, want := range append(tc.want, "--node", "2026-11-20T09:00:00Z") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if n := mods(t, etcd, before); n != 0 {
				t.Errorf("%d writes by who has no right to", n)
			}
			if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "waiting for its lease") {
				t.Errorf("want one line in the log, got:\n%s", s)
			}
			p.Set(instance("b"))
			holds(t, etcd, "a", "b")
		})
	}
}

// listed waits until the node's key says whether all that runs was listed.
func listed(t *testing.T, client *clientv3.Client, want bool) {
	t.Helper()
	const key = "/rackdns/v1/acme/nodes/node-1"
	etcdtest.Eventually(t, fmt.Sprintf("a node with listed=%t", want), func() error {
		v := keysOf(t, client, key)[key]
		if v == "" || strings.Contains(v, `"listed":true`) != want {
			return fmt.Errorf("is %s", v)
		}
		return nil
	})
}

// A name that was left behind is free when its lease ends, and not before, be it
// that the host was rebooted or that its address is another one now. Where no
// other host can have it, it is taken over at once.
func TestFenceAfterTheHolderIsGone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		node  registry.Node
		alone bool
		atOne bool
	}{
		{"rebooted", node1("B2", "10.0.2.10"), false, false},
		{"another address", node1("B1", "10.0.2.11"), false, false},
		{"restarted", node1("B1", "10.0.2.10"), false, true},
		{"restarted by an older agent", node1("", "10.0.2.10"), false, true},
		{"rebooted, alone", node1("B2", "10.0.2.11"), true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 1, nil)
			client := etcd.Client()
			cfg := registry.Config{Endpoints: etcd.Endpoints()}
			const ttl = 3 * time.Second
			first := registry.NewPublisher(open(t, cfg), registry.PublisherConfig{Node: node1("B1", "10.0.2.10"), TTL: ttl, Logger: discard()})
			stop := publish(t, first)
			first.Replace(instances("a"), nil)
			holds(t, etcd, "a")
			lease, _ := meta(t, client, prefix+"a")
			watched := client.Watch(t.Context(), prefix+"a", clientv3.WithRev(mods(t, etcd, 0)+1))
			stop()

			second := registry.NewPublisher(open(t, cfg), registry.PublisherConfig{Node: tc.node, Alone: tc.alone, TTL: ttl, Logger: discard()})
			publish(t, second)
			second.Replace(instances("a", "b"), nil)
			holds(t, etcd, "a", "b")
			if l, _ := meta(t, client, prefix+"a"); (l == lease) != tc.atOne {
				t.Errorf("on lease %x, then on %x", lease, l)
			}
			if tc.atOne {
				return
			}
			select {
			case r := <-watched:
				if len(r.Events) == 0 || r.Events[0].Type != clientv3.EventTypeDelete {
					t.Errorf("a was taken over before the other's lease ended: %v", r.Events)
				}
			case <-time.After(30 * time.Second):
				t.Error("a never went with the other's lease")
			}
		})
	}
}

// One agent started twice on one host: they can't be told apart, and needn't be
// as long as they agree. Where they don't, neither may keep etcd busy.
func TestTwoOfOneKind(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		first, other []string
		ttl          time.Duration
		most         int64
		says         bool
	}{
		{"they agree", []string{"a", "b"}, []string{"a", "b"}, 10 * time.Second, 6, false},
		{"they don't", []string{"a", "b"}, []string{"b", "c"}, 10 * time.Second, 80, true},
		{"other leases", []string{"a"}, []string{"a"}, 20 * time.Second, 80, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 1, nil)
			rack := "two-" + strings.Map(func(r rune) rune {
				if r < 'a' || r > 'z' {
					return -1
				}
				return r
			}, tc.name)
			cfg := registry.Config{Endpoints: etcd.Endpoints(), Rack: rack}
			var log lines
			before := mods(t, etcd, 0)
			for n, ids := range [][]string{tc.first, tc.other} {
				node := node1("B1", "10.0.2.10")
				node.Started = time.Date(2026, 11, 20, 9, n, 0, 0, time.UTC)
				ttl := 10 * time.Second
				if n == 1 {
					ttl = tc.ttl
				}
				p := registry.NewPublisher(open(t, cfg), registry.PublisherConfig{Node: node, TTL: ttl, Logger: log.logger()})
				p.Replace(instances(ids...), nil)
				publish(t, p)
			}
			if tc.says {
				etcdtest.Eventually(t, "a word of it", func() error {
					if s := log.String(); !strings.Contains(s, "another writer") || !strings.Contains(s, "10.0.2.10") || !strings.Contains(s, "E1") {
						return fmt.Errorf("logged: %s", s)
					}
					return nil
				})
			}
			pass(t, 5*time.Second, func() error { return nil })
			n := mods(t, etcd, before)
			t.Logf("%d writes", n)
			if n > tc.most {
				t.Errorf("%d writes, want %d at most", n, tc.most)
			}
			if says := strings.Contains(log.String(), "another writer"); says != tc.says {
				t.Errorf("logged:\n%s", log.String())
			}
			if n := strings.Count(log.String(), "another writer"); n > 2 {
				t.Errorf("said %d times:\n%s", n, log.String())
			}
			if (metric(t, "rackdns_registry_rival_changes_total", "rack", rack, "node", "node-1") == 0) && tc.says {
				t.Error("there is nothing in the metrics")
			}
		})
	}
}

// The node's key says that all was listed once it was, together with the last of
// it; not before, and after a new lease only once it was written again. A
// restart changes nothing.
func TestListed(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	cfg := registry.Config{Endpoints: etcd.Endpoints()}
	const ttl = 5 * time.Second
	p := newPublisher(open(t, cfg), ttl)
	stop := publish(t, p)
	p.Set(instance("a"))
	holds(t, etcd, "a")
	listed(t, client, false)
	many := map[string]*registry.Instance{}
	for n := range 250 {
		id := fmt.Sprintf("%012x", n)
		many[id] = instance(id)
	}
	p.Replace(many, nil)
	listed(t, client, true)
	_, at := meta(t, client, "/rackdns/v1/acme/nodes/node-1")
	then, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(at))
	if err != nil || then.Count != int64(len(many)) {
		t.Errorf("%d instances when it said that all were listed (%v), want %d", then.Count, err, len(many))
	}
	stop()

	before := mods(t, etcd, 0)
	again := newPublisher(open(t, cfg), ttl)
	stop = publish(t, again)
	again.Replace(many, nil)
	pass(t, time.Second, func() error { return nil })
	if n := mods(t, etcd, before); n != 0 {
		t.Errorf("a restart made %d writes", n)
	}
	stop()
	holds(t, etcd)
	// On a new lease, before it is known what runs.
	third := newPublisher(open(t, cfg), ttl)
	publish(t, third)
	third.Set(instance("a"))
	holds(t, etcd, "a")
	listed(t, client, false)
	third.Replace(nil, nil)
	listed(t, client, true)
}

// A node whose address changes stays the same node: its key stays on its lease,
// also when the lease is lost or another connection follows.
func TestMove(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
	p := registry.NewPublisher(c, registry.PublisherConfig{Node: node1("boot", "10.0.2.10"), TTL: 5 * time.Second, Logger: discard()})
	publish(t, p)
	p.Replace(instances("a"), nil)
	holds(t, etcd, "a")
	const key = "/rackdns/v1/acme/nodes/node-1"
	lease, _ := meta(t, client, key)
	at := func(to string) registry.Node {
		n := node1("boot", to)
		n.Addresses = append(n.Addresses, netip.MustParseAddr("fd00::10"))
		return n
	}
	moved := func(to string) {
		t.Helper()
		p.SetNode(at(to))
		etcdtest.Eventually(t, "the node at "+to, func() error {
			if v := keysOf(t, client, key)[key]; !strings.Contains(v, `"addresses":["`+to+`","fd00::10"]`) {
				return errors.New(v)
			}
			return nil
		})
	}
	moved("10.0.3.77")
	if now, _ := meta(t, client, key); now != lease {
		t.Errorf("the node's key moved from lease %x to %x", lease, now)
	}
	holds(t, etcd, "a")
	before := mods(t, etcd, 0)
	p.SetNode(at("10.0.3.77"))
	moved("10.0.4.1")
	if n := mods(t, etcd, before); n != 1 {
		t.Errorf("%d writes for one move", n)
	}
	if _, err := client.Revoke(t.Context(), clientv3.LeaseID(lease)); err != nil {
		t.Fatal(err)
	}
	moved("10.0.5.1")
	holds(t, etcd, "a")
}
