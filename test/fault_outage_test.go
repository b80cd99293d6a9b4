package test

import (
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// matches is how long an index may be behind once etcd is back: two seconds,
// and one more because the machine may be busy with other tests.
const matches = 3 * time.Second

// No etcd, or no way to it: names keep their last known answers, all of them
// and all the time. Once it is back they go straight to the new ones.
func TestAnswersOutliveTheRegistry(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		members int
		away    func(*etcdtest.Cluster, []*etcdtest.Proxy)
		back    func(*etcdtest.Cluster, []*etcdtest.Proxy)
	}{
		{
			name: "stopped", members: 1,
			away: func(c *etcdtest.Cluster, _ []*etcdtest.Proxy) { c.Kill() },
			back: func(c *etcdtest.Cluster, _ []*etcdtest.Proxy) { c.Start() },
		}, {
			name: "three stopped", members: 3,
			away: func(c *etcdtest.Cluster, _ []*etcdtest.Proxy) { c.Kill() },
			back: func(c *etcdtest.Cluster, _ []*etcdtest.Proxy) { c.Start() },
		}, {
			name: "cut off", members: 1,
			away: func(_ *etcdtest.Cluster, wires []*etcdtest.Proxy) { wires[0].Cut() },
			back: func(_ *etcdtest.Cluster, wires []*etcdtest.Proxy) { wires[0].Mend() },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, tc.members, nil)
			wires := etcd.Proxied()
			s := newScene(t, etcd, wires)
			load := s.load(500)
			s.replica.age(0, 5*time.Second)

			tc.away(etcd, wires)
			says(t, s.replica.process, "registry out of reach: names keep their last known answers", wires[0].URL())
			throughout(t, outage(), "answers without etcd", load.healthy)
			s.replica.age(outage(), time.Hour)
			s.announce()
			tc.back(etcd, wires)
			s.ledger = newLedger(t, etcd, s.replica.rack) // the old client may wait
			s.change()
			load.settled(matches)
			s.replica.age(0, 5*time.Second)
			throughout(t, time.Second, "answers with etcd", load.healthy)
			load.end()
			says(t, s.replica.process, "registry out of reach")
			says(t, s.replica.process, "registry is back")
		})
	}
}

// A registry in which nothing changes is not an old one.
func TestQuietRegistryIsNotStale(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	s := newScene(t, etcd, etcd.Proxied(), "max_stale 6s")
	load := s.load(50)
	throughout(t, 12*time.Second, "answers of a quiet registry", load.healthy)
	s.replica.age(0, 5*time.Second)
	if n, err := s.replica.metric("rackdns_registry_watch_starts_total"); err != nil || n != 1 {
		t.Errorf("started %v watches, %v; want one", n, err)
	}
}

// With max_stale the answers end with their time, and come back.
func TestMaxStale(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	wires := etcd.Proxied()
	s := newScene(t, etcd, wires, "max_stale 8s")
	name, stays := "web.steady."+s.replica.zone, "10.0.2.10"
	load := startLoad(t, s.replica.server, 100, asking(name, dns.TypeA, stays))
	wires[0].Cut()
	begin := time.Now()
	for _, q := range load.questions {
		q.then("SERVFAIL")
		q.then(stays)
	}
	eventually(t, "SERVFAIL", func() error {
		return servfail(s.replica.server, name)
	})
	// The last word of etcd may have come one interval before the cut.
	if took := time.Since(begin); took < 5*time.Second {
		t.Errorf("SERVFAIL after %s, want 8s or a little less", took)
	}
	if err := servfail(s.replica.server, "nope."+s.replica.zone); err != nil {
		t.Error(err)
	}
	wires[0].Mend()
	load.settled(matches)
}

// A stop does not wait for an etcd that is not there, nor for one that is and
// says nothing.
func TestStopWithoutRegistry(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*etcdtest.Proxy){
		"refused": (*etcdtest.Proxy).Cut,
		"silent":  (*etcdtest.Proxy).Swallow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 1, nil)
			wires := etcd.Proxied()
			s := newScene(t, etcd, wires)
			away(wires[0])
			says(t, s.replica.process, "registry out of reach")
			begin := time.Now()
			s.replica.stop(syscall.SIGTERM)
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("took %s to stop", took)
			}
		})
	}
}
