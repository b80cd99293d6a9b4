package test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// A rolling restart: each new server shares the address with the one before it,
// which then ends. The registry is slow, so that a server has no picture for
// longer than a first start waits. Nobody is ever told SERVFAIL, since a new one
// joins when it can answer, and not before; and nobody has to ask twice, since
// the old one answers what it was sent until it left.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	ledger := newLedger(t, etcd, unique("r"))
	ledger.put(entrant("shop", "a1", 41001))
	wire := etcd.Proxied()[0]
	server, zone := etcdtest.FreeAddr(t), ledger.layout.Rack()+".convox."
	name := "web.shop." + zone
	conf := corefile(t, fmt.Sprintf("%s:%s {\n    bind 127.0.0.1\n    errors\n    rack {\n        etcd %s\n        node apart\n    }\n}\n",
		zone, portOf(t, server), wire.URL()))
	old := launch(t, "dns", "-conf", conf)
	ready(t, old, server, zone)
	eventually(t, "the first answer", func() error { return resolvesTo(server, name, hosted) })

	var asked atomic.Int64
	stop := make(chan struct{})
	var asking sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); asking.Wait() })
	t.Cleanup(end)
	ask := func() {
		c := dns.Client{Timeout: 5 * time.Second}
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		reply, _, err := c.Exchange(m, server)
		asked.Add(1)
		if err != nil {
			t.Error(err)
		} else if got := answerOf(reply); got != hosted {
			t.Errorf("answered %q, want %q", got, hosted)
		}
	}
	for range 8 {
		asking.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					ask()
				}
			}
		})
	}
	wire.Slow(300 * time.Millisecond)
	for range 5 {
		next := launch(t, "dns", "-conf", conf)
		says(t, next, "waiting for the registry before joining the server that answers at")
		eventually(t, "the new server to join", func() error {
			if n := said(next, "CoreDNS-"); n == 0 {
				return fmt.Errorf("it hasn't: %s", next.out.String())
			}
			return nil
		})
		old.stop(syscall.SIGTERM)
		old = next
	}
	wire.Cut()
	// One that waits can be told to end.
	waits := launch(t, "dns", "-conf", conf)
	says(t, waits, "waiting for the registry before joining")
	waits.stop(syscall.SIGTERM)
	// One that has lost the other it would join is the first.
	last := launch(t, "dns", "-conf", conf)
	says(t, last, "waiting for the registry before joining")
	end()
	old.stop(syscall.SIGTERM)
	eventually(t, "SERVFAIL rather than nothing", func() error { return servfail(server, name) })
	t.Logf("%d questions, asked once each", asked.Load())
}
