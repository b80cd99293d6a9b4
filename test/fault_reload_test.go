package test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// A reload takes no query's answer away, whatever comes of it, and leaves
// nothing behind: no goroutine, no connection to etcd, no watch.
func TestReload(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	wires := etcd.Proxied()
	s := newScene(t, etcd, wires)
	load := s.load(200)
	s.replica.age(0, 5*time.Second)
	steady := s.questions[2]
	reloads := 0
	// reload changes the Corefile, and waits until the TTL says so.
	reload := func(ttl uint32, properties ...string) {
		t.Helper()
		s.replica.configure(append(properties, fmt.Sprintf("ttl %d", ttl))...)
		s.replica.signal(syscall.SIGUSR1)
		reloads++
		eventually(t, "the new Corefile", func() error {
			if got := steady.lastTTL(); got != ttl {
				return fmt.Errorf("TTL is %d, want %d", got, ttl)
			}
			return saidTimes(s.replica.process, reloads, "Reloading complete")
		})
	}
	reload(10)
	before, connections := s.replica.size(), connectionsTo(t, wires[0].URL())
	for n := range uint32(5) {
		reload(20 + n)
		// With another index, too: the old one must go.
		reload(30+n, "address host")
		reload(40 + n)
	}
	s.replica.noLarger(before)
	eventually(t, "as many connections as before", func() error {
		if n := connectionsTo(t, wires[0].URL()); n != connections {
			return fmt.Errorf("%d, before %d", n, connections)
		}
		return nil
	})
	s.announce()
	s.change()
	load.settled(soon)
	load.end()
}

// A reload that fails changes nothing, wherever it fails.
func TestFailedReload(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	wires := etcd.Proxied()
	s := newScene(t, etcd, wires)
	load := s.load(200)
	s.replica.age(0, 5*time.Second)
	good := s.replica.text("")
	taken, err := net.Listen("tcp", etcdtest.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	before, connections := s.replica.size(), connectionsTo(t, wires[0].URL())
	fail := func(text, word string) {
		t.Helper()
		n := said(s.replica.process, "Restart failed", word)
		s.replica.rewrite(text)
		s.replica.signal(syscall.SIGUSR1)
		eventually(t, "an error about "+word, func() error {
			return saidTimes(s.replica.process, n+1, "Restart failed", word)
		})
	}
	for range 3 {
		fail(strings.Replace(good, "node apart", "nod apart", 1), "nod")
		fail(good+"x.convox {\n    nonsense\n}\n", "nonsense")
		// All that was started is to be stopped again.
		other := strings.Replace(good, "node apart", "node elsewhere", 1)
		fail(fmt.Sprintf("%sx.convox:%s {\n    bind 127.0.0.1\n    whoami\n}\n", other, port), "address already in use")
	}
	s.replica.noLarger(before)
	eventually(t, "as many connections as before", func() error {
		if n := connectionsTo(t, wires[0].URL()); n != connections {
			return fmt.Errorf("%d, before %d", n, connections)
		}
		return nil
	})
	s.announce()
	s.change()
	load.settled(soon)
	// It is not stuck either.
	s.replica.configure("ttl 77")
	s.replica.signal(syscall.SIGUSR1)
	eventually(t, "a good Corefile", func() error {
		if got := s.questions[2].lastTTL(); got != 77 {
			return fmt.Errorf("TTL is %d", got)
		}
		return nil
	})
	load.end()
}

// connectionsTo counts the connections to an endpoint of the loopback interface
// at which only one process asks.
func connectionsTo(t *testing.T, url string) int {
	t.Helper()
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var port int
	if _, err := fmt.Sscanf(url, "http://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	n, remote := 0, fmt.Sprintf("0100007F:%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// Its number, the local address, the remote one, the state.
		fields := strings.Fields(lines.Text())
		if len(fields) > 3 && fields[2] == remote && fields[3] == "01" {
			n++
		}
	}
	return n
}
