package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// Racks under one etcd never see each other, whichever name begins another and
// whether one server serves them or each has its own: not when they start, not
// when the others change, not after a compaction.
func TestRacksShareNothingButEtcd(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	wires := etcd.Proxied()
	short := unique("r")
	racks := []string{short, short + "2", short + "-a"}
	first := newReplica(t, racks[0], []string{wires[0].URL()})
	var blocks string
	ledgers := map[string]*ledger{}
	own := map[string]*registry.Instance{}
	for n, rack := range racks {
		ledgers[rack] = newLedger(t, etcd, rack)
		own[rack] = entrant("shop", fmt.Sprintf("i%d", n), uint16(41000+n))
		ledgers[rack].put(own[rack])
		only := entrant("only-"+rack, fmt.Sprintf("o%d", n), uint16(42000+n))
		ledgers[rack].put(only)
		blocks += fmt.Sprintf("%s.convox:%s {\n    bind 127.0.0.1\n    prometheus %s\n    rack {\n        etcd %s\n        node apart\n    }\n}\n",
			rack, portOf(t, first.server), first.metrics, wires[0].URL())
	}
	first.rewrite(blocks)
	first.process = launch(t, "dns", "-conf", first.conf)
	var questions []*question
	for _, rack := range racks {
		zone := rack + ".convox."
		ready(t, first.process, first.server, zone)
		name := "web.shop." + zone
		questions = append(questions, asking(name, dns.TypeSRV, srvOf(name, own[rack])))
		for _, other := range racks {
			want := nxdomain
			if other == rack {
				want = hosted
			}
			questions = append(questions, asking("web.only-"+other+"."+zone, dns.TypeA, want))
		}
	}
	load := startLoad(t, first.server, 100, questions...)

	// One rack changes; the others don't, also not by a list of everything.
	ledgers[racks[0]].remove(own[racks[0]])
	questions[0].then(nxdomain)
	load.settled(soon)
	wires[0].Cut()
	gone := ledgers[racks[1]].remove(own[racks[1]])
	questions[len(racks)+1].then(nxdomain)
	if _, err := etcd.Client().Compact(context.Background(), gone); err != nil {
		t.Fatal(err)
	}
	wires[0].Mend()
	load.settled(soon)
	throughout(t, time.Second, "racks apart", load.healthy)
	load.end()
	// A rack that read another's keys would at least have to skip them.
	if n, err := first.metric("rackdns_index_invalid_values_total"); err == nil && n > 0 {
		t.Errorf("%v keys had to be skipped", n)
	}
	if n, err := first.metric("rackdns_registry_resyncs_total"); err != nil || n < 1 {
		t.Errorf("%v lists after the compaction, %v: the test didn't test it", n, err)
	}
}
