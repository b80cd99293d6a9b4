package test

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// The three parts as processes of their own, as on many hosts: a registry, an
// agent and a DNS server, here with a rack that the registry's process doesn't
// serve itself.
func TestAgentAndServerApart(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	registry := startRack(t, nil, "--docker", "off")
	etcd := registry.etcd

	name := unique("r")
	zone := name + ".convox."
	server := etcdtest.FreeAddr(t)
	port := portOf(t, server)
	d := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf(`%s:%s {
    bind 127.0.0.1
    errors
    rack {
        etcd %s
        node apart
    }
}
`, zone, port, etcd)))
	ready(t, d, server, zone)

	service := "web." + app + "." + zone
	instances := web(t, 2, app, b)
	args := []string{"agent", "--rack", name, "--etcd", etcd, "--node", "apart", "--host-address", b.gateway.String()}
	agent := launch(t, args...)
	want := atHost(service, instances...)
	eventually(t, "two instances", func() error { return servedBy(server, service, want) })

	// Another agent on the same machine takes over where the first stopped.
	agent.stop(syscall.SIGTERM)
	if err := servedBy(server, service, want); err != nil {
		t.Errorf("right after the agent stopped: %v", err)
	}
	instances[0].kill()
	launch(t, args...)
	want = atHost(service, instances[1])
	eventually(t, "one instance", func() error { return servedBy(server, service, want) })

	// Without its registry the server tells what it knew last.
	begin := time.Now()
	registry.stop(syscall.SIGTERM)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the registry took %v to stop, being watched by others", took)
	}
	throughout(t, 2*time.Second, "the last known answers", func() error { return servedBy(server, service, want) })
	m, err := ask(server, "udp", "nope."+zone, dns.TypeA)
	if err != nil || m.Rcode != dns.RcodeNameError {
		t.Errorf("unknown name without a registry: %v %v, want NXDOMAIN", m, err)
	}
	registry.start()
	instances[0].start()
	want = atHost(service, instances...)
	eventually(t, "two instances, the registry being back", func() error { return servedBy(server, service, want) })
}

// Before the first sync nobody knows what exists, so nothing is said not to.
func TestNoAnswersBeforeTheRegistry(t *testing.T) {
	t.Parallel()
	zone := unique("r") + ".convox."
	server, registry := etcdtest.FreeAddr(t), newRack(t, nil, "--docker", "off")
	port := portOf(t, server)
	d := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf(`%s:%s {
    bind 127.0.0.1
    rack {
        etcd %s
    }
}
`, zone, port, registry.etcd)))
	eventually(t, "SERVFAIL without a registry", func() error {
		m, err := ask(server, "udp", "web.shop."+zone, dns.TypeA)
		if err == nil && m.Rcode != dns.RcodeServerFailure {
			t.Fatalf("%s before the first sync, want SERVFAIL", dns.RcodeToString[m.Rcode])
		}
		return err
	})
	registry.start()
	eventually(t, "NXDOMAIN with one", func() error {
		m, err := ask(server, "udp", "web.shop."+zone, dns.TypeA)
		if err == nil && m.Rcode != dns.RcodeNameError {
			err = fmt.Errorf("%s", dns.RcodeToString[m.Rcode])
		}
		return err
	})
	if !d.running() {
		t.Error("the server ended")
	}
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
