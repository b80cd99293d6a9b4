package rack

import (
	"context"
	"net/netip"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// labelNS is the name of this server, relative to the zone.
const labelNS = "ns.dns"

// query is one question on its way to an answer. It holds the reply, so that
// both are one allocation, and none of it is on the stack: CoreDNS runs each
// query on a new and small one, and to let that grow costs more than to answer.
type query struct {
	rack *Rack
	w    dns.ResponseWriter
	req  *dns.Msg
	// question is the reply's.
	question *dns.Question
	// name is the question's in lower case; relative is the name that it
	// stands for, relative to the rack's zone.
	name, relative string
	// zone is whose SOA record a negative answer has, base the zone in which
	// the names in an answer are.
	zone     *zone
	base     string
	snapshot *index.Snapshot
	asker    index.Asker
	// subnet is the client's, as a forwarder told it; nil if none did.
	subnet *dns.EDNS0_SUBNET
	kind   kind
	// cut says that the reply lacks records, since the asker can't take them.
	cut   bool
	reply dns.Msg
	asked [1]dns.Question
}

// fold makes the name one as it is registered: who typed order_db means order-db.
func (q *query) fold() {
	if folded := registry.FoldName(q.relative); folded != q.relative {
		q.name, q.relative = folded+"."+q.zone.name, folded
	}
}

// begin makes an empty authoritative answer.
func (q *query) begin() {
	r := &q.reply
	r.Id = q.req.Id
	r.Response = true
	r.Authoritative = true
	r.RecursionDesired = q.req.RecursionDesired
	r.CheckingDisabled = q.req.CheckingDisabled
	// Names repeat, so it pays; the server undoes it where it isn't needed.
	r.Compress = true
	q.asked[0] = q.req.Question[0]
	r.Question, q.question = q.asked[:], &q.asked[0]
}

// answer makes the reply. It returns a code other than success if there is
// nothing to be written.
func (q *query) answer(ctx context.Context) int {
	q.begin()
	if !q.zone.forward {
		q.answerReverse()
		return dns.RcodeSuccess
	}
	switch q.relative {
	case "":
		q.kind = kindApex
		q.answerApex()
	case "dns":
		q.kind = kindApex
		q.finish()
	case labelNS:
		q.kind = kindApex
		q.addAddrs(q.rack.ownAddrs(q.snapshot))
		q.finish()
	default:
		return q.answerMatch(ctx, q.snapshot.Lookup(q.relative, q.asker))
	}
	return dns.RcodeSuccess
}

// answerMatch answers with what a name stands for.
func (q *query) answerMatch(ctx context.Context, match index.Match) int {
	q.kind = kinds[match.Kind]
	qtype := q.question.Qtype
	switch match.Kind {
	case index.None:
		q.negative(dns.RcodeNameError)
		return dns.RcodeSuccess
	case index.Empty:
	case index.AService, index.AnInstance:
		switch qtype {
		case dns.TypeA, dns.TypeAAAA:
			q.addEndpoints(&match)
		case dns.TypeSRV:
			q.addServices(&match)
		}
	case index.Ports:
		if qtype == dns.TypeSRV {
			q.addServices(&match)
		}
	case index.Target:
		return q.answerResource(ctx, &match)
	}
	q.finish()
	return dns.RcodeSuccess
}

// answerApex answers for a zone's own name.
func (q *query) answerApex() {
	switch q.question.Qtype {
	case dns.TypeSOA:
		q.reply.Answer = []dns.RR{q.soa()}
		q.reply.Answer[0].Header().Name = q.question.Name
	case dns.TypeNS:
		q.reply.Answer = []dns.RR{&dns.NS{Hdr: q.header(dns.TypeNS), Ns: q.zone.ns}}
		for _, ip := range q.rack.ownAddrs(q.snapshot) {
			q.reply.Extra = append(q.reply.Extra, addrRR(q.zone.ns, ip, q.rack.ttl))
		}
	}
	q.finish()
}

// finish makes the reply a minimal answer to ANY (RFC 8482), or a negative one
// if there is nothing of the type that was asked for.
func (q *query) finish() {
	if len(q.reply.Answer) > 0 {
		return
	}
	if q.question.Qtype == dns.TypeANY {
		q.reply.Answer = []dns.RR{&dns.HINFO{Hdr: q.header(dns.TypeHINFO), Cpu: "RFC8482"}}
		return
	}
	q.negative(dns.RcodeSuccess)
}

// negative makes the reply one without an answer: NXDOMAIN, or NODATA for a
// name that exists (RFC 2308).
func (q *query) negative(rcode int) {
	q.reply.Rcode = rcode
	rrs := [...]dns.RR{q.soa(), nil}
	// The server puts an OPT record beside it.
	q.reply.Ns, q.reply.Extra = rrs[:1:1], rrs[1:1:2]
}

// leftOut notes that not all records fit. The reply says so only if the asker can
// do something about that, which is to ask again over TCP: who does and finds TC
// there, too, may give up, as unbound does.
func (q *query) leftOut() {
	q.cut = true
	state := q.state()
	q.reply.Truncated = state.Proto() == "udp"
}

// unknown reports whether the reply denies that its name exists.
func (q *query) unknown() bool { return q.kind == kindUnknown && q.reply.Rcode == dns.RcodeNameError }

// write sends the reply, unless code says that there is none.
func (q *query) write(code int) (int, error) {
	q.rack.counters.count(q, code)
	if code != dns.RcodeSuccess {
		return code, nil
	}
	if q.subnet != nil {
		q.tellScope()
	}
	// What was written is not for us to report as a failure.
	_ = q.w.WriteMsg(&q.reply)
	return dns.RcodeSuccess, nil
}

func (q *query) header(rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.question.Name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: q.rack.ttl}
}

func (q *query) soa() *dns.SOA { return q.rack.soa(q.zone, q.snapshot) }

// soa returns a zone's SOA record. Its serial is the revision of the last
// change that DNS shows, so it is the same on every replica.
func (r *Rack) soa(z *zone, s *index.Snapshot) *dns.SOA {
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: z.name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: r.ttl},
		Ns:      z.ns,
		Mbox:    z.mbox,
		Serial:  serialOf(s),
		Refresh: r.refresh(),
		Retry:   (r.refresh() + 1) / 2,
		Expire:  r.expire(),
		Minttl:  r.ttl,
	}
}

// The times of a zone's secondaries, in seconds.
const (
	// leastRefresh is how often a secondary looks for changes at most.
	leastRefresh = 5
	// usualExpire is for how long one that can't reach us goes on.
	usualExpire = 86400
)

// refresh is how often secondaries look for changes that they weren't notified of:
// as often as others ask again.
func (r *Rack) refresh() uint32 { return max(r.ttl, leastRefresh) }

// expire is how old the answers of a secondary may get, which is how old ours may,
// if there is a limit to that. It is more than refresh and retry together (RFC
// 1912, section 2.2).
func (r *Rack) expire() uint32 {
	if r.maxStale == 0 {
		return usualExpire
	}
	return uint32(max(r.maxStale.Seconds(), float64(2*r.refresh())))
}

// state is the question in the form that CoreDNS's own packages want.
func (q *query) state() request.Request { return request.Request{W: q.w, Req: q.req} }

// addAddrs adds records of the type that was asked for.
func (q *query) addAddrs(ips []netip.Addr) {
	for _, ip := range ips {
		rr := addrRR(q.question.Name, ip, q.rack.ttl)
		if rr.Header().Rrtype == q.question.Qtype {
			q.reply.Answer = append(q.reply.Answer, rr)
		}
	}
}

func addrRR(name string, ip netip.Addr, ttl uint32) dns.RR {
	h := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: ttl}
	if ip.Is4() {
		h.Rrtype = dns.TypeA
		return &dns.A{Hdr: h, A: ip.AsSlice()}
	}
	h.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: h, AAAA: ip.AsSlice()}
}
