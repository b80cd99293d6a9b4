package rack

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
)

// pick is one SRV record to be: an endpoint, by its place, and its port.
type pick struct {
	at     int32
	number uint16
	// first says that it is the endpoint's first, glue how many octets an
	// address of it takes besides the address.
	first bool
	glue  uint16
}

// addServices adds an SRV record for each instance and port, with a target of
// its own for each instance: a target that instances share would multiply their
// ports by their addresses. The targets' addresses go beside them.
//
// What doesn't fit is left out: glue first, since the asker can ask for it,
// then records, and only then does the reply say that something is missing.
func (q *query) addServices(match *index.Match) {
	var (
		orderBuf [onStack]candidate
		picksBuf [onStack]pick
	)
	order := orderBuf[:0]
	if len(match.Endpoints) > len(orderBuf) {
		order = make([]candidate, 0, len(match.Endpoints))
	}
	for n := range match.Endpoints {
		e := &match.Endpoints[n]
		order = append(order, candidate{at: int32(n), weight: uint32(e.Weight()), priority: e.Priority()})
	}
	suffix := q.targetSuffix(match)
	size, room := 0, q.room()
	// More than this many can't fit, so the rest needs no order.
	shuffle(order, room/sizeSRV+1)
	picks := picksBuf[:0]
	if len(order) > len(picksBuf) {
		picks = make([]pick, 0, len(order))
	}
	for _, c := range order {
		all, left := q.pickPorts(picks, match, c.at, suffix, &size, room)
		picks = all
		if left {
			q.reply.Truncated = true
			break
		}
	}
	if len(picks) == 0 {
		return
	}
	glue := 0
	if !q.reply.Truncated && !q.unwantedGlue() {
		glue = room - size
	}
	q.addPicks(picks, match, suffix, glue)
}

// pickPorts appends the records of one endpoint while there is room, and
// reports whether one had to be left out.
func (q *query) pickPorts(picks []pick, match *index.Match, at int32, suffix string, size *int, room int) (_ []pick, left bool) {
	e := &match.Endpoints[at]
	target := targetLen(e, suffix, q.base)
	if target > longest {
		return picks, false
	}
	begin := len(picks)
	ports := e.Ports()
	for n := range ports {
		number := e.Number(&ports[n])
		if number == 0 || !match.Wants(&ports[n]) || has(picks[begin:], number) {
			continue
		}
		p := pick{at: at, number: number, first: len(picks) == begin}
		if picks, left = q.pickPort(picks, e, p, target, suffix, size, room); left {
			break
		}
	}
	return picks, left
}

// pickPort is pickPorts for one port. The endpoint's name has target octets.
func (q *query) pickPort(picks []pick, e *index.Endpoint, p pick, target int, suffix string, size *int, room int) (_ []pick, left bool) {
	if *size+sizeSRV+target+1 > room && len(picks) > 0 {
		return picks, true
	}
	p.glue = sizePointer + sizeRecord
	if q.start()+*size+sizeSRV >= farthest {
		// The target can't be pointed at, but what follows its ID can.
		p.glue += 1 + uint16(len(e.ID())) + labelLen(e)
		if suffix == "" {
			p.glue = sizeRecord + uint16(target) + 1
		}
	}
	*size += sizeSRV + target + 1
	return append(picks, p), false
}

// has reports whether the endpoint has a record with the number already: TCP
// and UDP have the same, and an RRset has no duplicates.
func has(picks []pick, number uint16) bool {
	return slices.ContainsFunc(picks, func(p pick) bool { return p.number == number })
}

// unwantedGlue reports whether each address would have to be signed.
func (q *query) unwantedGlue() bool {
	if !q.rack.signed {
		return false
	}
	state := q.state()
	return state.Do()
}

// addPicks makes the records, with as many addresses as fit in glue octets.
func (q *query) addPicks(picks []pick, match *index.Match, suffix string, glue int) {
	n, length, v4, v6 := len(picks), 0, 0, 0
	for _, p := range picks {
		if !p.first {
			continue
		}
		e := &match.Endpoints[p.at]
		length += targetLen(e, suffix, q.base)
		if glue -= glueSize(e, p); glue >= 0 {
			v4 += btoi(e.V4() != nil)
			v6 += btoi(e.V6() != nil)
		}
	}
	// One array for all of a kind, and a place for the server's OPT record.
	var (
		srvs  = make([]dns.SRV, n)
		as    = make([]dns.A, 0, v4)
		aaaas = make([]dns.AAAA, 0, v6)
		rrs   = make([]dns.RR, n, n+v4+v6+1)
		names strings.Builder
	)
	names.Grow(length)
	target := ""
	for i, p := range picks {
		e := &match.Endpoints[p.at]
		if p.first {
			target = writeTarget(&names, e, suffix, q.base)
		}
		rr := &srvs[i]
		q.fill(&rr.Hdr, dns.TypeSRV, q.question.Name)
		rr.Priority, rr.Weight, rr.Port, rr.Target = e.Priority(), e.Weight(), p.number, target
		rrs[i] = rr
		if !p.first {
			continue
		}
		if ip := e.V4(); ip != nil && len(as) < v4 {
			as = as[:len(as)+1]
			rr := &as[len(as)-1]
			q.fill(&rr.Hdr, dns.TypeA, target)
			rr.A = ip
			rrs = append(rrs, rr)
		}
		if ip := e.V6(); ip != nil && len(aaaas) < v6 {
			aaaas = aaaas[:len(aaaas)+1]
			rr := &aaaas[len(aaaas)-1]
			q.fill(&rr.Hdr, dns.TypeAAAA, target)
			rr.AAAA = ip
			rrs = append(rrs, rr)
		}
	}
	q.reply.Answer, q.reply.Extra = rrs[:n:n], rrs[n:]
}

// glueSize is what the addresses of an endpoint take.
func glueSize(e *index.Endpoint, p pick) int {
	size := 0
	if e.V4() != nil {
		size += int(p.glue) + 4
	}
	if e.V6() != nil {
		size += int(p.glue) + 16
	}
	return size
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// targetSuffix is what follows the ID in the names of a service's instances,
// in the spelling that the question had: by the app's name or its namespace.
// It is empty if the instances are of several services.
func (q *query) targetSuffix(match *index.Match) string {
	if match.Service != nil && match.Service.IsAlias() {
		return ""
	}
	labels := 0
	switch match.Kind {
	case index.Target:
		return ""
	case index.AnInstance:
		labels = 1
		if len(match.Endpoints) > 0 && match.Endpoints[0].Label() != "" {
			labels = 2
		}
	case index.Ports:
		labels = 2
	}
	name, service := q.name, q.relative
	for range labels {
		_, name, _ = strings.Cut(name, ".")
		_, service, _ = strings.Cut(service, ".")
	}
	if strings.HasSuffix(name, q.base) && len(name) == len(service)+1+len(q.base) {
		return name
	}
	return service + "." + q.base
}

func targetLen(e *index.Endpoint, suffix, base string) int {
	if suffix == "" {
		return int(labelLen(e)) + len(e.ID()) + len(e.Service()) + len(e.App()) + len(base) + 3
	}
	return int(labelLen(e)) + len(e.ID()) + 1 + len(suffix)
}

// labelLen is what an endpoint's label takes, with its dot.
func labelLen(e *index.Endpoint) uint16 {
	if e.Label() == "" {
		return 0
	}
	return uint16(len(e.Label())) + 1
}

// writeTarget writes the instance's name and returns it.
func writeTarget(b *strings.Builder, e *index.Endpoint, suffix, base string) string {
	begin := b.Len()
	if e.Label() != "" {
		b.WriteString(e.Label())
		b.WriteByte('.')
	}
	b.WriteString(e.ID())
	b.WriteByte('.')
	if suffix == "" {
		b.WriteString(e.Service())
		b.WriteByte('.')
		b.WriteString(e.App())
		b.WriteByte('.')
		suffix = base
	}
	b.WriteString(suffix)
	return b.String()[begin:]
}
