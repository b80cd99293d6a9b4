package rack

import (
	"net/netip"
	"strings"

	"github.com/coredns/coredns/plugin/pkg/dnsutil"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
)

// answerReverse answers for a reverse zone: PTR records to instances' names. A
// zone of one address, as CoreDNS makes many of a network such as 172.18.0.0/25,
// has them at its apex.
func (q *query) answerReverse() {
	q.kind = kindReverse
	if q.name == q.zone.name && q.question.Qtype != dns.TypePTR {
		q.kind = kindApex
		q.answerApex()
		return
	}
	ip, err := netip.ParseAddr(dnsutil.ExtractAddressFromReverse(q.name))
	if err != nil && isPartOfReverse(q.name) {
		q.finish()
		return
	}
	var instances []*index.Instance
	if err == nil {
		instances = q.snapshot.Reverse(ip)
	}
	if len(instances) == 0 && q.name == q.zone.name {
		q.finish()
		return
	}
	if len(instances) == 0 {
		q.kind = kindUnknown
		q.negative(dns.RcodeNameError)
		return
	}
	if q.question.Qtype == dns.TypePTR {
		q.reply.Answer = pointers(instances, q.header(dns.TypePTR), q.base)
	}
	q.finish()
}

// pointers returns a PTR record to each instance's name in the zone base.
func pointers(instances []*index.Instance, h dns.RR_Header, base string) []dns.RR {
	var rrs []dns.RR
	for _, i := range instances {
		if to := i.ID() + "." + i.Service() + "." + i.App() + "." + base; len(to) <= longest {
			rrs = append(rrs, &dns.PTR{Hdr: h, Ptr: to})
		}
	}
	return rrs
}

// isPartOfReverse reports whether there can be addresses below the name: they
// need not be there for it to be no error to ask (RFC 8020 the other way).
func isPartOfReverse(name string) bool {
	width, most := 3, 4
	rest, ok := strings.CutSuffix(name, ".in-addr.arpa.")
	if !ok {
		if rest, ok = strings.CutSuffix(name, ".ip6.arpa."); !ok {
			return false
		}
		width, most = 1, 32
	}
	labels := strings.Split(rest, ".")
	for _, l := range labels {
		if l == "" || len(l) > width || strings.Trim(l, "0123456789abcdef") != "" {
			return false
		}
	}
	return len(labels) < most
}
