package test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// reply is what matters of a reply, whatever its question.
type reply struct {
	Rcode  string
	Answer []string
	SOA    bool
}

// What an authoritative server owes to those who ask, over both protocols.
func TestAnswers(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	c := web(t, 1, app, b)[0]
	target, port := c.id+"."+name, c.published("3000/tcp")
	eventually(t, "the instance", func() error { return servedBy(r.dns, name, atHost(name, c)) })

	var (
		nodata   = reply{Rcode: "NOERROR", SOA: true}
		nxdomain = reply{Rcode: "NXDOMAIN", SOA: true}
		answers  = func(records ...string) reply { return reply{Rcode: "NOERROR", Answer: records} }
		gateway  = b.gateway.String()
		shouted  = strings.ToUpper(name[:6]) + name[6:]
	)
	tests := []struct {
		what, name string
		kind       uint16
		want       reply
	}{
		{"service", name, dns.TypeA, answers(name + " A " + gateway)},
		{"service", name, dns.TypeSRV, answers(name + " SRV 0 256 " + port + " " + target)},
		{"mixed case", shouted, dns.TypeA, answers(shouted + " A " + gateway)},
		{"mixed case", shouted, dns.TypeSRV, answers(shouted + " SRV 0 256 " + port + " " + target)},
		{"IPv4 only", name, dns.TypeAAAA, nodata},
		{"mixed case", shouted, dns.TypeAAAA, nodata},
		{"no such type", name, dns.TypeTXT, nodata},
		{"instance", target, dns.TypeA, answers(target + " A " + gateway)},
		{"instance", target, dns.TypeAAAA, nodata},
		{"instance", target, dns.TypeSRV, answers(target + " SRV 0 256 " + port + " " + target)},
		{"port", "_3000._tcp." + name, dns.TypeSRV, answers("_3000._tcp." + name + " SRV 0 256 " + port + " " + target)},
		{"port", "_3000._tcp." + name, dns.TypeA, nodata},
		{"names below", "_tcp." + name, dns.TypeSRV, nodata},
		{"app", app + "." + r.zone, dns.TypeA, nodata},
		{"app", app + "." + r.zone, dns.TypeSRV, nodata},
		{"zone", r.zone, dns.TypeA, nodata},
		{"zone", r.zone, dns.TypeNS, answers(r.zone + " NS ns.dns." + r.zone)},
		{"server", "ns.dns." + r.zone, dns.TypeAAAA, nodata},
		{"names below", "dns." + r.zone, dns.TypeA, nodata},
		{"unknown service", r.service("nope", app), dns.TypeA, nxdomain},
		{"unknown service", r.service("nope", app), dns.TypeSRV, nxdomain},
		{"unknown instance", "0123456789ab." + name, dns.TypeA, nxdomain},
		{"unknown app", "nope-" + app + "." + r.zone, dns.TypeA, nxdomain},
		{"prefix of an app", r.service("web", app[:len(app)-1]), dns.TypeA, nxdomain},
		{"prefix of a service", r.service("we", app), dns.TypeA, nxdomain},
	}
	for _, tc := range tests {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(strings.Join([]string{tc.what, dns.TypeToString[tc.kind], network}, " "), func(t *testing.T) {
				m, err := ask(r.dns, network, tc.name, tc.kind)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, summary(m)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.name, diff)
				}
				checkReply(t, r, m)
			})
		}
	}
}

// summary reduces a reply to what the table tells, without TTLs.
func summary(m *dns.Msg) reply {
	got := reply{Rcode: dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		h := rr.Header()
		data := strings.ReplaceAll(strings.TrimPrefix(rr.String(), h.String()), "\t", " ")
		got.Answer = append(got.Answer, h.Name+" "+dns.TypeToString[h.Rrtype]+" "+data)
	}
	for _, rr := range m.Ns {
		_, soa := rr.(*dns.SOA)
		got.SOA = got.SOA || soa
	}
	return got
}

// checkReply checks what all replies have in common.
func checkReply(t *testing.T, r *rack, m *dns.Msg) {
	t.Helper()
	if !m.Authoritative || m.Truncated {
		t.Errorf("authoritative: %t, truncated: %t; want true, false", m.Authoritative, m.Truncated)
	}
	for _, rr := range m.Answer {
		if ttl := rr.Header().Ttl; ttl != 5 {
			t.Errorf("TTL %d, want 5: %v", ttl, rr)
		}
		if _, soa := rr.(*dns.SOA); soa && m.Question[0].Qtype != dns.TypeSOA {
			t.Errorf("SOA among the answers: %v", rr)
		}
	}
	for _, rr := range m.Ns {
		soa, ok := rr.(*dns.SOA)
		if !ok {
			continue
		}
		if soa.Hdr.Name != r.zone || soa.Hdr.Ttl != 5 || soa.Minttl != 5 || soa.Serial == 0 || soa.Ns != "ns.dns."+r.zone {
			t.Errorf("SOA %v: want %s 5 IN SOA ns.dns.%s, a serial, and 5 as negative TTL", soa, r.zone, r.zone)
		}
	}
}

// The serial is the revision of the last change that DNS shows, so that it
// grows with each. (That it stands still meanwhile can't be seen here, where
// other people's containers come and go.)
func TestSerial(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	serial := func() uint32 {
		m, err := ask(r.dns, "udp", r.zone, dns.TypeSOA)
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("SOA of %s: %v %v", r.zone, m, err)
		}
		soa, ok := m.Answer[0].(*dns.SOA)
		if !ok {
			t.Fatalf("SOA of %s: %v", r.zone, m.Answer)
		}
		return soa.Serial
	}
	name := r.service("web", app)
	before := serial()
	c := web(t, 1, app, b)[0]
	eventually(t, "the instance", func() error { return servedBy(r.dns, name, atHost(name, c)) })
	if after := serial(); after <= before {
		t.Errorf("serial %d before a change, %d after", before, after)
	}
}

// Whoever delegates the zone to us needs our address.
func TestServerAddress(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	r := startRack(t, b)
	m, err := found(r.dns, "ns.dns."+r.zone, dns.TypeA)
	if err != nil {
		t.Fatal(err)
	}
	if got := addresses(m.Answer, ""); len(got) == 0 {
		t.Errorf("ns.dns.%s has no address", r.zone)
	}
	m, err = found(r.dns, r.zone, dns.TypeNS)
	if err != nil {
		t.Fatal(err)
	}
	if got := addresses(m.Extra, "ns.dns."+r.zone); len(got) == 0 {
		t.Errorf("the answer to NS brings no address of the server: %v", m.Extra)
	}
}
