package rack

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
)

var _ transfer.Transferer = (*Rack)(nil) //nolint:misspell // That is its name.

var errNotSynced = errors.New("the registry was never read, or is out of reach for longer than max_stale")

// Transfer implements the interface of the transfer plugin. A secondary has one answer for all
// who ask it, so what it gets is what an asker gets of whom nothing is known.
//
// Changes are not kept, so an IXFR is answered with all of the zone, or with
// its SOA record if the secondary is up to date (RFC 1995, section 2).
func (r *Rack) Transfer(name string, serial uint32) (<-chan []dns.RR, error) {
	z := r.zoneOf(name)
	if z == nil {
		return nil, transfer.ErrNotAuthoritative
	}
	s := r.Snapshot()
	if s == nil {
		return nil, fmt.Errorf("zone %s: %w", name, errNotSynced)
	}
	soa := r.soa(z, s)
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		ch <- []dns.RR{soa}
		// Serials are compared in a circle (RFC 1982).
		if serial != 0 && int32(serial-soa.Serial) >= 0 {
			return
		}
		d := dump{Rack: r, of: z, s: s, ch: ch}
		d.apex()
		if z.forward {
			d.forward()
		} else {
			d.reverse()
		}
		ch <- []dns.RR{soa}
	}()
	return ch, nil
}

// dump writes the records of a zone to a channel that somebody drains.
type dump struct {
	*Rack
	of  *zone
	s   *index.Snapshot
	ch  chan<- []dns.RR
	rrs []dns.RR
}

func (d *dump) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: d.ttl}
}

// flush sends what has been gathered.
func (d *dump) flush() {
	if len(d.rrs) > 0 {
		d.ch <- d.rrs
		d.rrs = nil
	}
}

func (d *dump) apex() {
	d.rrs = append(d.rrs, &dns.NS{Hdr: d.header(d.of.name, dns.TypeNS), Ns: d.of.ns})
	if within(d.of.ns, d.of.name) {
		for _, ip := range d.ownAddrs(d.s) {
			d.rrs = append(d.rrs, addrRR(d.of.ns, ip, d.ttl))
		}
	}
	d.flush()
}

// forward writes all names of the rack, those by namespace too.
func (d *dump) forward() {
	for r := range d.s.Resources() {
		d.resource(r.Name+".resource."+d.of.name, r)
	}
	d.flush()
	for name, app := range d.s.Names() {
		base := name + "." + d.of.name
		hidden := func(label string) bool { return name == app.Name && d.s.Displaced(app, label) }
		for v := range d.s.Services(app) {
			if hidden(v.Name()) {
				continue
			}
			d.service(v.Name()+"."+base, v)
			d.flush()
		}
		for v := range d.s.Aliases(app) {
			if !hidden(v.Name()) {
				d.alias(v.Name()+"."+base, v)
				d.flush()
			}
		}
		for r := range app.Resources() {
			if !hidden(r.Name + ".resource") {
				d.resource(r.Name+".resource."+base, r)
			}
		}
		for label, r := range app.Databases() {
			if !hidden(label) {
				d.resource(label+"."+base, r)
			}
		}
		d.flush()
	}
}

// service writes a service, its instances, and its ports by name and number.
func (d *dump) service(name string, v *index.Service) {
	all := d.s.Match(v, "", index.Stranger())
	d.addresses(name, all.Endpoints)
	d.ports(name, &all, name)
	found := map[string]bool{}
	reachable := d.s.Reachable(v, index.Stranger())
	for n := range reachable {
		// Their own names have those, too, that the service's leaves out.
		e := reachable[n]
		target := targetName(&e, name)
		d.target(target, &e)
		d.ports(target, &index.Match{Kind: index.AnInstance, Service: v, Endpoints: []index.Endpoint{e}}, name)
		ports := e.Ports()
		for i := range ports {
			if e.Number(&ports[i]) == 0 {
				continue
			}
			for _, label := range portLabels(&ports[i]) {
				if !found[label] {
					found[label] = true
					match := d.s.Match(v, label, index.Stranger())
					d.ports(label+"."+name, &match, name)
				}
			}
		}
	}
}

// ports writes the SRV records of a name: those of the ports that it stands for,
// at targets below a service's name.
func (d *dump) ports(owner string, match *index.Match, service string) {
	var rrs []dns.RR
	for n := range match.Endpoints {
		e := &match.Endpoints[n]
		below := service
		if below == "" {
			below = e.Service() + "." + e.App() + "." + d.of.name
		}
		// TCP and UDP may have the same number, and an RRset has no duplicates.
		var numbers []uint16
		ports := e.Ports()
		for i := range ports {
			number := e.Number(&ports[i])
			if number == 0 || !match.Wants(&ports[i]) || slices.Contains(numbers, number) {
				continue
			}
			numbers = append(numbers, number)
			rrs = d.appendSRV(rrs, owner, e, number, targetName(e, below))
		}
	}
	d.rrs = append(d.rrs, rrs...)
}

// alias writes what the name of an alias has. What stands below it is found by the
// names of the instances' own services.
func (d *dump) alias(name string, v *index.Service) {
	endpoints := d.s.Endpoints(v, index.Stranger())
	d.addresses(name, endpoints)
	d.ports(name, &index.Match{Kind: index.AService, Service: v, Endpoints: endpoints}, "")
}

// portLabels are the labels before a service's name by which a port is found.
func portLabels(p *index.Port) []string {
	proto := "._tcp"
	if p.UDP {
		proto = "._udp"
	}
	number := strconv.Itoa(int(p.Container))
	labels := []string{"_" + number + proto}
	if p.Name() != "" && p.Name() != number {
		labels = append(labels, "_"+p.Name()+proto)
	}
	return labels
}

// valid reports whether a name can be told, and notes it if not.
func (d *dump) valid(owner, target string) bool {
	if isName(owner) && isName(target) {
		return true
	}
	d.omit(owner, target)
	return false
}

func (d *dump) appendSRV(rrs []dns.RR, owner string, e *index.Endpoint, number uint16, target string) []dns.RR {
	if !d.valid(owner, target) {
		return rrs
	}
	return append(rrs, &dns.SRV{Hdr: d.header(owner, dns.TypeSRV), Priority: e.Priority(), Weight: wireWeight(e), Port: number, Target: target})
}

// targetName is the name of an endpoint below its service's.
func targetName(e *index.Endpoint, service string) string {
	if e.Label() != "" {
		return e.Label() + "." + e.ID() + "." + service
	}
	return e.ID() + "." + service
}

// target adds the addresses of one endpoint.
func (d *dump) target(owner string, e *index.Endpoint) {
	if !d.valid(owner, owner) {
		return
	}
	for _, ip := range e.All() {
		d.rrs = append(d.rrs, addrRR(owner, ip, d.ttl))
	}
}

// addresses adds the addresses of endpoints, each once.
func (d *dump) addresses(owner string, endpoints []index.Endpoint) {
	if len(endpoints) == 0 || !d.valid(owner, owner) {
		return
	}
	for _, v6 := range []bool{false, true} {
		for _, c := range candidates(nil, endpoints, v6) {
			if ip, ok := netip.AddrFromSlice(address(&endpoints[c.at], v6)); ok {
				d.rrs = append(d.rrs, addrRR(owner, ip, d.ttl))
			}
		}
	}
}

// resource writes what a resource's name has. Nothing may stand beside a CNAME
// in a zone file, so the port of an outside host is left out.
func (d *dump) resource(owner string, r *index.Resource) {
	if !d.valid(owner, owner) {
		return
	}
	if host := r.OutsideHost(); host != "" {
		d.rrs = append(d.rrs, &dns.CNAME{Hdr: d.header(owner, dns.TypeCNAME), Target: host})
		return
	}
	if r.Addr.IsValid() {
		d.rrs = append(d.rrs, addrRR(owner, r.Addr, d.ttl))
		if r.Port != 0 {
			d.rrs = append(d.rrs, &dns.SRV{Hdr: d.header(owner, dns.TypeSRV), Port: r.Port, Weight: weightUnit, Target: owner})
		}
		return
	}
	match := d.s.MatchResource(r, index.Stranger())
	d.addresses(owner, match.Endpoints)
	d.ports(owner, &match, "")
}

// reverse writes the addresses that are in a reverse zone.
func (d *dump) reverse() {
	for ip := range d.s.Addresses() {
		owner, err := dns.ReverseAddr(ip.String())
		if err != nil || !within(owner, d.of.name) {
			continue
		}
		d.rrs = append(d.rrs, pointers(d.s.Reverse(ip), d.header(owner, dns.TypePTR), d.base)...)
		d.flush()
	}
}
