package rack_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// TestFirstStartDoesNotWait has racks whose registries nobody answers for,
// beside a zone that needs none: that one is there at once.
func TestFirstStartDoesNotWait(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	wire := etcdtest.NewProxy(t, s.url)
	wire.Cut()
	// With a registry client each, since no two have the same settings.
	const racks = 8
	var corefile strings.Builder
	corefile.WriteString("example.com:0 {\n bind 127.0.0.1\n hosts {\n 192.0.2.1 example.com\n }\n}\n")
	for n := range racks {
		b := strings.Replace(block(wire.URL(), ""), "node-1", fmt.Sprintf("node-%d", n+1), 1)
		corefile.WriteString(strings.Replace(b, "convox", fmt.Sprintf("convox%d", n), 1))
	}
	d := serve(t, corefile.String())
	// Half a second together, and some for a machine that is busy: one after
	// the other would take four.
	if limit := 3 * time.Second; d.took > limit {
		t.Errorf("the start took %v, want %v at most", d.took, limit)
	}
	if got := said(d.ask(t, "example.com.", dns.TypeA)); got != "192.0.2.1" {
		t.Errorf("a zone beside the rack: %s", got)
	}
	const last = "web.shop.acme.convox7."
	if got := said(d.ask(t, last, dns.TypeA)); got != "SERVFAIL" {
		t.Errorf("before the first sync: %s, want SERVFAIL", got)
	}
	wire.Mend()
	d.says(t, last, "10.1.0.1")
}

// TestReloadWaits reloads while the registry is away: the old server goes on
// for longer than a first start would wait, and the new one knows the answers
// when its turn comes.
func TestReloadWaits(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	wire := etcdtest.NewProxy(t, s.url)
	corefile := block(wire.URL(), "")
	d := serve(t, corefile)
	d.says(t, name, "10.1.0.1")
	wire.Cut()

	reloaded := make(chan error, 1)
	go func() { reloaded <- d.reload(strings.Replace(corefile, "node-1", "node-2", 1)) }()
	answers := func() {
		t.Helper()
		if got := said(d.ask(t, name, dns.TypeA)); got != "10.1.0.1" {
			t.Fatalf("%s, want the last known answer", got)
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < 1500*time.Millisecond; <-tick.C {
		answers()
		select {
		case err := <-reloaded:
			t.Fatalf("reloaded without a registry: %v", err)
		default:
		}
	}
	wire.Mend()
	for {
		answers()
		select {
		case err := <-reloaded:
			if err != nil {
				t.Fatal(err)
			}
			answers()
			return
		case <-tick.C:
		}
	}
}
