package rack_test

import (
	"bytes"
	"fmt"
	"log"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// block is a server block for acme.convox with these properties.
func block(etcd, properties string) string {
	return fmt.Sprintf("acme.convox:0 {\n bind 127.0.0.1\n errors\n rack {\n etcd %s\n node node-1\n %s\n }\n}\n", etcd, properties)
}

const name = "web.shop.acme.convox."

// TestRulesOverEtcd has the rows of "Rules that others got wrong" that take a
// registry, most of them one that fails.
func TestRulesOverEtcd(t *testing.T) {
	t.Parallel()
	t.Run("NXDOMAIN before the first sync gets cached downstream: SERVFAIL instead", ruleFirstSync)
	t.Run("prefixes end in a separator, so rails doesn't match rails2", ruleRacks)
	t.Run("a lease ID is not a TTL", ruleLease)
	t.Run("missed deletions after a long disconnect are found by listing again", ruleMissedDeletions)
	t.Run("the last known answers are given while the registry is away, up to max_stale", ruleStale)
}

func ruleFirstSync(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	wire := etcdtest.NewProxy(t, s.url)
	wire.Cut()
	// Whatever falls through is answered, so that it can be seen.
	dns := serve(t, ".:0 {\n bind 127.0.0.1\n template ANY A example.com {\n answer \"{{ .Name }} 60 A 192.0.2.1\"\n }\n rack acme.convox {\n etcd "+wire.URL()+"\n fallthrough\n }\n shortname @rack\n hosts {\n 192.0.2.2 x.acme.convox\n fallthrough\n }\n}\n")
	if got := said(dns.ask(t, "example.com.", 1)); got != "192.0.2.1" {
		t.Errorf("another name: %s", got)
	}
	for _, n := range []string{name, "x.acme.convox.", "acme.convox.", "web.orders."} {
		if got := said(dns.ask(t, n, 1)); got != "SERVFAIL" && n != "x.acme.convox." {
			t.Errorf("%s: %s, want SERVFAIL", n, got)
		}
	}
	wire.Mend()
	dns.says(t, name, "10.1.0.1")
}

func ruleRacks(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme2")
	s.put(web(2))
	s.layout = layoutOf(t, "acme")
	s.put(web(1))
	d := serve(t, block(s.url, "")+strings.Replace(block(s.url, ""), "acme.", "acme2.", 1))
	d.says(t, name, "10.1.0.1")
	d.says(t, "web.shop.acme2.convox.", "10.1.0.2")
}

func ruleLease(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	lease, err := s.client.Grant(s.context(), 3600)
	if err != nil {
		t.Fatal(err)
	}
	s.put(web(1), clientv3.WithLease(lease.ID))
	d := serve(t, block(s.url, ""))
	d.says(t, name, "10.1.0.1")
	for _, rr := range d.ask(t, name, dns.TypeA).Answer {
		if rr.Header().Ttl != 5 {
			t.Errorf("%v: TTL is not 5", rr)
		}
	}
	// What hangs on a lease goes with it.
	if _, err := s.client.Revoke(s.context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	d.says(t, name, "NXDOMAIN")
}

func ruleMissedDeletions(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	s.put(web(2))
	wire := etcdtest.NewProxy(t, s.url)
	d := serve(t, block(wire.URL(), ""))
	d.says(t, "000000000001."+name, "10.1.0.1")
	wire.Cut()
	deleted, err := s.client.Delete(s.context(), s.layout.Instance("node-1", "000000000001"))
	if err != nil {
		t.Fatal(err)
	}
	s.put(web(3))
	// The history of the deletion is gone, too.
	if _, err := s.client.Compact(s.context(), deleted.Header.Revision+1, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if got := said(d.ask(t, "000000000001."+name, dns.TypeA)); got != "10.1.0.1" {
		t.Errorf("cut off: %s, want the last known answer", got)
	}
	wire.Mend()
	d.says(t, "000000000001."+name, "NXDOMAIN")
	d.says(t, "000000000003."+name, "10.1.0.3")
	d.says(t, "000000000002."+name, "10.1.0.2")
}

func ruleStale(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	wire := etcdtest.NewProxy(t, s.url)
	limited := serve(t, block(wire.URL(), "max_stale 5s"))
	// Another address of the same server, so another server.
	endless := serve(t, block(wire.URL(), ""))
	limited.says(t, name, "10.1.0.1")
	endless.says(t, name, "10.1.0.1")
	wire.Cut()
	limited.says(t, name, "SERVFAIL")
	if got := said(endless.ask(t, name, dns.TypeA)); got != "10.1.0.1" {
		t.Errorf("without a limit: %s", got)
	}
	wire.Mend()
	limited.says(t, name, "10.1.0.1")
}

// logged is what CoreDNS and its plugins log, from the first use on.
var logged = sync.OnceValue(func() *logs {
	l := new(logs)
	log.SetOutput(l)
	return l
})

type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestMisconfiguredTLSSaysSo is the row "misconfigured TLS says so instead of
// deadline exceeded, and fails in seconds".
func TestMisconfiguredTLSSaysSo(t *testing.T) {
	t.Parallel()
	all := logged()
	s := newStore(t, "acme")
	begin := time.Now()
	serve(t, block(strings.Replace(s.url, "http:", "https:", 1), ""))
	for tick := time.NewTicker(10 * time.Millisecond); !strings.Contains(all.String(), "TLS"); <-tick.C {
		if time.Since(begin) > patience {
			t.Fatalf("nothing about TLS in the log:\n%s", all)
		}
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if strings.Contains(all.String(), "deadline exceeded") {
		t.Errorf("the log speaks of a deadline:\n%s", all)
	}
	// Files that aren't there are told before anything starts.
	for properties, want := range map[string]string{
		"tls nocert.pem nokey.pem noca.pem": `property "tls": CA certificate: open noca.pem`,
		"credentials root nofile":           `property "credentials": password file`,
	} {
		_, err := caddy.Start(input(block("https://127.0.0.1:2379", properties)))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Corefile:7") {
			t.Errorf("%s: %v, want line 7 and %q", properties, err, want)
		}
	}
}

// TestReloadLeaksNothing is the row "a client leaks on every reload". It is
// not parallel: it counts what all of the process runs.
func TestReloadLeaksNothing(t *testing.T) {
	s := newStore(t, "acme")
	s.put(web(1))
	corefile := block(s.url, "")
	d := serve(t, corefile)
	d.says(t, name, "10.1.0.1")
	broken := filepath.Join(t.TempDir(), "none")
	round := func() {
		// Another setting, so that it is another client each time.
		for _, node := range []string{"node-2", "node-1"} {
			if err := d.reload(strings.Replace(corefile, "node-1", node, 1)); err != nil {
				t.Fatal(err)
			}
			d.says(t, name, "10.1.0.1")
		}
		if d.reload(corefile+"other.convox:0 {\n rack {\n credentials root "+broken+"\n }\n}\n") == nil {
			t.Fatal("a broken Corefile was accepted")
		}
		d.says(t, name, "10.1.0.1")
	}
	round()
	before := runtime.NumGoroutine()
	const rounds = 5
	for range rounds {
		round()
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	for runtime.NumGoroutine() > before+rounds-1 {
		if time.Now().After(deadline) {
			var stacks [1 << 20]byte
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks[:], true)])
		}
		<-tick.C
	}
}
