package rack_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// TestClasslessReverseZones has networks on the server block's line that are no
// whole number of octets: CoreDNS makes up to 128 zones of one, some of a single
// address, and all of them answer.
func TestClasslessReverseZones(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	ips := []string{"172.18.0.2", "172.18.0.127", "172.18.0.200", "172.20.3.4", "10.9.8.7", "10.9.8.70", "192.168.77.5"}
	for n, ip := range ips {
		i := web(n + 1)
		i.Networks = []registry.Network{{ID: fmt.Sprintf("net%d", n), Name: "net", Scope: registry.ScopeLocal, IPv4: netip.MustParseAddr(ip)}}
		s.put(i)
	}
	for _, network := range []string{"172.18.0.0/25", "172.16.0.0/12", "10.9.8.7/32", "10.9.8.64/27", "192.168.77.0/24", "18.172.in-addr.arpa"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			prefix, err := netip.ParsePrefix(network)
			if err != nil {
				prefix = netip.MustParsePrefix("172.18.0.0/16")
			}
			d := serve(t, fmt.Sprintf("acme.convox:0 %s:0 {\n bind 127.0.0.1\n transfer {\n to *\n }\n rack {\n etcd %s\n node node-1\n }\n}\n", network, s.url))
			d.says(t, fmt.Sprintf("%012x.%s", len(ips), name), "10.1.0.7")
			asked := 0
			for n, ip := range ips {
				owner, err := dns.ReverseAddr(ip)
				if err != nil {
					t.Fatal(err)
				}
				m := d.ask(t, owner, dns.TypePTR)
				if !prefix.Contains(netip.MustParseAddr(ip)) {
					if m.Rcode != dns.RcodeRefused {
						t.Errorf("%s is outside: %v", ip, m)
					}
					continue
				}
				asked++
				want := fmt.Sprintf("%012x.%s", n+1, name)
				if len(m.Answer) != 1 || !strings.HasSuffix(m.Answer[0].String(), "PTR\t"+want) || !m.Authoritative {
					t.Errorf("%s: %v, want %s", ip, m, want)
				}
				if m := d.ask(t, owner, dns.TypeTXT); m.Rcode != dns.RcodeSuccess || len(m.Answer) > 0 || len(m.Ns) != 1 {
					t.Errorf("%s TXT: %v, want NODATA", ip, m)
				}
				// Its zone, whatever that is, has a SOA record and can be transferred.
				zone := ownerOf(d.ask(t, owner, dns.TypeTXT).Ns)
				if soa := d.ask(t, zone, dns.TypeSOA); len(soa.Answer) != 1 {
					t.Errorf("%s SOA: %v", zone, soa)
				}
				all, err := transferred(t, d, new(dns.Msg).SetAxfr(zone))
				if err != nil || !slices.ContainsFunc(all, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypePTR && rr.Header().Name == owner }) {
					t.Errorf("AXFR of %s: %v %v", zone, all, err)
				}
			}
			if asked == 0 {
				t.Fatal("no address is in the network")
			}
			// An address that nobody has.
			free := "172.18.0.9"
			if !prefix.Contains(netip.MustParseAddr(free)) {
				return
			}
			owner, err := dns.ReverseAddr(free)
			if err != nil {
				t.Fatal(err)
			}
			// As the apex of its own zone it exists.
			want := dns.RcodeNameError
			if m := d.ask(t, owner, dns.TypeSOA); len(m.Answer) == 1 {
				want = dns.RcodeSuccess
			}
			if m := d.ask(t, owner, dns.TypePTR); m.Rcode != want || len(m.Answer) > 0 || len(m.Ns) != 1 {
				t.Errorf("%s: %v, want %s", free, m, dns.RcodeToString[want])
			}
		})
	}
}

// ownerOf is the owner of the first record.
func ownerOf(rrs []dns.RR) string {
	if len(rrs) == 0 {
		return "."
	}
	return rrs[0].Header().Name
}

// TestShortnameWithoutRack names the place, although it is found out only when all
// of the server block is there.
func TestShortnameWithoutRack(t *testing.T) {
	t.Parallel()
	starting.Lock()
	defer starting.Unlock()
	i, err := caddy.Start(input(".:0 {\n bind 127.0.0.1\n shortname @rack\n}\n"))
	if err == nil {
		_ = i.Stop()
		t.Fatal("no error")
	}
	const want = `plugin/shortname: Corefile:3 - Error during parsing: @rack: there is no rack in the same server block, such as "rack acme.convox"`
	if err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
