package test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// outage is how long etcd stays away: long enough for every timeout of ours
// and of etcd's client to pass, and as long as promised where there is time.
func outage() time.Duration {
	if soaking() {
		return time.Minute
	}
	return 20 * time.Second
}

// soaking says that time is no matter: see `make soak`.
func soaking() bool { return os.Getenv("RACKDNS_SOAK") != "" }

// hosted is the node's address in the tests' instances. Nobody connects to it.
const hosted = "10.0.2.10"

// replica is a `rackdns dns` with its metrics.
type replica struct {
	*process
	rack, zone, server, metrics, conf string
	// text is its Corefile without the rack's block.
	text func(properties string) string
}

// startReplica starts a DNS server of a rack over a registry and waits until
// it answers. The properties are lines of the rack's block.
func startReplica(t *testing.T, rack string, endpoints []string, properties ...string) *replica {
	t.Helper()
	r := newReplica(t, rack, endpoints)
	r.configure(properties...)
	r.process = launch(t, "dns", "-conf", r.conf)
	ready(t, r.process, r.server, r.zone)
	return r
}

func newReplica(t *testing.T, rack string, endpoints []string) *replica {
	t.Helper()
	r := &replica{rack: rack, zone: rack + ".convox.", server: etcdtest.FreeAddr(t), metrics: etcdtest.FreeAddr(t)}
	r.text = func(properties string) string {
		return fmt.Sprintf("%s:%s {\n    bind 127.0.0.1\n    errors\n    prometheus %s\n    rack {\n        etcd %s\n        node apart\n%s    }\n}\n",
			r.zone, portOf(t, r.server), r.metrics, strings.Join(endpoints, " "), properties)
	}
	r.conf = corefile(t, "")
	return r
}

// configure writes the Corefile.
func (r *replica) configure(properties ...string) {
	var b strings.Builder
	for _, p := range properties {
		b.WriteString("        " + p + "\n")
	}
	r.rewrite(r.text(b.String()))
}

func (r *replica) rewrite(text string) {
	if err := os.WriteFile(r.conf, []byte(text), 0o600); err != nil {
		panic(err)
	}
}

func (r *replica) metric(name string) (float64, error) { return metric(r.metrics, name) }

// metric sums up the series of a metric of whoever serves it at an address.
func metric(address, name string) (float64, error) {
	body, err := get("http://" + address + "/metrics")
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return sum, nil
}

// age waits until the age of what the replica knows is in a range.
func (r *replica) age(low, high time.Duration) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("an age between %s and %s", low, high), func() error {
		age, err := r.metric("rackdns_index_sync_age_seconds")
		if err == nil && (age < low.Seconds() || age > high.Seconds()) {
			err = fmt.Errorf("is %.1f s", age)
		}
		return err
	})
}

// size is what a process holds.
type size struct{ goroutines, memory float64 }

func (r *replica) size() size {
	r.t.Helper()
	return sizeOf(r.t, r.metrics)
}

// sizeOf asks whoever serves metrics at an address.
func sizeOf(t *testing.T, address string) size {
	t.Helper()
	goroutines, err := metric(address, "go_goroutines")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := metric(address, "process_resident_memory_bytes")
	if err != nil {
		t.Fatal(err)
	}
	return size{goroutines, memory}
}

func (r *replica) noLarger(than size) {
	r.t.Helper()
	shrinksTo(r.t, r.metrics, than)
}

// shrinksTo waits until a process holds no more than it did. Memory may have
// grown a bit: the collector has no reason to hurry.
func shrinksTo(t *testing.T, address string, than size) {
	t.Helper()
	eventually(t, "the process is as small as it was", func() error {
		is := sizeOf(t, address)
		if is.goroutines > than.goroutines+5 || is.memory > than.memory*1.5 {
			return fmt.Errorf("%.0f goroutines and %.0f MB, before %.0f and %.0f MB",
				is.goroutines, is.memory/1e6, than.goroutines, than.memory/1e6)
		}
		return nil
	})
}

// said counts the lines of a process's output that have all of these words.
func said(p *process, words ...string) int {
	n := 0
lines:
	for line := range strings.Lines(p.out.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		n++
	}
	return n
}

// says waits for the first such line, and tells if there are more.
func says(t *testing.T, p *process, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("a line with %q", words), func() error {
		switch n := said(p, words...); n {
		case 0:
			return fmt.Errorf("there is none")
		case 1:
			return nil
		default:
			t.Fatalf("%d lines with %q", n, words)
			return nil
		}
	})
}

// entrant is an instance of an app's service "web" that tests put into a registry
// by hand.
func entrant(app, id string, port uint16) *registry.Instance {
	addr := netip.MustParseAddr(hosted)
	return &registry.Instance{
		ID: id, Node: "node-1", App: app, Service: "web", Namespace: app, Status: registry.StatusRunning, Weight: 1, Host: addr,
		Ports: []registry.Port{{
			Name: "http", Protocol: "tcp", Container: 3000,
			Bindings: []registry.Binding{{IP: addr, Port: port}},
		}},
	}
}

// ledger is a registry as seen by who writes it by hand.
type ledger struct {
	t      *testing.T
	client *clientv3.Client
	layout registry.Layout
}

func newLedger(t *testing.T, etcd *etcdtest.Cluster, rack string) *ledger {
	t.Helper()
	layout, err := registry.NewLayout(registry.DefaultPrefix, rack)
	if err != nil {
		t.Fatal(err)
	}
	return &ledger{t: t, client: etcd.Client(), layout: layout}
}

func (l *ledger) put(i *registry.Instance) (revision int64) {
	l.t.Helper()
	value, err := registry.Encode(i)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	r, err := l.client.Put(ctx, l.layout.Instance(i.Node, i.ID), string(value))
	if err != nil {
		l.t.Fatal(err)
	}
	return r.Header.Revision
}

func (l *ledger) remove(i *registry.Instance) (revision int64) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	r, err := l.client.Delete(ctx, l.layout.Instance(i.Node, i.ID))
	if err != nil {
		l.t.Fatal(err)
	}
	if r.Deleted != 1 {
		l.t.Fatalf("deleting %s removed %d keys", i.ID, r.Deleted)
	}
	return r.Header.Revision
}

// srvOf is the answer that load expects of a service.
func srvOf(name string, instances ...*registry.Instance) string {
	m := new(dns.Msg)
	m.Authoritative = true
	for _, i := range instances {
		m.Answer = append(m.Answer, &dns.SRV{Target: i.ID + "." + name, Port: i.Ports[0].Bindings[0].Port})
	}
	return answerOf(m)
}

// saidTimes checks how often a process has said something.
func saidTimes(p *process, want int, words ...string) error {
	if n := said(p, words...); n != want {
		return fmt.Errorf("%d lines with %q, want %d", n, words, want)
	}
	return nil
}
