package rack

import (
	"errors"
	"testing"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// transferred is all that a secondary gets.
func transferred(t *testing.T, r *Rack, zone string, serial uint32) []dns.RR {
	t.Helper()
	ch, err := r.Transfer(zone, serial)
	if err != nil {
		t.Fatal(err)
	}
	var all []dns.RR
	for rrs := range ch {
		all = append(all, rrs...)
	}
	return all
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	for _, zone := range []string{testZone, "18.172.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."} {
		all := transferred(t, r, zone, 0)
		first, last := all[0], all[len(all)-1]
		if first.Header().Rrtype != dns.TypeSOA || first.String() != last.String() || len(all) < 5 {
			t.Errorf("%s: from %v to %v, %d records", zone, first, last, len(all))
		}
		for text, n := range texts(all[1:]) {
			if n > 1 {
				t.Errorf("%s: %d times %s", zone, n, text)
			}
		}
	}
}

// TestTransferIsWhatAStrangerIsTold asks for each name and type of the zone, as
// an asker of whom nothing is known, and wants the same records.
func TestTransferIsWhatAStrangerIsTold(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, append(shop(), instance("db0000000001", "shop", "db", at("10.0.2.10", 41000), isResource("tall", "postgres")))...)
	type set struct {
		name   string
		rrtype uint16
	}
	for _, zone := range []string{testZone, "18.172.in-addr.arpa."} {
		sets := map[set][]dns.RR{}
		all := transferred(t, r, zone, 0)
		for _, rr := range all[1:] {
			k := set{rr.Header().Name, rr.Header().Rrtype}
			sets[k] = append(sets[k], rr)
		}
		for k, want := range sets {
			_, m := ask(t, r, outside, question(k.name, k.rrtype))
			if diff := cmp.Diff(texts(m.Answer), texts(want)); diff != "" {
				t.Errorf("%s %s (-asked +transferred):\n%s", k.name, dns.TypeToString[k.rrtype], diff)
			}
		}
		if zone != testZone {
			continue
		}
		for _, name := range []string{
			"web.shop.", "web.store.", "3485248b1d18.web.store.", "_http._tcp.web.shop.", "_3000._udp.web.store.",
			"cache.resource.", "cache.resource.shop.", "mysql.shop.", "mysql-leopard.store.", "tall.resource.shop.", "postgres.shop.", "ns.dns.",
		} {
			if sets[set{name + testZone, dns.TypeA}] == nil && sets[set{name + testZone, dns.TypeSRV}] == nil && sets[set{name + testZone, dns.TypeAAAA}] == nil {
				t.Errorf("%s is missing", name+testZone)
			}
		}
		if got := sets[set{"mail.resource.shop." + testZone, dns.TypeCNAME}]; len(got) != 1 || sets[set{"mail.resource.shop." + testZone, dns.TypeSRV}] != nil {
			t.Errorf("the outside host has %v, and something beside it", got)
		}
		if sets[set{"dead248b1d18.web.shop." + testZone, dns.TypeA}] != nil {
			t.Error("an instance that drains is in the zone")
		}
	}
}

func TestTransferBySerial(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	for _, tc := range []struct {
		name string
		has  uint32
		all  bool
	}{
		{"AXFR", 0, true},
		{"older", serial - 1, true},
		{"up to date", serial, false},
		{"newer", serial + 1, false},
		{"older in a circle", serial + 1<<31 + 1, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if n := len(transferred(t, r, testZone, tc.has)); (n > 1) != tc.all || n == 0 {
				t.Errorf("%d records", n)
			}
		})
	}
	if _, err := r.Transfer("example.com.", 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
		t.Errorf("example.com.: %v", err)
	}
	if _, err := r.Transfer("shop."+testZone, 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
		t.Errorf("a name within the zone: %v", err)
	}
	if _, err := unsynced(t).Transfer(testZone, 0); err == nil || errors.Is(err, transfer.ErrNotAuthoritative) {
		t.Errorf("before the first sync: %v", err)
	}
}
