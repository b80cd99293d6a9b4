package doctor

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// The kernel's own words for sockets, and those of this process.
func TestSockets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0100007F:0035": "127.0.0.1:53", "00000000:041D": "0.0.0.0:1053",
		"00000000000000000000000001000000:0035": "[::1]:53", "0000000000000000FFFF00000100007F:0035": "127.0.0.1:53",
	} {
		if a, ok := parseAddr(text); !ok || a.String() != want {
			t.Errorf("%s: %s, %t; want %s", text, a, ok, want)
		}
	}
	for _, text := range []string{"", "x:0035", "0100007F", "01:0035"} {
		if a, ok := parseAddr(text); ok {
			t.Errorf("%q: %s", text, a)
		}
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range listening("udp") {
		if s.addr.String() == c.LocalAddr().String() {
			if s.pid != os.Getpid() {
				t.Errorf("it is said to be %s, of pid %d", s.owner(), os.Getpid())
			}
			return
		}
	}
	t.Errorf("%s is not among those that are open", c.LocalAddr())
}

// A forwarder that has every name in lower case spoils the spelling.
func TestSpelling(t *testing.T) {
	t.Parallel()
	for _, lowers := range []bool{false, true} {
		ip := netip.AddrFrom4([4]byte{127, 84, byte(os.Getpid()), map[bool]byte{false: 1, true: 2}[lowers]})
		conn, err := net.ListenPacket("udp", netip.AddrPortFrom(ip, dnsPort).String())
		if err != nil {
			t.Skipf("needs root: %v", err)
		}
		server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
			r := new(dns.Msg).SetReply(m)
			if lowers {
				r.Question[0].Name = strings.ToLower(r.Question[0].Name)
			}
			r.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: "."}}
			_ = w.WriteMsg(r)
		})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.ActivateAndServe()
		}()
		cfg := lookAt("http://" + etcdtest.FreeAddr(t))
		cfg.ResolvConf = filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(cfg.ResolvConf, []byte("nameserver "+ip.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if lowers {
			finds(t, cfg, "forwarder", Warned, ip.String(), "changes the spelling")
		} else {
			finds(t, cfg, "forwarder", Passed, ip.String())
		}
		finds(t, cfg, "resolv-conf", Passed, ip.String())
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
}

// TestSymptoms has metrics that a process tells when something is wrong with it,
// and those of one that is well.
func TestSymptoms(t *testing.T) {
	t.Parallel()
	well := "rackdns_index_sync_age_seconds{rack=\"acme\"} 1\nrackdns_registry_lease_held{rack=\"acme\",node=\"n\"} 1\nrackdns_registry_embedded_up 1\n" +
		"coredns_rack_hidden_clients_queries_total{rack=\"acme\"} 0\nrackdns_index_preserved_instances{rack=\"other\"} 9\n"
	for _, tc := range []struct {
		name, metrics, check string
		want                 Outcome
		words                string
	}{
		{"well", "", "picture", Passed, ""},
		{"well", "", "processes", Passed, "1 process"},
		{"well", "", "hidden-clients", Passed, ""},
		{"stale", "rackdns_index_sync_age_seconds{rack=\"acme\"} 99\n", "picture", Failed, "99 seconds old"},
		{"preserved", "rackdns_index_preserved_instances{rack=\"acme\"} 12\n", "picture", Failed, "12 instances"},
		{"incomplete", "rackdns_registry_incomplete_total{rack=\"acme\"} 2\n", "picture", Warned, "2 times"},
		{"too long", "coredns_rack_omitted_records_total{rack=\"acme\"} 3\n", "picture", Warned, "3 records"},
		{"secondaries", "coredns_rack_notify_failures_total{rack=\"acme\"} 4\n", "picture", Warned, "4 of its NOTIFYs"},
		{"refused", "rackdns_registry_refused{rack=\"acme\",reason=\"password\"} 1\n", "processes", Failed, "etcd refuses 1"},
		{"a name that is taken", "rackdns_registry_name_taken{rack=\"acme\",node=\"n\"} 1\n", "processes", Failed, "another agent has its node's name"},
		{"a rival", "rackdns_registry_rival_changes_total{rack=\"acme\",node=\"n\"} 5\n", "processes", Warned, "5 times"},
		{"a lease that ended", "rackdns_registry_lease_losses_total{rack=\"acme\",node=\"n\"} 6\n", "processes", Warned, "6 times"},
		{"no lease", "rackdns_registry_lease_held{rack=\"acme\",node=\"m\"} 0\n", "processes", Failed, "no lease"},
		{"no etcd", "rackdns_registry_embedded_up 0\n", "processes", Failed, "its etcd doesn't run"},
		{"an etcd that ended", "rackdns_registry_embedded_ends_total 7\n", "processes", Warned, "7 times"},
		{"hidden", "coredns_rack_hidden_clients_queries_total{rack=\"acme\"} 8\n", "hidden-clients", Warned, "8 times"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// What is told twice is what is wrong.
			text := well
			for line := range strings.Lines(tc.metrics) {
				metric, _, _ := strings.Cut(line, " ")
				metric, _, _ = strings.Cut(metric, "{")
				for was := range strings.Lines(well) {
					if strings.HasPrefix(was, metric) && !strings.Contains(was, "other") {
						text = strings.Replace(text, was, "", 1)
					}
				}
				text += line
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }))
			t.Cleanup(server.Close)
			cfg := lookAt("http://" + etcdtest.FreeAddr(t))
			cfg.HTTP = []string{server.Listener.Addr().String()}
			finds(t, cfg, tc.check, tc.want, tc.words)
		})
	}
	cfg := lookAt("http://" + etcdtest.FreeAddr(t))
	cfg.HTTP = []string{etcdtest.FreeAddr(t)}
	for _, check := range []string{"picture", "processes", "hidden-clients"} {
		finds(t, cfg, check, Skipped, "metrics")
	}
}
