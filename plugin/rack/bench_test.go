package rack

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/file"
	"github.com/miekg/dns"
)

// discard is a writer that costs nothing, so that it isn't what is measured.
type discard struct {
	dns.ResponseWriter
	from net.Addr
}

func (d *discard) RemoteAddr() net.Addr        { return d.from }
func (d *discard) LocalAddr() net.Addr         { return d.from }
func (d *discard) WriteMsg(*dns.Msg) error     { return nil }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

var (
	overUDP = &discard{from: &net.UDPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 40000}}
	overTCP = &discard{from: &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 40000}}
)

// manyServices are n services of three instances each, all published.
func manyServices(n int) []any {
	all := make([]any, 0, 3*n)
	for s := range n {
		for i := range 3 {
			k := 3*s + i
			is := instance(fmt.Sprintf("%012x", k), "myapp", fmt.Sprintf("web%d", s), at(fmt.Sprintf("10.%d.%d.%d", 1+k>>16, k>>8&255, k&255), 40000))
			all = append(all, is)
		}
	}
	return all
}

// fileOf is CoreDNS's file plugin with the records that the rack has.
func fileOf(b *testing.B, r *Rack) plugin.Handler {
	b.Helper()
	ch, err := r.Transfer(testZone, 0)
	if err != nil {
		b.Fatal(err)
	}
	var text bytes.Buffer
	soas := 0
	for rrs := range ch {
		for _, rr := range rrs {
			if rr.Header().Rrtype == dns.TypeSOA {
				if soas++; soas > 1 {
					continue
				}
			}
			fmt.Fprintln(&text, rr)
		}
	}
	z, err := file.Parse(&text, testZone, "stdin", 0)
	if err != nil {
		b.Fatal(err)
	}
	return file.File{Zones: file.Zones{Z: map[string]*file.Zone{testZone: z}, Names: []string{testZone}}}
}

// BenchmarkServeDNS measures the plugin alone, beside CoreDNS's file plugin
// with the same records in a zone of 1,000 services.
func BenchmarkServeDNS(b *testing.B) {
	r := newTestRack(b, append(manyServices(1000), crowd(1000, false)...)...)
	f := fileOf(b, r)
	for _, q := range []struct {
		name  string
		qname string
		qtype uint16
		w     dns.ResponseWriter
	}{
		{"A/3", "web500.myapp.acme.convox.", dns.TypeA, overUDP},
		{"SRV/3", "web500.myapp.acme.convox.", dns.TypeSRV, overUDP},
		{"NODATA", "web500.myapp.acme.convox.", dns.TypeAAAA, overUDP},
		{"NXDOMAIN", "nothing.myapp.acme.convox.", dns.TypeA, overUDP},
		{"A/1000/UDP", "web.myapp.acme.convox.", dns.TypeA, overUDP},
		{"A/1000/TCP", "web.myapp.acme.convox.", dns.TypeA, overTCP},
		{"SRV/1000/UDP", "web.myapp.acme.convox.", dns.TypeSRV, overUDP},
		{"SRV/1000/TCP", "web.myapp.acme.convox.", dns.TypeSRV, overTCP},
	} {
		for _, h := range []plugin.Handler{r, f} {
			b.Run(q.name+"/"+h.Name(), func(b *testing.B) {
				m := question(q.qname, q.qtype)
				m.SetEdns0(1232, false)
				ctx := context.Background()
				b.ReportAllocs()
				for b.Loop() {
					if code, err := h.ServeDNS(ctx, q.w, m); code != dns.RcodeSuccess && code != dns.RcodeNameError || err != nil {
						b.Fatal(code, err)
					}
				}
			})
		}
	}
}

// TestAllocations keeps the most frequent answers as cheap as they are.
func TestAllocations(t *testing.T) {
	r := newTestRack(t, manyServices(10)...)
	for _, tc := range []struct {
		qname string
		qtype uint16
		most  float64
	}{
		{"web5.myapp.acme.convox.", dns.TypeA, 3},
		{"web5.myapp.acme.convox.", dns.TypeSRV, 5},
		{"web5.myapp.acme.convox.", dns.TypeAAAA, 3},
		{"nothing.myapp.acme.convox.", dns.TypeA, 3},
	} {
		m := question(tc.qname, tc.qtype)
		m.SetEdns0(1232, false)
		ctx := context.Background()
		got := testing.AllocsPerRun(1000, func() {
			if _, err := r.ServeDNS(ctx, overUDP, m); err != nil {
				t.Fatal(err)
			}
		})
		if got > tc.most {
			t.Errorf("%s %s: %v allocations, want %v at most", tc.qname, dns.TypeToString[tc.qtype], got, tc.most)
		}
	}
}
