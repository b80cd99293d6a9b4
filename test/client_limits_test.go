package test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// haproxy runs HAProxy with servers from SRV records, and returns how to ask it
// which ones it has.
func haproxy(t *testing.T, server, name string, size, slots int) func() (map[string]string, error) {
	t.Helper()
	needTool(t, "haproxy")
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "s"), filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(`global
    stats socket %s mode 600 level admin
resolvers rack
    nameserver rackdns %s
    accepted_payload_size %d
    timeout resolve 100ms
    timeout retry 100ms
    hold valid 100ms
    hold obsolete 0s
defaults
    mode tcp
    timeout connect 2s
    timeout client 5s
    timeout server 5s
listen front
    bind %s
    server-template web %d _http._tcp.%s resolvers rack resolve-prefer ipv4 init-addr none
`, socket, server, size, etcdtest.FreeAddr(t), slots, strings.TrimSuffix(name, "."))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launchCommand(t, exec.Command("haproxy", "-db", "-f", config))
	return func() (map[string]string, error) {
		if !p.running() {
			t.Fatalf("haproxy ended: %v\n%s", p.cmd.ProcessState, p.out.String())
		}
		c, err := net.DialTimeout("unix", socket, 2*time.Second)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }()
		if _, err := fmt.Fprintln(c, "show servers state front"); err != nil {
			return nil, err
		}
		weights := map[string]string{}
		for lines := bufio.NewScanner(c); lines.Scan(); {
			// be_id be_name srv_id srv_name srv_addr op_state admin_state uweight iweight … srv_port
			f := strings.Fields(lines.Text())
			if len(f) > 18 && f[1] == "front" && f[18] != "0" && f[5] != "0" {
				weights[f[18]] = f[7]
			}
		}
		return weights, nil
	}
}

// TestHAProxyWeights shows that weights arrive as they were given: HAProxy has 256
// steps for 65,536, and one that is left with 0 gets nothing.
func TestHAProxyWeights(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	l := newLedger(t, etcd, unique("r"))
	weigh := func(id string, port uint16, weight int) *registry.Instance {
		i := entrant("shop", id, port)
		i.Weight = weight
		return i
	}
	l.put(weigh("a1", 41001, 1))
	l.put(weigh("a2", 41002, 100))
	l.put(weigh("a3", 41003, 0))
	r := newReplica(t, l.layout.Rack(), etcd.Endpoints())
	r.configure()
	r.process = launch(t, "dns", "-conf", r.conf)
	ready(t, r.process, r.server, r.zone)
	weights := haproxy(t, r.server, "web.shop."+r.zone, 4096, 5)
	is := func(what string, want map[string]string) {
		t.Helper()
		eventually(t, what, func() error {
			got, err := weights()
			if diff := cmp.Diff(want, got); err == nil && diff != "" {
				err = fmt.Errorf("weights by port (-want +got):\n%s", diff)
			}
			return err
		})
	}
	is("1 to 100", map[string]string{"41001": "1", "41002": "100"})
	l.remove(weigh("a1", 41001, 1))
	l.remove(weigh("a2", 41002, 100))
	is("one of weight 0, alone", map[string]string{"41003": "1"})
}

// TestHAProxyKeepsItsServers has more instances than fit in 512 octets, which is
// what HAProxy takes by default: it is told the same ones each time, so that it
// doesn't change servers with each reply.
func TestHAProxyKeepsItsServers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	l := newLedger(t, etcd, unique("r"))
	const n = 30
	for k := range n {
		l.put(entrant("shop", fmt.Sprintf("a%011d", k), uint16(41000+k)))
	}
	r := newReplica(t, l.layout.Rack(), etcd.Endpoints())
	r.configure()
	r.process = launch(t, "dns", "-conf", r.conf)
	ready(t, r.process, r.server, r.zone)
	weights := haproxy(t, r.server, "web.shop."+r.zone, 512, n)
	var first map[string]string
	eventually(t, "servers", func() (err error) {
		if first, err = weights(); err == nil && len(first) < 3 {
			err = fmt.Errorf("%d of them", len(first))
		}
		return err
	})
	if len(first) >= n {
		t.Fatalf("HAProxy has all %d, so nothing was left out", len(first))
	}
	throughout(t, 3*time.Second, "the same servers", func() error {
		got, err := weights()
		if diff := cmp.Diff(first, got); err == nil && diff != "" {
			err = fmt.Errorf("(-before +now):\n%s", diff)
		}
		return err
	})
}

// TestUnboundInFront asks for 5,000 instances by way of an unbound, which asks
// again over TCP: it takes what fits, where TC would make it give up.
func TestUnboundInFront(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	l := newLedger(t, etcd, unique("r"))
	const n = 5000
	for k := range n {
		i := entrant("shop", fmt.Sprintf("a%011d", k), 41001)
		i.Host = netip.AddrFrom4([4]byte{10, 1, byte(k >> 8), byte(k)})
		i.Ports[0].Bindings[0].IP = i.Host
		l.put(i)
	}
	r := newReplica(t, l.layout.Rack(), etcd.Endpoints())
	r.configure()
	r.process = launch(t, "dns", "-conf", r.conf)
	ready(t, r.process, r.server, r.zone)
	name := "web.shop." + r.zone
	at := forwarder(t, "unbound", r.zone, r.server)
	for _, tc := range []struct {
		qtype uint16
		least int
	}{{dns.TypeA, 4000}, {dns.TypeSRV, 800}} {
		direct, err := ask(r.server, "udp", name, tc.qtype)
		if err != nil || !direct.Truncated {
			t.Errorf("%s over UDP: TC is %v, %v", dns.TypeToString[tc.qtype], direct != nil && direct.Truncated, err)
		}
		if direct, err = ask(r.server, "tcp", name, tc.qtype); err != nil || direct.Truncated || len(direct.Answer) < tc.least || len(direct.Answer) >= n {
			t.Fatalf("%s over TCP: %d records, TC %v, %v", dns.TypeToString[tc.qtype], len(direct.Answer), direct.Truncated, err)
		}
		var m *dns.Msg
		eventually(t, "unbound's answer", func() (err error) {
			if m, err = ask(at, "tcp", name, tc.qtype); err == nil && m.Rcode != dns.RcodeSuccess {
				err = fmt.Errorf("%s", dns.RcodeToString[m.Rcode])
			}
			return err
		})
		if len(m.Answer) < tc.least {
			t.Errorf("%s by way of unbound: %d records, want %d at least", dns.TypeToString[tc.qtype], len(m.Answer), tc.least)
		}
		if diff := cmp.Diff(owned(direct), owned(m)); diff != "" {
			t.Errorf("%s: unbound, at the same address, is told something else", dns.TypeToString[tc.qtype])
		}
	}
}

// owned are the records of an answer without their TTLs, sorted.
func owned(m *dns.Msg) []string {
	var all []string
	for _, rr := range m.Answer {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		all = append(all, rr.String())
	}
	slices.Sort(all)
	return all
}
