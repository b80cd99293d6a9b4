package test

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// scene is a rack with a replica, some services, and what is to become of them.
type scene struct {
	t       *testing.T
	ledger  *ledger
	replica *replica
	// gone is removed from the service that loses one, come is put into the
	// service that gains one.
	gone, come *registry.Instance
	loses      *question
	gains      *question
	questions  []*question
}

// newScene fills a registry and starts a replica that is wired to it.
func newScene(t *testing.T, etcd *etcdtest.Cluster, wires []*etcdtest.Proxy, properties ...string) *scene {
	t.Helper()
	rack := unique("r")
	s := &scene{t: t, ledger: newLedger(t, etcd, rack)}
	steady := []*registry.Instance{entrant("steady", "a1", 41001), entrant("steady", "a2", 41002)}
	loses := []*registry.Instance{entrant("loses", "b1", 42001), entrant("loses", "b2", 42002)}
	gains := []*registry.Instance{entrant("gains", "c1", 43001)}
	for _, all := range [][]*registry.Instance{steady, loses, gains} {
		for _, i := range all {
			s.ledger.put(i)
		}
	}
	s.gone, s.come = loses[1], entrant("gains", "c2", 43002)
	var urls []string
	for _, w := range wires {
		urls = append(urls, w.URL())
	}
	s.replica = startReplica(t, rack, urls, properties...)
	name := func(app string) string { return "web." + app + "." + s.replica.zone }
	s.loses = asking(name("loses"), dns.TypeSRV, srvOf(name("loses"), loses...))
	s.gains = asking(name("gains"), dns.TypeSRV, srvOf(name("gains"), gains...))
	s.questions = []*question{
		s.loses, s.gains,
		asking(name("steady"), dns.TypeA, hosted),
		asking(name("steady"), dns.TypeSRV, srvOf(name("steady"), steady...)),
		asking(name("loses"), dns.TypeA, hosted),
		asking("a1."+name("steady"), dns.TypeA, hosted),
		asking("_http._tcp."+name("steady"), dns.TypeSRV, srvOf(name("steady"), steady...)),
		asking("steady."+s.replica.zone, dns.TypeA, ""),
		asking("nope."+s.replica.zone, dns.TypeA, nxdomain),
		asking("web.nope."+s.replica.zone, dns.TypeSRV, nxdomain),
	}
	return s
}

func (s *scene) load(perSecond int) *load {
	s.t.Helper()
	return startLoad(s.t, s.replica.server, perSecond, s.questions...)
}

// announce says what change is going to do.
func (s *scene) announce() {
	s.loses.then(srvOf(s.loses.name, entrant("loses", "b1", 42001)))
	s.gains.then(srvOf(s.gains.name, entrant("gains", "c1", 43001), s.come))
}

// change removes an instance and puts another.
func (s *scene) change() (revision int64) {
	s.t.Helper()
	s.ledger.put(s.come)
	return s.ledger.remove(s.gone)
}

// servfail checks that a name is answered SERVFAIL.
func servfail(server, name string) error {
	m, err := ask(server, "udp", name, dns.TypeA)
	if err == nil && m.Rcode != dns.RcodeServerFailure {
		err = fmt.Errorf("%s: %s, want SERVFAIL", name, dns.RcodeToString[m.Rcode])
	}
	return err
}
