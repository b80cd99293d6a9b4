// Package rack is the CoreDNS plugin that answers for a rack's zone,
// <rack>.<suffix>, and for reverse zones, from an index in memory. No query
// waits for etcd or Docker.
package rack

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/pkg/upstream"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
)

const name = "rack"

var _ plugin.Handler = (*Rack)(nil)

// Rack answers for the zones of one rack.
type Rack struct {
	Next plugin.Handler

	// zones are all zones of ours, the longest first; base is the forward
	// zone by which names are told where a question doesn't say which.
	zones   []zone
	base    string
	config  index.Config
	index   *index.Index
	release func() error

	ttl uint32
	// answers is how many addresses a reply has at most, 0 if there is no limit.
	answers int
	// maxStale is how old the picture may be while the registry is out of
	// reach; 0 is as old as it gets.
	maxStale time.Duration
	fall     fall.F
	upstream *upstream.Upstream
	// nsAddrs are the addresses at which this server is asked, if they are
	// known from the configuration, ifAddrs those of the host.
	nsAddrs, ifAddrs []netip.Addr
	// signed says that the dnssec plugin signs what we answer.
	signed   bool
	counters counters
	notifier *notifier
	clients  *clients
}

// zone is a zone of ours with the names in its SOA record.
type zone struct {
	name     string
	forward  bool
	ns, mbox string
}

// Name implements plugin.Handler.
func (r *Rack) Name() string { return name }

// CacheBypassZones keeps the cache plugin off our zones: it would hold on to
// one order of the answers, and to instances that are gone.
func (r *Rack) CacheBypassZones() []string {
	names := make([]string, len(r.zones))
	for n := range r.zones {
		names[n] = r.zones[n].name
	}
	return names
}

// ServeDNS implements plugin.Handler.
func (r *Rack) ServeDNS(ctx context.Context, w dns.ResponseWriter, req *dns.Msg) (int, error) {
	if len(req.Question) != 1 {
		return dns.RcodeFormatError, nil
	}
	lower := strings.ToLower(req.Question[0].Name)
	z := r.match(lower)
	if z == nil {
		return r.pass(ctx, w, req, dns.RcodeRefused)
	}
	if req.Opcode != dns.OpcodeQuery {
		// A NOTIFY may be for the secondary plugin. It is no question.
		return r.pass(ctx, w, req, dns.RcodeNotImplemented)
	}
	// Before anything else: a name that is unknown only because nothing is
	// known yet must neither be denied nor leak to other servers.
	snapshot := r.Snapshot()
	if snapshot == nil {
		r.counters.unsynced.Inc()
		return dns.RcodeServerFailure, nil
	}
	if asked := &req.Question[0]; asked.Qtype == dns.TypeAXFR || asked.Qtype == dns.TypeIXFR || asked.Qclass != dns.ClassINET {
		return dns.RcodeRefused, nil
	}
	q := &query{
		rack: r, w: w, req: req,
		name: lower, relative: relative(lower, z.name), zone: z, base: r.base,
		snapshot: snapshot,
	}
	var ok bool
	if q.asker, q.subnet, ok = r.clientOf(snapshot, w, req); !ok {
		return dns.RcodeFormatError, nil
	}
	if z.forward {
		q.base = z.name
		q.fold()
	}
	code := q.answer(ctx)
	if q.unknown() && r.Next != nil && r.fall.Through(lower) {
		return plugin.NextOrFailure(name, r.Next, ctx, w, req)
	}
	return q.write(code)
}

// pass hands a query on that is none of ours; refusal is the code if there is
// nobody to hand it to.
func (r *Rack) pass(ctx context.Context, w dns.ResponseWriter, req *dns.Msg, refusal int) (int, error) {
	if r.Next == nil {
		return refusal, nil
	}
	return plugin.NextOrFailure(name, r.Next, ctx, w, req)
}

// Snapshot returns what to answer from, nil if nothing is known yet or what is
// known is too old: the answer to all questions is then SERVFAIL.
func (r *Rack) Snapshot() *index.Snapshot {
	if r.index == nil || r.isStale() {
		return nil
	}
	return r.index.Snapshot()
}

// isStale reports whether what is known is too old to be told.
func (r *Rack) isStale() bool { return r.maxStale > 0 && r.index.Age() > r.maxStale }

// match returns the zone that a name in lower case is in, nil if there is none.
func (r *Rack) match(name string) *zone {
	// A network in the Corefile can be a hundred zones.
	arpa := strings.HasSuffix(name, ".arpa.")
	for n := range r.zones {
		if !arpa && !r.zones[n].forward {
			continue
		}
		if within(name, r.zones[n].name) {
			return &r.zones[n]
		}
	}
	return nil
}

// Serves reports whether a name in lower case is in one of the zones.
func (r *Rack) Serves(name string) bool { return r.match(name) != nil }

// within reports whether a name is a zone's or below it. dns.IsSubDomain is
// the same and allocates.
func within(name, zone string) bool {
	if !strings.HasSuffix(name, zone) {
		return false
	}
	if strings.IndexByte(name, '\\') >= 0 {
		return dns.IsSubDomain(zone, name)
	}
	at := len(name) - len(zone)
	return at == 0 || name[at-1] == '.'
}

// RackName returns the name of the rack.
func (r *Rack) RackName() string { return r.config.Registry.Rack }

// RemoteIP returns the asker's address, invalid if the writer has none.
func RemoteIP(w dns.ResponseWriter) netip.Addr {
	var ap netip.AddrPort
	switch a := w.RemoteAddr().(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	case nil:
	default:
		// Other transports have addresses of their own kind.
		ap, _ = netip.ParseAddrPort(a.String()) // an invalid address is nobody's
	}
	return ap.Addr().Unmap().WithZone("")
}

// relative returns name without the zone and the dot before it.
func relative(name, zone string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, zone), ".")
}
