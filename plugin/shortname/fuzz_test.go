package shortname

import (
	"context"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// FuzzShortname sends queries as they come from the wire through shortname and
// then rack. There is one reply or one code; a reply can be packed, fits, and
// repeats the question; and what the world is asked for is what was asked.
func FuzzShortname(f *testing.F) {
	r, x := newRack(f)
	feed(f, x, rackOfTwo()...)
	for _, name := range []string{
		"web.orders.", "WEB.Orders.", "web.", "cli.", "com.", "web.com.", "_http._tcp.web.orders.", "000000000001.web.orders.", ".", `web\.orders.`, `\000.orders.`,
		"web.orders.acme.convox.", "convox.", "localhost.", "nope.orders.", "orders.", strings.Repeat("a", 63) + ".orders.", "mysql.orders.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeANY, dns.TypeNS, dns.TypeAXFR} {
			m := new(dns.Msg).SetQuestion(name, qtype)
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
	s := New(r, "dev")
	f.Fuzz(func(t *testing.T, wire []byte, tcp bool) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		for _, from := range []string{stranger, "172.18.0.9", "127.0.0.1"} {
			req, asked := m.Copy(), m.Copy()
			var world *dns.Msg
			next := plugin.HandlerFunc(func(_ context.Context, _ dns.ResponseWriter, req *dns.Msg) (int, error) {
				world = req
				return dns.RcodeRefused, nil
			})
			s.Next, r.Next = r, next
			rec := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: from, TCP: tcp})
			code, err := s.ServeDNS(context.Background(), request.NewScrubWriter(req, rec), req)
			if err != nil {
				t.Fatal(err)
			}
			if (rec.Msg != nil) != plugin.ClientWrite(code) {
				t.Fatalf("code %d, reply %v", code, rec.Msg)
			}
			if world != nil && (rec.Msg != nil || world.String() != asked.String()) {
				t.Fatalf("the world is asked %v, for %v, and the reply is %v", world, asked, rec.Msg)
			}
			if world != nil && len(m.Question) == 1 && r.Serves(strings.ToLower(m.Question[0].Name)) && m.Opcode == dns.OpcodeQuery {
				t.Fatalf("the world is asked for a name of ours: %v", m)
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
			if len(rec.Msg.Question) != 1 || rec.Msg.Question[0] != m.Question[0] || rec.Msg.Id != m.Id {
				t.Fatalf("%v is answered with %v", m, rec.Msg)
			}
		}
	})
}
