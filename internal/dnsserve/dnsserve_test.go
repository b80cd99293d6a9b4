package dnsserve

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
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

const patience = 30 * time.Second

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
		blockAt(one) + blockAt("192.0.2.77:53"):                 "listen",
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
