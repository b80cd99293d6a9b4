package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resolve"
)

// dnsPort is where the world asks.
const dnsPort = 53

// defaultPort is where standalone answers unless told otherwise.
const defaultPort = 1053

// ourProgram is what our processes are called.
const ourProgram = "rackdns"

// proxyProgram is Docker's, which stands before a container's published ports.
const proxyProgram = "docker-proxy"

// server is a DNS server of the rack on this host.
type server struct {
	at     netip.AddrPort
	socket *socket
}

// apex is the rack's zone as a name in a question.
func (s *scene) apex() string { return dns.Fqdn(s.zone) }

// findServers returns the servers of this host that answer for the rack's zone, of
// all that could be one.
func (s *scene) findServers(ctx context.Context) []server {
	var could []server
	for n := range s.sockets {
		if k := &s.sockets[n]; k.couldBeOurs() && !slices.ContainsFunc(could, func(o server) bool { return o.at == k.reached() }) {
			could = append(could, server{k.reached(), k})
		}
	}
	for _, at := range s.cfg.DNS {
		if !slices.ContainsFunc(could, func(o server) bool { return o.at == at }) {
			could = append(could, server{at: at})
		}
	}
	ours := make([]bool, len(could))
	var asking sync.WaitGroup
	for n, v := range could {
		asking.Go(func() {
			m, _, err := dial(fromHere).ask(ctx, "udp", v.at, question{name: s.apex(), qtype: dns.TypeSOA})
			ours[n] = err == nil && m.Authoritative && knows(m, s.apex())
		})
	}
	asking.Wait()
	var found []server
	for n, v := range could {
		if ours[n] {
			found = append(found, v)
		}
	}
	return found
}

// given are the servers that were named, else all.
func (s *scene) given() []server {
	if len(s.cfg.DNS) == 0 {
		return s.servers()
	}
	return slices.DeleteFunc(slices.Clone(s.servers()), func(v server) bool { return !slices.Contains(s.cfg.DNS, v.at) })
}

// couldBeOurs reports whether a DNS server of ours may be at the socket.
func (s *socket) couldBeOurs() bool {
	switch s.program {
	case ourProgram, proxyProgram:
		return s.program == ourProgram || s.addr.Port() == dnsPort
	case "coredns", "":
		return s.addr.Port() == dnsPort || s.addr.Port() == defaultPort
	}
	return false
}

func checkServer(ctx context.Context, s *scene) []Result {
	servers := s.given()
	var found []Result
	for _, at := range s.cfg.DNS {
		if slices.ContainsFunc(servers, func(v server) bool { return v.at == at }) {
			continue
		}
		m, _, err := dial(fromHere).ask(ctx, "udp", at, question{name: s.apex(), qtype: dns.TypeSOA})
		switch {
		case err != nil:
			found = append(found, failed("start it, or say by --dns where it listens", "the server at %s: %s", at, noAnswer(err)))
		case m.Rcode == dns.RcodeServerFailure:
			found = append(found, failed("see its log: it has not read the registry yet, or not for longer than max_stale", "the server at %s answers SERVFAIL for %s", at, s.zone))
		default:
			found = append(found, failed("is it the right server (--dns), rack (--rack) and suffix (--suffix)?", "the server at %s is not one for %s: it says %s", at, s.zone, says(m)))
		}
	}
	if len(s.cfg.DNS) == 0 && len(servers) == 0 {
		return []Result{warned("start one (rackdns dns, or standalone), or say by --dns ADDRESS:PORT where it listens; is the suffix right (--suffix)?", "no DNS server on this host answers for %s", s.zone)}
	}
	var at []string
	for _, v := range servers {
		at = append(at, v.at.String())
		if _, _, err := dial(fromHere).ask(ctx, "tcp", v.at, question{name: s.apex(), qtype: dns.TypeSOA}); err != nil {
			found = append(found, warned("have it answer over TCP too: large answers need that", "the server at %s over TCP: %s", v.at, noAnswer(err)))
		}
	}
	return orPassed(found, "%s answers for %s", some(at), s.zone)
}

const (
	// sample is how many services a server is asked about.
	sample = 50
	// changePatience is how long what changes just now may differ.
	changePatience = 3 * time.Second
)

func checkAnswers(ctx context.Context, s *scene) []Result {
	if _, err := s.picture(); err != nil {
		return skipped("what DNS answers: %s", err)
	}
	servers := s.given()
	if len(servers) == 0 {
		return skipped("what DNS answers: there is no server on this host")
	}
	var found []Result
	asked := 0
	for _, v := range servers {
		if v.socket != nil && v.socket.program == proxyProgram {
			continue // it doesn't see who asks, which another check says
		}
		n, differ, err := s.compare(ctx, fromHere, v.at, s.index, s.here())
		asked += n
		if err != nil {
			found = append(found, failed("see its log", "the server at %s: %s", v.at, noAnswer(err)))
		}
		for _, d := range differ {
			found = append(found, failed("see its log, and metric rackdns_index_sync_age_seconds; rackdns resolve says what is right; if its Corefile has address, routable or forwarders, say so by the flags",
				"the server at %s %s", v.at, d))
		}
	}
	return orPassed(found, "%s, as the registry has it", several(asked, "answer"))
}

// compare asks a server, which is on a node, for services, and says where it
// answers something else than it should.
func (s *scene) compare(ctx context.Context, d dial, at netip.AddrPort, x *index.Index, node string) (asked int, differ []string, err error) {
	for _, name := range someServices(x.Snapshot()) {
		asked++
		until := time.Now().Add(changePatience)
		for {
			diff, err := s.compareOne(ctx, d, at, x.Snapshot(), node, name)
			if err != nil {
				return asked, differ, err
			}
			if diff == "" {
				break
			}
			if time.Now().After(until) {
				differ = append(differ, diff)
				break
			}
			select {
			case <-ctx.Done():
				return asked, differ, ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
		if len(differ) > most {
			break
		}
	}
	return asked, differ, nil
}

// someServices returns the names of services that have instances, spread over all.
func someServices(s *index.Snapshot) []string {
	var all []string
	for a := range s.Apps() {
		for v := range s.Services(a) {
			if len(v.Instances()) > 0 && s.Holder(a.Name) == a {
				all = append(all, v.Name()+"."+a.Name)
			}
		}
	}
	if len(all) <= sample {
		return all
	}
	var some []string
	for n := range sample {
		some = append(some, all[n*len(all)/sample])
	}
	return some
}

// compareOne asks for a service over TCP, where nothing is cut.
func (s *scene) compareOne(ctx context.Context, d dial, at netip.AddrPort, snapshot *index.Snapshot, node, name string) (differs string, err error) {
	rack := resolve.Rack{Snapshot: snapshot, Node: node, Name: s.rack(), Zone: s.zone}
	m, from, err := d.ask(ctx, "tcp", at, question{name: dns.Fqdn(name + "." + s.zone), qtype: dns.TypeSRV})
	if err != nil {
		return "", err
	}
	if snapshot.Asker(from).Kind() == reach.Hidden {
		// We ask at a gateway's address, which is our own.
		from = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	res, err := rack.Resolve(name, rack.At(from))
	if err != nil {
		return "", nil //nolint:nilerr // it has gone meanwhile
	}
	if m.Rcode != dns.RcodeSuccess {
		return fmt.Sprintf("answers %s for %s, which exists", dns.RcodeToString[m.Rcode], name), nil
	}
	want := wanted(&res)
	got := told(m, dns.Fqdn(name+"."+s.zone))
	if !slices.Equal(want, got) {
		return fmt.Sprintf("tells %s of %s at %s, and the registry has %s", from, name, cmp.Or(some(got), "nothing"), cmp.Or(some(want), "nothing")), nil
	}
	return "", nil
}

// wanted are the instances and ports that should be told, in order.
func wanted(res *resolve.Result) []string {
	var all []string
	for _, i := range res.Instances {
		for _, e := range i.Endpoints {
			if e.Port != 0 {
				all = append(all, fmt.Sprintf("%s:%d", i.ID, e.Port))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// told are the instances and ports in an answer for a service, in order.
func told(m *dns.Msg, service string) []string {
	var all []string
	for _, rr := range m.Answer {
		srv, ok := rr.(*dns.SRV)
		if !ok {
			continue
		}
		labels := strings.TrimSuffix(strings.ToLower(srv.Target), "."+strings.ToLower(service))
		all = append(all, fmt.Sprintf("%s:%d", labels[strings.LastIndexByte(labels, '.')+1:], srv.Port))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// mostNodes is how many other nodes' servers are asked.
const mostNodes = 16

// checkOthers asks the servers of other nodes, where others reach them.
func checkOthers(ctx context.Context, s *scene) []Result {
	nodes, err := s.living()
	if err != nil {
		return skipped("other nodes' DNS servers: %s", err)
	}
	nodes = slices.DeleteFunc(nodes, func(n registry.NodeState) bool { return n.Node.Node == s.here() || len(n.Addresses) == 0 })
	if len(nodes) == 0 {
		return passed("there is no other node")
	}
	all := make([][]Result, min(len(nodes), mostNodes))
	var asking sync.WaitGroup
	for n := range all {
		asking.Go(func() { all[n] = s.checkOther(ctx, &nodes[n].Node) })
	}
	asking.Wait()
	found := slices.Concat(all...)
	return orPassed(found, "%s, each answers as the registry has it", several(len(all), "server"))
}

func (s *scene) checkOther(ctx context.Context, n *registry.Node) []Result {
	at := netip.AddrPortFrom(n.Addresses[0], dnsPort)
	m, _, err := dial(fromHere).ask(ctx, "udp", at, question{name: s.apex(), qtype: dns.TypeSOA})
	var silent net.Error
	switch {
	case err != nil && errors.As(err, &silent):
		return skipped("node %s: nobody answers at %s from here (%s): run rackdns doctor there", n.Node, at, noAnswer(err))
	case err != nil:
		return skipped("node %s at %s: %s", n.Node, at, noAnswer(err))
	case m.Rcode == dns.RcodeServerFailure:
		return []Result{failed("see its log: it has not read the registry, or not for longer than max_stale", "node %s: the server at %s answers SERVFAIL for %s", n.Node, at, s.zone)}
	case !knows(m, s.apex()):
		return skipped("node %s: what answers at %s is not a server for %s: it says %s", n.Node, at, s.zone, says(m))
	}
	// It sees the rack from where it is.
	opts := s.cfg.Options
	opts.Node = n.Node
	x, err := index.Open(index.Config{Registry: s.cfg.Registry, Options: opts, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return skipped("node %s: %s", n.Node, err)
	}
	x.Start()
	defer func() { _ = x.Close() }()
	select {
	case <-x.Synced():
	case <-time.After(firstPicture):
		return skipped("node %s: a list of everything in the registry takes over %s", n.Node, firstPicture)
	case <-ctx.Done():
		return nil
	}
	_, differ, err := s.compare(ctx, fromHere, at, x, n.Node)
	var found []Result
	if err != nil {
		found = append(found, warned("have it answer over TCP too", "node %s: the server at %s over TCP: %s", n.Node, at, noAnswer(err)))
	}
	for _, d := range differ {
		found = append(found, warned("run rackdns doctor there: its Corefile may have other properties than this host's", "node %s: the server at %s %s", n.Node, at, d))
	}
	return found
}
