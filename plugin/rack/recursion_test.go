package rack_test

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// The address of an outside host that a resource stands for is part of the
// answer about the resource, which everybody gets, though nobody may have the
// host's own name looked up.
func TestOutsideHostForStrangers(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	s.put(registry.Resource{App: "shop", Name: "mail", Type: "mysql", Host: "db.example.com", Port: 3306})
	d := serve(t, ".:0 {\n bind 127.0.0.1\n template ANY A example.com {\n answer \"{{ .Name }} 60 A 192.0.2.1\"\n }\n"+
		" rack acme.convox {\n etcd "+s.url+"\n }\n recursion none\n cache\n}\n")
	d.says(t, name, "10.1.0.1")
	for range 2 {
		if got := said(d.ask(t, "db.example.com.", dns.TypeA)); got != "REFUSED" {
			t.Errorf("the host's own name: %s", got)
		}
		m := d.ask(t, "mail.resource.shop.acme.convox.", dns.TypeA)
		if len(m.Answer) != 2 || m.Answer[0].Header().Rrtype != dns.TypeCNAME || m.Answer[1].Header().Rrtype != dns.TypeA {
			t.Errorf("the resource: %v", m)
		}
	}
}
