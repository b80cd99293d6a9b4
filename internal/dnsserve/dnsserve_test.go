package dnsserve

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/hosts"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/connlimit"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	caddy.Quiet, dnsserver.Quiet = true, true
	os.Exit(m.Run())
}

func start(corefile string, limit int) (*Server, error) {
	log := slog.New(slog.DiscardHandler)
	return Start(corefile, []string{"bind", "hosts"}, connlimit.New("test", limit, log), log)
}

func blockAt(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf(".:%s {\n bind %s\n listen\n hosts {\n  192.0.2.1 a.test\n }\n}\n", port, host)
}

func says(t *testing.T, network, at string) {
	t.Helper()
	c := dns.Client{Net: network, Timeout: patience}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion("a.test.", dns.TypeA), at)
	if err != nil || len(m.Answer) != 1 {
		t.Errorf("%s %s: %v %v", network, at, m, err)
	}
}

// It serves at all addresses of all blocks, with no more connections than it may
// have, and lets go of all of them.
func TestStart(t *testing.T) {
	one, two := etcdtest.FreeAddr(t), etcdtest.FreeAddr(t)
	for range 2 {
		s, err := start(blockAt(one)+blockAt(two), 3)
		if err != nil {
			t.Fatal(err)
		}
		var conns []net.Conn
		for range 10 {
			c, err := net.DialTimeout("tcp", one, patience)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		for _, at := range []string{one, two} {
			says(t, "udp", at)
			says(t, "tcp", at)
		}
		// Seven at least had to go; those who are left are closed at the end.
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		for _, c := range conns {
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
			c.Close()
		}
		for _, at := range []string{one, two} {
			if err := etcdtest.Listenable(at); err != nil {
				t.Errorf("%s is still taken: %v", at, err)
			}
		}
	}
}

// What can't be started leaves nothing behind.
func TestFailedStart(t *testing.T) {
	one := etcdtest.FreeAddr(t)
	for corefile, want := range map[string]string{
		blockAt(one) + blockAt("[fe80::1%nowhere]:53"):          "nowhere",
		strings.Replace(blockAt(one), "listen", "listen on", 1): "argument",
		strings.Replace(blockAt(one), "hosts", "hosst", 1):      "hosst",
	} {
		s, err := start(corefile, 3)
		if err == nil {
			t.Error("started", s.Stop())
		} else if !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if err := etcdtest.Listenable(one); err != nil {
			t.Errorf("%s is still taken: %v", one, err)
		}
	}
	if _, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(blockAt(one)), Filepath: "Corefile", ServerTypeName: "dns"}); err == nil {
		t.Error("the directive works where it would be lost by a reload")
	}
}

// An address that is missing, or somebody else's for now, keeps nobody from the
// others, and is joined when it comes.
func TestJoin(t *testing.T) {
	one, two := etcdtest.FreeAddr(t), etcdtest.FreeAddr(t)
	held, err := net.ListenPacket("udp", two)
	if err != nil {
		t.Fatal(err)
	}
	var out lockedBuffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	s, err := Start(blockAt("192.0.2.77:5399")+blockAt(two)+blockAt(one), []string{"bind", "hosts"}, connlimit.New("test", 9, log), log)
	if err != nil {
		t.Fatal(err)
	}
	says(t, "udp", one)
	says(t, "tcp", one)
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for !strings.Contains(out.String(), "one more address") {
		if time.Now().After(deadline) {
			t.Fatalf("%s is not joined:\n%s", two, out.String())
		}
		<-time.After(10 * time.Millisecond)
	}
	says(t, "udp", two)
	says(t, "tcp", two)
	if n := strings.Count(out.String(), "trying again"); n != 2 {
		t.Errorf("%d lines tell of two addresses:\n%s", n, out.String())
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	for _, at := range []string{one, two} {
		if err := etcdtest.Listenable(at); err != nil {
			t.Errorf("%s is still taken: %v", at, err)
		}
	}
}

// A reload loses no question over UDP, also one that fails. A connection over
// TCP may end by it, as it may at any time, and the next one is taken.
func TestReload(t *testing.T) {
	one, two, three := etcdtest.FreeAddr(t), etcdtest.FreeAddr(t), etcdtest.FreeAddr(t)
	s, err := start(blockAt(one)+blockAt(two), 9)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var asking sync.WaitGroup
	asked := 0
	asking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			asked++
			says(t, "udp", one)
			c, err := net.DialTimeout("tcp", one, patience)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		}
	})
	for range 5 {
		if err := s.Reload(strings.Replace(blockAt(one), "hosts", "hosst", 1)); err == nil {
			t.Error("reloaded what is wrong")
		}
		if err := s.Reload(blockAt(one) + blockAt(three)); err != nil {
			t.Error(err)
		}
		says(t, "udp", three)
		if err := etcdtest.Listenable(two); err != nil {
			t.Errorf("%s is still taken: %v", two, err)
		}
		if err := s.Reload(blockAt(one) + blockAt(two)); err != nil {
			t.Error(err)
		}
		says(t, "tcp", two)
	}
	close(done)
	asking.Wait()
	if asked == 0 {
		t.Error("nobody asked")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	for _, at := range []string{one, two, three} {
		if err := etcdtest.Listenable(at); err != nil {
			t.Errorf("%s is still taken: %v", at, err)
		}
	}
}

// lockedBuffer is a log that can be read meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
