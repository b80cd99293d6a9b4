package rack_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// transferred is what a secondary gets over TCP.
func transferred(t *testing.T, d *server, m *dns.Msg) ([]dns.RR, error) {
	t.Helper()
	ch, err := (&dns.Transfer{ReadTimeout: patience}).In(m, d.tcp)
	if err != nil {
		t.Fatal(err)
	}
	var all []dns.RR
	for e := range ch {
		if e.Error != nil {
			return all, e.Error
		}
		all = append(all, e.RR...)
	}
	return all, nil
}

// TestTransferOverTheWire has CoreDNS's transfer plugin in front, with several
// zones, one of them large: AXFR, IXFR, and those who may not.
func TestTransferOverTheWire(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	const n = 1500
	for i := range n {
		s.put(web(i + 1))
	}
	d := serve(t, fmt.Sprintf("acme.convox:0 1.10.in-addr.arpa:0 acme.other:0 {\n bind 127.0.0.1\n transfer acme.convox 1.10.in-addr.arpa {\n to *\n }\n transfer acme.other {\n to 192.0.2.1\n }\n rack {\n etcd %s\n node node-1\n }\n}\n", s.url))
	d.says(t, fmt.Sprintf("%012x.%s", n, name), fmt.Sprintf("10.1.%d.%d", n>>8, n&255))
	all, err := transferred(t, d, new(dns.Msg).SetAxfr("acme.convox."))
	if err != nil || len(all) < n*6 {
		t.Fatalf("AXFR: %d records, %v", len(all), err)
	}
	soa, ok := all[0].(*dns.SOA)
	if !ok || all[len(all)-1].String() != soa.String() {
		t.Fatalf("AXFR is from %v to %v", all[0], all[len(all)-1])
	}
	if want := d.ask(t, "acme.convox.", dns.TypeSOA).Answer[0].String(); soa.String() != want {
		t.Errorf("AXFR has %v, a query %v", soa, want)
	}
	if _, err := transferred(t, d, new(dns.Msg).SetAxfr("1.10.in-addr.arpa.")); err != nil {
		t.Errorf("AXFR of the reverse zone: %v", err)
	}
	ixfr := func(serial uint32) int {
		some, err := transferred(t, d, new(dns.Msg).SetIxfr("acme.convox.", serial, soa.Ns, soa.Mbox))
		if err != nil {
			t.Errorf("IXFR: %v", err)
		}
		return len(some)
	}
	if got := ixfr(soa.Serial); got != 1 {
		t.Errorf("IXFR, up to date: %d records, want the SOA", got)
	}
	if got := ixfr(soa.Serial - 1); got != len(all) {
		t.Errorf("IXFR, behind: %d records, want %d", got, len(all))
	}
	if got, err := transferred(t, d, new(dns.Msg).SetAxfr("acme.other.")); err == nil || len(got) > 0 {
		t.Errorf("AXFR by somebody who may not: %d records, %v", len(got), err)
	}
	if m := d.ask(t, "acme.convox.", dns.TypeAXFR); m.Rcode != dns.RcodeRefused {
		t.Errorf("AXFR over UDP: %v", m)
	}
}

// TestOutsideHosts has resources at hosts that the rest of the server knows,
// doesn't know, and can't find out about.
func TestOutsideHosts(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	for name, host := range map[string]string{
		"known": "known.example.com", "nothing": "nothing.example.com", "v4": "known.example.com", "dead": "x.dead",
		"nobody": "x.nobody", "loop": "loop.resource.shop.acme.convox", "one": "two.resource.shop.acme.convox",
		"two": "one.resource.shop.acme.convox", "inside": "web.shop.acme.convox",
	} {
		s.put(registry.Resource{App: "shop", Name: name, Type: "x", Host: host})
	}
	s.put(web(1))
	// Nobody answers there.
	hole, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	d := serve(t, block(s.url, "")+
		"example.com:0 {\n bind 127.0.0.1\n hosts {\n 192.0.2.7 known.example.com\n }\n template ANY ANY nothing.example.com {\n rcode NXDOMAIN\n authority \"example.com. 60 IN SOA a. b. 1 2 3 4 5\"\n }\n}\n"+
		"dead:0 {\n bind 127.0.0.1\n forward . "+hole.LocalAddr().String()+"\n}\n")
	d.says(t, name, "10.1.0.1")
	for _, tc := range []struct{ name, want string }{
		{"known", "known.example.com. 192.0.2.7"},
		{"nothing", "NXDOMAIN"},
		{"nobody", "x.nobody."},
		{"dead", "SERVFAIL"},
		{"loop", "SERVFAIL"},
		{"one", "SERVFAIL"},
		{"inside", "web.shop.acme.convox. 10.1.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dns.Client{Timeout: patience}
			m, _, err := c.Exchange(new(dns.Msg).SetQuestion(tc.name+".resource.shop.acme.convox.", dns.TypeA), d.udp)
			if err != nil {
				t.Fatal(err)
			}
			if got := said(m); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if tc.want == "NXDOMAIN" && (len(m.Answer) != 1 || len(m.Ns) != 1) {
				t.Errorf("NXDOMAIN of the target without the CNAME, or without SOA: %v", m)
			}
		})
	}
	if m := d.ask(t, "v4.resource.shop.acme.convox.", dns.TypeAAAA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		t.Errorf("AAAA of a v4-only host: %v, want the CNAME alone", m)
	}
}

// TestReadyAndMetrics asks over HTTP, as a supervisor does.
func TestReadyAndMetrics(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	d := serve(t, block(s.url, ""))
	d.says(t, name, "10.1.0.1")
	text := gathered(t)
	for _, want := range []string{
		`coredns_rack_replies_total{kind="service",rack="acme",result="answer"}`, `coredns_rack_not_synced_total{rack="acme"}`,
		`coredns_rack_truncated_replies_total{rack="acme"}`, `rackdns_index_sync_age_seconds{rack="acme"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(text, "shop") {
		t.Error("a metric says what was asked")
	}
}

// TestNoResetOfSpelling sends what resolvers do against forgery: capitals at
// random (draft-vixie-dnsext-dns0x20).
func TestNoResetOfSpelling(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	d := serve(t, block(s.url, ""))
	d.says(t, name, "10.1.0.1")
	const spelled = "wEb.ShOp.AcMe.cOnVoX."
	for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeAAAA} {
		m := d.ask(t, spelled, qtype)
		var owners []string
		for _, rr := range m.Answer {
			owners = append(owners, rr.Header().Name)
		}
		want := []string{spelled}
		if qtype == dns.TypeAAAA {
			want = nil
		}
		if diff := cmp.Diff(want, owners); diff != "" || m.Question[0].Name != spelled {
			t.Errorf("%s (-want +got):\n%s", dns.TypeToString[qtype], diff)
		}
	}
}
