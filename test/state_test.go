package test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// TestRestartWithoutRegistry restarts a server while etcd is away. With the last
// picture on disk its very first answer is the right one, until that is older
// than max_stale; without one it is SERVFAIL.
func TestRestartWithoutRegistry(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	ledger := newLedger(t, etcd, unique("r"))
	ledger.put(entrant("shop", "a1", 41001))
	wire := etcd.Proxied()[0]
	state, zone := t.TempDir(), ledger.layout.Rack()+".convox."
	name := "web.shop." + zone
	start := func(properties string) (*process, string) {
		server := etcdtest.FreeAddr(t)
		return launch(t, "dns", "-conf", corefile(t, fmt.Sprintf("%s:%s {\n    bind 127.0.0.1\n    errors\n    rack {\n        etcd %s\n        node apart\n        %s\n    }\n}\n",
			zone, portOf(t, server), wire.URL(), properties))), server
	}
	// first returns the first answer there is, whatever it is.
	first := func(server string) string {
		var got string
		eventually(t, "an answer", func() error {
			m, err := ask(server, "udp", name, dns.TypeA)
			if err == nil {
				if got = dns.RcodeToString[m.Rcode]; m.Rcode == dns.RcodeSuccess {
					got = answerOf(m)
				}
			}
			return err
		})
		return got
	}
	p, server := start("state " + state)
	eventually(t, "the registry's answer", func() error { return resolvesTo(server, name, hosted) })
	p.stop(syscall.SIGTERM)
	if found, err := filepath.Glob(filepath.Join(state, "*"+index.PictureSuffix)); err != nil || len(found) != 1 {
		t.Fatalf("pictures %v (%v), want one", found, err)
	}
	ended := time.Now()
	wire.Cut()
	for properties, want := range map[string]string{
		"state " + state: hosted,
		"state " + state + "\n        max_stale 1h":  hosted,
		"state " + state + "\n        max_stale 1ms": "SERVFAIL",
		"state " + t.TempDir():                       "SERVFAIL",
		"ttl 5":                                      "SERVFAIL",
	} {
		p, server := start(properties)
		if got := first(server); got != want {
			t.Errorf("%s: %q, want %q, %v after the last picture", properties, got, want, time.Since(ended))
		}
		p.stop(syscall.SIGTERM)
	}
	// What was started without a registry has left the picture as it was.
	_, server = start("state " + state)
	if got := first(server); got != hosted {
		t.Errorf("started again: %q, want %q", got, hosted)
	}
	wire.Mend()
	ledger.put(entrant("shop", "a1", 41002))
	eventually(t, "what is new", func() error {
		m, err := ask(server, "udp", name, dns.TypeSRV)
		if err != nil {
			return err
		}
		for _, rr := range m.Answer {
			if srv, ok := rr.(*dns.SRV); ok && srv.Port == 41002 {
				return nil
			}
		}
		return fmt.Errorf("%v", m.Answer)
	})
}
