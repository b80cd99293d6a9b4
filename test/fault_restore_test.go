package test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// A registry that was put back to an older copy of itself is what counts, and
// the server need not be told: not when it finds lower revisions than it knew,
// and not when they have caught up before it looks.
func TestRegistryIsRestored(t *testing.T) {
	t.Parallel()
	for name, overtaken := range map[string]bool{"behind": false, "overtaken": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 1, nil)
			wires := etcd.Proxied()
			s := newScene(t, etcd, wires, "preserve 0")
			copied := filepath.Join(t.TempDir(), "copy")
			etcd.Kill()
			etcd.Members[0].CopyDir(copied)
			etcd.Start()
			s.ledger = newLedger(t, etcd, s.replica.rack)
			load := s.load(200)
			was := map[*question]string{s.loses: s.loses.answers[0], s.gains: s.gains.answers[0]}
			s.announce()
			s.change()
			load.settled(soon)

			for q, answer := range was {
				q.then(answer)
			}
			wires[0].Cut()
			etcd.Kill()
			etcd.Members[0].Dir = copied
			etcd.Start()
			s.ledger = newLedger(t, etcd, s.replica.rack)
			if overtaken {
				for range 5 {
					s.ledger.put(entrant("other", "x", 40000))
				}
			}
			wires[0].Mend()
			load.settled(soon)
			says(t, s.replica.process, "listing the whole registry again", "restored")

			// And it goes on from there.
			s.announce()
			s.change()
			load.settled(matches)
			throughout(t, time.Second, "answers", load.healthy)
			load.end()
		})
	}
}

// What was compacted away during an outage can only be learnt from a list,
// which must not let a name go for a moment that is in it.
func TestCompactionDuringOutage(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	wires := etcd.Proxied()
	s := newScene(t, etcd, wires)
	load := s.load(200)
	s.replica.age(0, 5*time.Second)
	wires[0].Cut()
	says(t, s.replica.process, "registry out of reach")
	s.announce()
	last := s.change()
	for range 100 {
		last = s.ledger.put(entrant("other", "x", 40000))
	}
	if _, err := etcd.Client().Compact(context.Background(), last); err != nil {
		t.Fatal(err)
	}
	wires[0].Mend()
	load.settled(matches)
	if err := resolvesTo(s.replica.server, "web.other."+s.replica.zone, hosted); err != nil {
		t.Error(err)
	}
	throughout(t, time.Second, "answers", load.healthy)
	load.end()
	if n, err := s.replica.metric("rackdns_registry_resyncs_total"); err != nil || n != 1 {
		t.Errorf("%v lists after the compaction, %v; want one", n, err)
	}
}

// Before anything is known the answer is SERVFAIL, and after that never again:
// here for a server that starts while etcd has no quorum.
func TestStartWithoutQuorum(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 3, nil)
	s := newLedger(t, etcd, unique("r"))
	s.put(entrant("shop", "a1", 41001))
	r := newReplica(t, s.layout.Rack(), etcd.Endpoints())
	r.configure()
	etcd.Members[1].Kill()
	etcd.Members[2].Kill()
	r.process = launch(t, "dns", "-conf", r.conf)
	name := "web.shop." + r.zone
	eventually(t, "SERVFAIL", func() error { return servfail(r.server, name) })
	says(t, r.process, "registry out of reach: no name is known yet")
	q := asking(name, dns.TypeA, "SERVFAIL")
	load := startLoad(t, r.server, 50, q)
	throughout(t, 2*time.Second, "SERVFAIL", load.healthy)
	q.then(hosted)
	etcd.Start()
	load.settled(soon)
	throughout(t, 2*time.Second, "answers", load.healthy)
	says(t, r.process, "registry is back")
}
