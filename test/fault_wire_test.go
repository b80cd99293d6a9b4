package test

import (
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// An etcd that is far away is followed all the same, and costs no more.
func TestSlowRegistry(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	wires := etcd.Proxied()
	wires[0].Slow(500 * time.Millisecond)
	s := newScene(t, etcd, wires)
	load := s.load(100)
	s.replica.age(0, 6*time.Second)
	before := s.replica.size()
	throughout(t, 10*time.Second, "answers over a slow wire", load.healthy)
	s.announce()
	s.change()
	load.settled(matches)
	s.replica.age(0, 6*time.Second)
	s.replica.noLarger(before)
	for _, word := range []string{"out of reach", "broke"} {
		if n := said(s.replica.process, word); n > 0 {
			t.Errorf("slowness by itself is worth no line in the log, %d were there", n)
		}
	}
}

// Connections that are half open say nothing and end nothing. The only way to
// etcd being such a one is a state like any other: one line when it begins, one
// when it ends, and nothing that grows however often it happens.
func TestHalfOpenConnection(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	wires := etcd.Proxied()
	s := newScene(t, etcd, wires)
	load := s.load(100)
	s.replica.age(0, 5*time.Second)
	var before size
	times := 3
	if soaking() {
		times = 15
	}
	for n := range times {
		wires[0].Swallow()
		eventually(t, "a word about it", func() error { return saidTimes(s.replica.process, n+1, "registry out of reach", "no answer") })
		wires[0].Heal()
		eventually(t, "a word about its end", func() error { return saidTimes(s.replica.process, n+1, "registry is back") })
		if n == 0 {
			before = s.replica.size()
		}
	}
	s.announce()
	s.change()
	load.settled(matches)
	s.replica.noLarger(before)
	if err := saidTimes(s.replica.process, times, "registry out of reach"); err != nil {
		t.Error(err)
	}
}

// One member of three that says nothing any more is left within seconds.
func TestSilentMemberIsLeft(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 3, nil)
	wires := etcd.Proxied()
	s := newScene(t, etcd, wires)
	load := s.load(100)
	// Whichever it is connected to: two of three, then the third.
	wires[0].Swallow()
	wires[1].Swallow()
	s.announce()
	s.change()
	load.settled(10 * time.Second)
	wires[0].Heal()
	wires[1].Heal()
	wires[2].Swallow()
	s.gains.then(srvOf(s.gains.name, entrant("gains", "c1", 43001)))
	s.ledger.remove(s.come)
	load.settled(10 * time.Second)
	if n := said(s.replica.process, "registry out of reach"); n > 0 {
		t.Errorf("with a way to etcd the registry counted as out of reach, %d times", n)
	}
}
