package rack

import (
	"context"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// FuzzServeDNS sends queries as they come from the wire to a rack that has
// something of everything. Whatever is asked, there is one reply or one code,
// it can be packed, and it fits.
func FuzzServeDNS(f *testing.F) {
	r := newTestRack(f, append(shop(), crowd(40, true)...)...)
	for _, name := range []string{
		"web.shop." + testZone, "WEB.myapp." + testZone, web1, "_http._tcp.web.shop." + testZone, "cache.resource." + testZone, "mysql-tiger.shop." + testZone,
		"mail.resource.shop." + testZone, testZone, "ns.dns." + testZone, "2.0.18.172.in-addr.arpa.", "0.18.172.in-addr.arpa.",
		"3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", `a\.b\000.shop.` + testZone, ".", "example.com.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeANY, dns.TypeSOA, dns.TypeNS, dns.TypeAXFR} {
			m := question(name, qtype)
			if qtype%2 == 0 {
				m.SetEdns0(1232, qtype%4 == 0)
			}
			wire, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, qtype%3 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, tcp bool) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		for _, from := range []string{outside, "172.18.0.9", "127.0.0.1"} {
			req := m.Copy()
			rec := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: from, TCP: tcp})
			code, err := r.ServeDNS(context.Background(), request.NewScrubWriter(req, rec), req)
			if err != nil {
				t.Fatal(err)
			}
			if (rec.Msg != nil) != plugin.ClientWrite(code) {
				t.Fatalf("code %d, reply %v", code, rec.Msg)
			}
			if rec.Msg == nil {
				continue
			}
			out, err := rec.Msg.Pack()
			if err != nil {
				t.Fatalf("%v: %v", rec.Msg, err)
			}
			state := request.Request{Req: req, W: rec}
			if len(out) > state.Size() && req.IsTsig() == nil {
				t.Fatalf("%d octets, more than %d", len(out), state.Size())
			}
			if rec.Msg.Rcode == dns.RcodeSuccess && len(rec.Msg.Answer) == 0 && len(rec.Msg.Ns) == 0 && !rec.Msg.Truncated {
				t.Fatalf("neither an answer nor a denial: %v", rec.Msg)
			}
		}
	})
}
