package rack

import (
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
)

// Families of addresses in a client subnet option (RFC 7871, section 6).
const (
	familyNone = 0
	familyIPv4 = 1
	familyIPv6 = 2
)

// ParseForwarders reads networks such as 10.0.0.0/8, and addresses, which are
// networks of one.
func ParseForwarders(args []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, arg := range args {
		p, err := netip.ParsePrefix(arg)
		if ip, ipErr := netip.ParseAddr(arg); ipErr == nil && ip.Zone() == "" {
			p, err = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is neither a network such as 10.0.0.0/8 nor an address", arg)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// clientOf is [Rack.Client] with the option that said so, nil if none did. It returns
// false for an option that is none (RFC 7871, section 7.1.2).
func (r *Rack) clientOf(s *index.Snapshot, w dns.ResponseWriter, req *dns.Msg) (*index.Client, *dns.EDNS0_SUBNET, bool) {
	from := RemoteIP(w)
	if !s.IsForwarder(from) {
		return r.sender(s, from), nil, true
	}
	option := subnetOption(req)
	if option == nil {
		return index.Stranger(), nil, true
	}
	subnet, ok := subnetOf(option)
	if !ok {
		return index.Stranger(), nil, false
	}
	return s.Through(from, subnet), option, true
}

func subnetOption(req *dns.Msg) *dns.EDNS0_SUBNET {
	opt := req.IsEdns0()
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
			return subnet
		}
	}
	return nil
}

// subnetOf reads the option. One of no length says nothing of the client, on
// purpose.
func subnetOf(o *dns.EDNS0_SUBNET) (netip.Prefix, bool) {
	if o.SourceScope != 0 {
		return netip.Prefix{}, false
	}
	if o.Family == familyNone {
		return netip.Prefix{}, o.SourceNetmask == 0
	}
	ip, ok := netip.AddrFromSlice(o.Address)
	if !ok {
		return netip.Prefix{}, false
	}
	switch ip = ip.Unmap(); o.Family {
	case familyIPv4:
		ok = ip.Is4()
	case familyIPv6:
		ok = ip.Is6()
	default:
		ok = false
	}
	if !ok || int(o.SourceNetmask) > ip.BitLen() {
		return netip.Prefix{}, false
	}
	p := netip.PrefixFrom(ip, int(o.SourceNetmask))
	return p, p.Masked() == p
}

// tellScope says to whom the answer may be told: to that subnet, since any other
// may be told another thing.
func (q *query) tellScope() {
	told := *q.subnet
	told.SourceScope = told.SourceNetmask
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{&told}}
	q.reply.Extra = append(q.reply.Extra, opt)
}
