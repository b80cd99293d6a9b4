package rack

import (
	"context"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
)

const (
	// maxChain is how many names may lead from one to the next. More is taken
	// for a loop.
	maxChain = 8
	// upstreamTimeout is how long an asker waits for others' answers. A stub
	// resolver gives up after five seconds.
	upstreamTimeout = 2 * time.Second
)

// answerResource answers for the name of a resource: with what backs it, its
// address, or a CNAME where it is an outside host.
func (q *query) answerResource(ctx context.Context, match *index.Match) int {
	r, qtype := match.Resource, q.question.Qtype
	address := qtype == dns.TypeA || qtype == dns.TypeAAAA
	outside := r.OutsideHost()
	switch {
	case r.Backed && address:
		q.addEndpoints(match)
	case r.Backed && qtype == dns.TypeSRV:
		q.addServices(match)
	case r.Addr.IsValid() && address:
		if rr := addrRR(q.question.Name, r.Addr, q.rack.ttl); rr.Header().Rrtype == qtype {
			q.reply.Answer = []dns.RR{rr}
		}
	case r.Addr.IsValid() && qtype == dns.TypeSRV && r.Port != 0:
		// Also where the question is for a short name.
		target := q.fullName()
		q.addServer(r.Port, target)
		q.reply.Extra = []dns.RR{addrRR(target, r.Addr, q.rack.ttl)}
	case outside == "" || qtype == dns.TypeANY:
	case qtype == dns.TypeSRV && r.Port != 0:
		// The port is only known here, so this one type has its own record
		// beside the CNAME of all others.
		q.addServer(r.Port, outside)
	default:
		return q.follow(ctx, outside)
	}
	q.finish()
	return dns.RcodeSuccess
}

func (q *query) addServer(port uint16, target string) {
	q.reply.Answer = []dns.RR{&dns.SRV{Hdr: q.header(dns.TypeSRV), Port: port, Weight: weightUnit, Target: target}}
}

// follow answers with a CNAME and with what the whole server knows of its
// target. It returns SERVFAIL if that can't be found out now.
func (q *query) follow(ctx context.Context, target string) int {
	q.reply.Answer = []dns.RR{&dns.CNAME{Hdr: q.header(dns.TypeCNAME), Target: target}}
	if q.question.Qtype == dns.TypeCNAME {
		return dns.RcodeSuccess
	}
	links, _ := ctx.Value(dnsserver.LoopKey{}).(int)
	if links >= maxChain || target == q.name {
		upstreamFailures.WithLabelValues(q.rack.index.Rack(), "loop").Inc()
		return dns.RcodeServerFailure
	}
	ctx = context.WithValue(ctx, ownLookup{}, true)
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, dnsserver.LoopKey{}, links+1), upstreamTimeout)
	defer cancel()
	found, err := q.rack.upstream.Lookup(ctx, q.state(), target, q.question.Qtype)
	switch {
	case err != nil || found == nil || found.Rcode == dns.RcodeRefused:
		// Nobody here knows of other names. Whoever asks such a server can
		// find out by itself.
		return dns.RcodeSuccess
	case found.Rcode == dns.RcodeSuccess, found.Rcode == dns.RcodeNameError:
		// The code is about the last name of the chain (RFC 6604).
		q.reply.Rcode = found.Rcode
		q.reply.Answer = append(q.reply.Answer, found.Answer...)
		q.reply.Ns = append(q.reply.Ns, found.Ns...)
		return dns.RcodeSuccess
	}
	upstreamFailures.WithLabelValues(q.rack.index.Rack(), "upstream").Inc()
	return dns.RcodeServerFailure
}

// ownLookup marks the context of a lookup that is rack's own.
type ownLookup struct{}

// OwnLookup reports whether a question is rack's own, for the address of an
// outside host that a resource of the rack stands for. Everybody is told that,
// since it is not the asker who chooses the host.
func OwnLookup(ctx context.Context) bool {
	own, _ := ctx.Value(ownLookup{}).(bool)
	return own
}
