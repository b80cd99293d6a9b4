package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// The leader of three dies while a node registers one instance after the
// other, and comes back while it goes on, on wires that are cut for a while:
// each one arrives, and DNS notices nothing.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	const all = 120
	etcd := etcdtest.Start(t, 3, nil)
	s := newScene(t, etcd, etcd.Proxied())
	load := s.load(200)
	wires := etcd.Proxied()
	pub := startPublisher(t, s.replica.rack, wires)
	name := "web.many." + s.replica.zone
	register := func(from, to int) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := from; n < to; n++ {
			i := entrant("many", fmt.Sprintf("m%03d", n), uint16(20000+n))
			i.Node = "node-2"
			pub.Set(i)
			<-tick.C
		}
	}
	arrive := func(n int) {
		t.Helper()
		// Sooner than the publisher's regular look at its keys, which mends
		// whatever went wrong.
		within(t, soon, fmt.Sprintf("%d instances", n), func() error {
			m, err := ask(s.replica.server, "tcp", name, dns.TypeSRV)
			if err == nil && len(m.Answer) != n {
				err = fmt.Errorf("there are %d", len(m.Answer))
			}
			return err
		})
	}
	register(0, all/3)
	arrive(all / 3)
	leader := etcd.Leader()
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		leader.Kill()
	}()
	register(all/3, all*2/3)
	<-killed
	arrive(all * 2 / 3)
	s.announce()
	s.change()
	load.settled(soon)
	leader.Start()
	for _, w := range wires {
		w.Cut()
	}
	register(all*2/3, all)
	for _, w := range wires {
		w.Mend()
	}
	arrive(all)
	load.end()
	if n := said(s.replica.process, "registry out of reach"); n > 0 {
		t.Errorf("with two members of three the registry counted as out of reach, %d times", n)
	}
}

// startPublisher runs a publisher of node-2, as an agent does.
func startPublisher(t *testing.T, rack string, wires []*etcdtest.Proxy) *registry.Publisher {
	t.Helper()
	var endpoints []string
	for _, w := range wires {
		endpoints = append(endpoints, w.URL())
	}
	client, err := registry.Open(registry.Config{Endpoints: endpoints, Rack: rack})
	if err != nil {
		t.Fatal(err)
	}
	pub := registry.NewPublisher(client, registry.PublisherConfig{
		Node: registry.Node{Node: "node-2", Engine: "E2"}, Logger: slog.New(slog.DiscardHandler),
	})
	pub.Replace(nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- pub.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, client.Close()); err != nil {
			t.Error(err)
		}
	})
	return pub
}
