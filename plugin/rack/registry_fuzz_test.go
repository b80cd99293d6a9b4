package rack

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	dto "github.com/prometheus/client_model/go"

	"github.com/rackdns/rackdns/internal/registry"
)

// FuzzRegistry fills a registry with anything: keys and values in turn, with a
// NUL between them, and a key below the rack's unless it begins with a slash.
// Whatever is there, the zones can be transferred, every record is valid, and so
// is each answer about a name in them.
func FuzzRegistry(f *testing.F) {
	add := func(values ...any) {
		var parts [][]byte
		for _, v := range values {
			e := put(f, v)
			parts = append(parts, []byte(strings.TrimPrefix(e.Key, layout.Base())), e.Value)
		}
		f.Add(bytes.Join(parts, []byte{0}))
	}
	add(shop()...)
	add(crowd(3, true)...)
	for _, v := range longNames() {
		add(v)
	}
	for _, raw := range []string{
		"", "nodes/a", "nodes/a\x00{}", "instances/node-1/0\x00null", "instances/@api/web~::1\x00{\"id\":\"a\"}", "instances/@api/shop/web/::1~80\x00{\"id\":\"a\"}",
		"services/resource/dns\x00{}", "resources/@rack/cache\x00{\"name\":\"cache\",\"type\":\"redis\",\"host\":\"..\",\"port\":6379}",
		"resources/shop/db\x00{\"app\":\"shop\",\"name\":\"db\",\"type\":\"mysql\",\"host\":\"db.shop.acme.convox\",\"port\":1}",
		"/rackdns/secrets/acme/shop/db\x00{}", "seen/shop/web\x00", "drained/node-1\x00{}", "vips/10.0.0.1\x00shop/web",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := newTestRack(t)
		parts := bytes.Split(raw, []byte{0})
		var entries []registry.Entry
		for n := 0; n+1 < len(parts) && n < 64; n += 2 {
			e := registry.Entry{Key: string(parts[n]), Value: parts[n+1], ModRevision: serial + int64(n)}
			if !strings.HasPrefix(e.Key, "/") {
				e.Key = layout.Base() + e.Key
			}
			entries = append(entries, e)
		}
		// Half of it in the list, half as changes.
		feed := r.index.Feed()
		feed.BeginList(serial+64, true)
		feed.List(entries[:len(entries)/2])
		feed.EndList()
		feed.Update(entries[len(entries)/2:])
		feed.Confirm()
		checkTransfers(t, r)
	})
}

// checkTransfers transfers each zone and asks for each name in it, and wants
// nothing but what can be sent.
func checkTransfers(t *testing.T, r *Rack) {
	t.Helper()
	for _, zone := range r.CacheBypassZones() {
		all := transferred(t, r, zone, 0)
		names := map[string]bool{}
		for _, rr := range all {
			if err := checkRecord(rr); err != nil {
				t.Fatalf("%s: %v", rr, err)
			}
			if !within(rr.Header().Name, zone) {
				t.Fatalf("%s: is not in %s", rr, zone)
			}
			names[rr.Header().Name] = true
		}
		for name := range names {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeCNAME, dns.TypeANY} {
				_, m := ask(t, r, outside, question(name, qtype))
				if m == nil {
					t.Fatalf("%s %s: no reply", name, dns.TypeToString[qtype])
				}
				if _, err := m.Pack(); err != nil {
					t.Fatalf("%v: %v", m, err)
				}
				if m.Rcode == dns.RcodeNameError {
					t.Fatalf("%s is in the zone, and %v", name, m)
				}
				for _, rr := range append(append(m.Answer, m.Ns...), m.Extra...) {
					if err := checkRecord(rr); err != nil {
						t.Fatalf("%s %s: %s: %v", name, dns.TypeToString[qtype], rr, err)
					}
				}
			}
		}
	}
}

// checkRecord packs a record by itself, and looks at its names by the limits of
// RFC 1035, section 2.3.4.
func checkRecord(rr dns.RR) error {
	m := dns.Msg{Answer: []dns.RR{rr}}
	if _, err := m.Pack(); err != nil {
		return err
	}
	names := []string{rr.Header().Name}
	switch rr := rr.(type) {
	case *dns.SRV:
		names = append(names, rr.Target)
	case *dns.CNAME:
		names = append(names, rr.Target)
	case *dns.PTR:
		names = append(names, rr.Ptr)
	case *dns.NS:
		names = append(names, rr.Ns)
	}
	for _, n := range names {
		if len(n) > 254 || !dns.IsFqdn(n) {
			return fmt.Errorf("%s: %d characters", n, len(n))
		}
		for _, l := range strings.Split(strings.TrimSuffix(n, "."), ".") {
			if l == "" || len(l) > 63 {
				return fmt.Errorf("%s: label %q", n, l)
			}
		}
	}
	return nil
}

// longNames are valid values out of whose parts names are joined that aren't.
func longNames() []any {
	label := strings.Repeat("a", 63)
	host := strings.Repeat(label+".", 3)
	outsideHost := func(n int) registry.Resource {
		return registry.Resource{App: "shop", Name: "db", Type: "mysql", Host: host + strings.Repeat("b", n-len(host)), Port: 3306}
	}
	all := []any{
		instance("000000000001", "shop", "web", func(i *registry.Instance) { i.Ports[0].Name = label }),
		instance("000000000002", label, label, on("n", "172.18.0.2", "2001:db8::2")),
		instance(label, label, label, at("10.0.2.10", 1)),
		registry.Resource{App: "shop", Name: label, Type: label, Host: "10.0.0.1", Port: 1},
		registry.Resource{App: label, Name: label, Type: "mysql", Host: "10.0.0.1", Port: 1},
		registry.Resource{Name: label, Type: "mysql", Host: "db.example", Port: 1},
	}
	for n := 250; n <= 256; n++ {
		all = append(all, outsideHost(n))
	}
	return append(all, registry.Resource{App: "shop", Name: "db", Type: "mysql", Host: host + label + ".", Port: 1})
}

// A name that can't be doesn't take the zone's transfer with it, and is counted.
func TestTransferOfLongNames(t *testing.T) {
	t.Parallel()
	for _, v := range longNames() {
		r := newTestRack(t, instance("00000000000f", "other", "web"), v)
		checkTransfers(t, r)
		if all := transferred(t, r, testZone, 0); len(all) < 5 {
			t.Errorf("%v: %d records", v, len(all))
		}
	}
	r := newTestRack(t, instance("000000000001", "shop", "web", at("10.0.2.10", 1), func(i *registry.Instance) {
		i.Ports[0].Name = strings.Repeat("a", 63)
		i.Host = netip.MustParseAddr("10.0.2.10")
	}))
	before := omitted(t)
	names := map[string]int{}
	for _, rr := range transferred(t, r, testZone, 0) {
		names[rr.Header().Name]++
	}
	if names["_3000._tcp.web.shop."+testZone] == 0 || names["web.shop."+testZone] == 0 {
		t.Errorf("the names beside the one that can't be are %v", names)
	}
	if got := omitted(t) - before; got < 1 {
		t.Errorf("%v records are counted as left out", got)
	}
}

// omitted is what the metric of records left out says.
func omitted(t *testing.T) float64 {
	t.Helper()
	var m dto.Metric
	if err := omissions.WithLabelValues("acme").Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
