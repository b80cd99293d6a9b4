package rack

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// crowd is a service of n instances, each at an address of its own.
func crowd(n int, v6 bool) []any {
	var all []any
	for i := range n {
		all = append(all, instance(fmt.Sprintf("%012x", 0xabc00000000+i), "myapp", "web", func(is *registry.Instance) {
			b := []registry.Binding{{IP: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Port: 40000}}
			if v6 {
				b = append(b, registry.Binding{IP: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)}), Port: 40000})
			}
			is.Ports[0].Bindings = b
		}))
	}
	return all
}

// scrubbed asks as the server would: the reply is cut to what the asker says
// it can take, 0 being an asker without EDNS.
func scrubbed(t *testing.T, r *Rack, w dns.ResponseWriter, m *dns.Msg, size uint16) *dns.Msg {
	t.Helper()
	if size > 0 {
		m.SetEdns0(size, false)
	}
	var got *dns.Msg
	spy := &writer{ResponseWriter: w, wrote: func(m *dns.Msg) { got = m }}
	if code, err := r.ServeDNS(t.Context(), request.NewScrubWriter(m, spy), m); code != dns.RcodeSuccess || err != nil {
		t.Fatalf("%d %v", code, err)
	}
	return got
}

type writer struct {
	dns.ResponseWriter
	wrote func(*dns.Msg)
}

func (w *writer) WriteMsg(m *dns.Msg) error {
	w.wrote(m)
	return nil
}

// TestReplyFits checks replies with any number of instances, for any asker:
// glue goes first, then records with TC, and never all of them.
func TestReplyFits(t *testing.T) {
	t.Parallel()
	const name = "web.myapp.acme.convox."
	for _, v6 := range []bool{false, true} {
		for _, n := range []int{1, 2, 3, 6, 7, 8, 9, 16, 17, 21, 22, 29, 30, 73, 74, 300, 1000} {
			r := newTestRack(t, crowd(n, v6)...)
			for _, size := range []uint16{0, 512, 1232, 4096} {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
					if qtype == dns.TypeAAAA && !v6 {
						continue
					}
					for _, tcp := range []bool{false, true} {
						t.Run(fmt.Sprintf("v6=%v/%d/size=%d/%s/tcp=%v", v6, n, size, dns.TypeToString[qtype], tcp), func(t *testing.T) {
							m := scrubbed(t, r, &test.ResponseWriter{TCP: tcp}, question(name, qtype), size)
							limit := max(int(size), dns.MinMsgSize)
							if tcp {
								limit = dns.MaxMsgSize
							}
							checkFit(t, m, n, limit)
						})
					}
				}
			}
		}
	}
}

func checkFit(t *testing.T, m *dns.Msg, want, limit int) {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	glue := glued(m)
	switch {
	case len(wire) > limit:
		t.Errorf("%d octets, more than %d", len(wire), limit)
	case len(m.Answer) == 0:
		t.Error("an empty answer")
	case m.Truncated != (len(m.Answer) < want):
		t.Errorf("TC is %v with %d of %d records", m.Truncated, len(m.Answer), want)
	case m.Truncated && glue > 0:
		t.Errorf("%d addresses took the place of records", glue)
	}
	// Nothing is left out that would have fitted.
	if m.Truncated {
		rest := limit - len(wire)
		if one := dns.Len(m.Answer[0]); rest > one {
			t.Errorf("%d octets are left over, and a record takes %d at most", rest, one)
		}
	}
}

// glued is the number of addresses beside an answer.
func glued(m *dns.Msg) int {
	n := len(m.Extra)
	if m.IsEdns0() != nil {
		n--
	}
	return n
}

// TestReplySizes pins how many records of a usual name fit.
func TestReplySizes(t *testing.T) {
	t.Parallel()
	const name = "web.myapp.rack.convox."
	for _, tc := range []struct{ size, edns, a, srv, withGlue int }{{512, 0, 29, 8, 6}, {1232, 1232, 73, 21, 16}} {
		for _, n := range []int{tc.withGlue, tc.withGlue + 1, tc.srv, tc.srv + 1, tc.a, tc.a + 1} {
			x := newIndex(t, crowd(n, false)...)
			r, err := New(x, "rack.convox.")
			if err != nil {
				t.Fatal(err)
			}
			m := scrubbed(t, r, &test.ResponseWriter{}, question(name, dns.TypeA), uint16(tc.edns))
			if m.Truncated != (n > tc.a) {
				t.Errorf("%d octets, %d A: TC is %v", tc.size, n, m.Truncated)
			}
			m = scrubbed(t, r, &test.ResponseWriter{}, question(name, dns.TypeSRV), uint16(tc.edns))
			if glue := glued(m); m.Truncated != (n > tc.srv) || (glue == n) != (n <= tc.withGlue) {
				t.Errorf("%d octets, %d SRV: TC is %v, with %d addresses", tc.size, n, m.Truncated, glue)
			}
		}
	}
}

// TestRepliesShareNothing changes all that a reply holds, as plugins in front
// do, and wants the next one to be as it was.
func TestRepliesShareNothing(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	for _, tc := range []struct {
		name  string
		qtype uint16
	}{
		{"web.shop.acme.convox.", dns.TypeA}, {"web.shop.acme.convox.", dns.TypeSRV}, {"web.shop.acme.convox.", dns.TypeMX},
		{testZone, dns.TypeNS}, {"cache.resource.shop.acme.convox.", dns.TypeSRV}, {"2.0.18.172.in-addr.arpa.", dns.TypePTR},
	} {
		_, first := ask(t, r, outside, question(tc.name, tc.qtype))
		want := first.Copy()
		for _, s := range [][]dns.RR{first.Answer, first.Ns, first.Extra} {
			for n, rr := range s {
				rr.Header().Name, rr.Header().Ttl = "changed.", 77
				if srv, ok := rr.(*dns.SRV); ok {
					srv.Target, srv.Port = "changed.", 7
				}
				s[n] = nil
			}
			_ = append(s, &dns.TXT{})
		}
		_, again := ask(t, r, outside, question(tc.name, tc.qtype))
		checkReply(t, test.Case{Qname: tc.name, Qtype: tc.qtype, Answer: want.Answer, Ns: want.Ns, Extra: want.Extra}, again)
	}
}
