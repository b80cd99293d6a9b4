package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// outpost is a node with an agent of its own, seen by a replica elsewhere.
type outpost struct {
	etcd    *etcdtest.Cluster
	wires   []*etcdtest.Proxy
	replica *replica
	args    []string
	agent   *process
	// metrics are the agent's.
	metrics string
	bridge  *bridge
	app     string
	name    string
}

// newOutpost starts an agent whose way to etcd is wired; the replica's isn't.
func newOutpost(t *testing.T, members int, ttl string, adapt func(*embed.Config)) *outpost {
	t.Helper()
	o := &outpost{bridge: newBridge(t), app: unique("shop"), etcd: etcdtest.Start(t, members, adapt)}
	o.wires = o.etcd.Proxied()
	rack := unique("r")
	o.replica = startReplica(t, rack, o.etcd.Endpoints())
	o.name = "web." + o.app + "." + o.replica.zone
	o.metrics = etcdtest.FreeAddr(t)
	o.args = []string{
		"agent", "--rack", rack, "--node", "outpost", "--host-address", o.bridge.gateway.String(),
		"--ttl", ttl, "--metrics", o.metrics,
	}
	for _, w := range o.wires {
		o.args = append(o.args, "--etcd", w.URL())
	}
	o.agent = launch(t, o.args...)
	return o
}

// asking watches the service's SRV records.
func (o *outpost) asking(instances ...*instance) *question {
	return asking(o.name, dns.TypeSRV, o.srv(instances...))
}

func (o *outpost) srv(instances ...*instance) string {
	var all []string
	for target, ports := range atHost(o.name, instances...) {
		all = append(all, target+":"+ports[0])
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (o *outpost) serves(t *testing.T, instances ...*instance) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d instances", len(instances)), func() error {
		return servedBy(o.replica.server, o.name, atHost(o.name, instances...))
	})
}

// A node that is cut off for longer than its lease is gone for the others, and
// comes back by itself, with what changed meanwhile; also where its connections
// are left half open, and however often that happens.
func TestNodeIsCutOff(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cut, mend func(*etcdtest.Proxy)
		says      string
	}{
		"refused": {(*etcdtest.Proxy).Cut, (*etcdtest.Proxy).Mend, "refused"},
		"silent":  {(*etcdtest.Proxy).Swallow, (*etcdtest.Proxy).Heal, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOutpost(t, 1, "3s", nil)
			instances := web(t, 2, o.app, o.bridge)
			o.serves(t, instances...)
			var before size
			for n := range 2 {
				tc.cut(o.wires[0])
				eventually(t, "its names are gone", func() error {
					m, err := ask(o.replica.server, "udp", o.name, dns.TypeSRV)
					if err == nil && len(m.Answer) > 0 {
						err = fmt.Errorf("told %v", m.Answer)
					}
					return err
				})
				eventually(t, "a word about it", func() error {
					return saidTimes(o.agent, n+1, "can't write to the registry", tc.says)
				})
				instances[0].kill()
				instances = append(instances[1:], web(t, 1, o.app, o.bridge)...)
				tc.mend(o.wires[0])
				o.serves(t, instances...)
				eventually(t, "a word about its end", func() error { return saidTimes(o.agent, n+1, "registry is back") })
				if n == 0 {
					before = sizeOf(t, o.metrics)
				}
			}
			if err := saidTimes(o.agent, 2, "can't write to the registry"); err != nil {
				t.Error(err)
			}
			shrinksTo(t, o.metrics, before)
		})
	}
}

// An agent that is killed and started again within its lease takes over what it
// left: no name is gone for a moment, then or when the old lease would end.
func TestAgentIsKilled(t *testing.T) {
	t.Parallel()
	o := newOutpost(t, 1, "5s", nil)
	instances := web(t, 2, o.app, o.bridge)
	o.serves(t, instances...)
	load := startLoad(t, o.replica.server, 200, o.asking(instances...),
		asking(o.name, dns.TypeA, o.bridge.gateway.String()),
		asking(instances[0].id+"."+o.name, dns.TypeA, o.bridge.gateway.String()))
	for range 3 {
		o.agent.crash()
		o.agent = launch(t, o.args...)
		throughout(t, 7*time.Second, "names across a restart of the agent", load.healthy)
	}
	load.end()
	// It is at work, not only not in the way.
	o.serves(t, append(instances, web(t, 1, o.app, o.bridge)...)...)
}

// An etcd whose disk is full takes nothing new: what is known stays, what is
// new waits until there is space, and each says so once.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	o := newOutpost(t, 1, "3s", func(c *embed.Config) { c.QuotaBackendBytes = 2 << 20 })
	instances := web(t, 1, o.app, o.bridge)
	o.serves(t, instances...)
	client := o.etcd.Client()
	ctx := context.Background()
	ballast := strings.Repeat("x", 500<<10)
	eventually(t, "a full disk", func() error {
		if _, err := client.Put(ctx, "/ballast", ballast); err == nil {
			return errors.New("there is still space")
		}
		return nil
	})
	before, agent := o.replica.size(), sizeOf(t, o.metrics)
	load := startLoad(t, o.replica.server, 50, o.asking(instances...))
	next := slices.Concat(instances, web(t, 1, o.app, o.bridge))
	says(t, o.agent, "can't write to the registry", "NOSPACE")
	throughout(t, 8*time.Second, "names without space", load.healthy)
	says(t, o.agent, "can't write to the registry")
	o.replica.noLarger(before)
	shrinksTo(t, o.metrics, agent)

	load.questions[0].then(o.srv(next...))
	makeSpace(t, o.etcd)
	load.settled(soon)
	load.end()
	says(t, o.agent, "can't write to the registry")
	says(t, o.agent, "registry is back")
	if n := said(o.replica.process, "registry"); n > 0 {
		t.Errorf("the replica, which only reads, logged %d lines about it", n)
	}
}

// makeSpace does what the log tells to do.
func makeSpace(t *testing.T, etcd *etcdtest.Cluster) {
	t.Helper()
	client := etcd.Client()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	r, err := client.Get(ctx, "/ballast")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, r.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Defragment(ctx, etcd.Members[0].Endpoint); err != nil {
		t.Fatal(err)
	}
	alarms, err := client.AlarmList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(alarms.Alarms) == 0 {
		t.Fatal("there was no alarm")
	}
	if _, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
}
