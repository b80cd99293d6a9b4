package rack

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
)

const (
	// onStack is how many of anything are kept on the stack, which is small:
	// the instances of most services.
	onStack = 4
	// few is how many are quicker to look through than to index.
	few = 16
)

// addEndpoints adds one record for each address of the type that was asked for,
// as many as the asker can take, and as are wanted in a reply. If that isn't all,
// the same client gets the same.
func (q *query) addEndpoints(match *index.Match) {
	endpoints := match.Endpoints
	v6 := q.question.Qtype == dns.TypeAAAA
	var buf [onStack]candidate
	order := candidates(buf[:0], endpoints, v6)
	if len(order) == 0 {
		return
	}
	size := sizeA
	if v6 {
		size = sizeAAAA
	}
	n := min(len(order), q.mostAnswers(match.Answers))
	if fit := max(q.room()/size, 1); fit < n {
		n = fit
		q.leftOut()
	}
	if n < len(order) {
		order = choose(order, n, q.clientHash())
	}
	shuffle(order, n)
	// One array for all records, and a place for the server's OPT record.
	rrs := make([]dns.RR, n+1)
	q.reply.Answer, q.reply.Extra = rrs[:n:n], rrs[n:n:n+1]
	if v6 {
		all := make([]dns.AAAA, n)
		for i := range all {
			rr := &all[i]
			q.fill(&rr.Hdr, dns.TypeAAAA, q.question.Name)
			rr.AAAA = address(&endpoints[order[i].at], v6)
			rrs[i] = rr
		}
		return
	}
	all := make([]dns.A, n)
	for i := range all {
		rr := &all[i]
		q.fill(&rr.Hdr, dns.TypeA, q.question.Name)
		rr.A = address(&endpoints[order[i].at], v6)
		rrs[i] = rr
	}
}

// fill is header in place, without a copy.
func (q *query) fill(h *dns.RR_Header, rrtype uint16, owner string) {
	h.Name, h.Rrtype, h.Class, h.Ttl = owner, rrtype, dns.ClassINET, q.rack.ttl
}

// address returns the address of one family that an endpoint is told by, nil if
// it has none.
func address(e *index.Endpoint, v6 bool) []byte {
	return e.Told(v6)
}

// candidates appends the addresses of one family to order, with their hashes as
// keys. Several instances behind one address of a node are one candidate with the
// weight of all: an RRset has no duplicates (RFC 2181, section 5).
func candidates(order []candidate, endpoints []index.Endpoint, v6 bool) []candidate {
	var seen addressSet
	if len(endpoints) > cap(order) {
		order = make([]candidate, 0, len(endpoints))
	}
	if len(endpoints) > few {
		seen = newAddressSet(len(endpoints))
	}
	for n := range endpoints {
		e := &endpoints[n]
		ip := address(e, v6)
		if ip == nil {
			continue
		}
		same := func(at int32) bool { return bytes.Equal(address(&endpoints[order[at].at], v6), ip) }
		if at := seen.find(ip, len(order), same); at < len(order) {
			order[at].weight += uint32(e.Weight())
			order[at].priority = min(order[at].priority, e.Priority())
			continue
		}
		order = append(order, candidate{key: addressHash(ip), at: int32(n), weight: uint32(e.Weight()), priority: e.Priority()})
	}
	return order
}

// mostAnswers is how many addresses a reply has at most: what the Corefile says,
// or the service, whichever is less; 0 is no limit.
func (q *query) mostAnswers(ofService int) int {
	most := q.rack.answers
	if ofService > 0 && (most == 0 || ofService < most) {
		most = ofService
	}
	if most == 0 {
		return math.MaxInt
	}
	return most
}

// clientHash tells the client from others, by its address.
func (q *query) clientHash() uint64 {
	ip := RemoteIP(q.w).As16()
	return mix(binary.BigEndian.Uint64(ip[:8])) ^ mix(binary.BigEndian.Uint64(ip[8:])+0x9e3779b97f4a7c15)
}

// addressHash tells addresses apart.
func addressHash(ip []byte) uint64 {
	if len(ip) > 8 {
		return binary.BigEndian.Uint64(ip) ^ binary.BigEndian.Uint64(ip[8:])
	}
	return uint64(binary.BigEndian.Uint32(ip[len(ip)-4:]))
}

// addressSet finds addresses among many: a hash table of their numbers, from 1
// on, which takes a tenth of the time of a map. Without a table it looks at
// each.
type addressSet struct {
	slots []int32
	shift int
}

func newAddressSet(n int) addressSet {
	size := bits.Len(uint(n)) + 1
	return addressSet{slots: make([]int32, 1<<size), shift: 64 - size}
}

// find returns the number of the address that is the same as ip. If there is
// none, ip gets the number next.
func (s *addressSet) find(ip []byte, next int, same func(int32) bool) int {
	if s.slots == nil {
		for at := range next {
			if same(int32(at)) {
				return at
			}
		}
		return next
	}
	h := addressHash(ip)
	// Fibonacci hashing (Knuth, volume 3, section 6.4).
	at := int(h * 0x9e3779b97f4a7c15 >> s.shift)
	for ; s.slots[at] != 0; at = (at + 1) & (len(s.slots) - 1) {
		if n := s.slots[at] - 1; same(n) {
			return int(n)
		}
	}
	s.slots[at] = int32(next + 1)
	return next
}
