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
	// first says that it is the endpoint's first.
	first bool
}

// addServices adds an SRV record for each instance and port, with a target of
// its own for each instance: a target that instances share would multiply their
// ports by their addresses. The targets' addresses go beside them.
//
// What doesn't fit is left out: glue first, since the asker can ask for it, then
// records, the same ones for the same client.
func (q *query) addServices(match *index.Match) {
	var (
		orderBuf [onStack]candidate
		picksBuf [onStack]pick
	)
	order, picks, room := orderBuf[:0], picksBuf[:0], q.room()
	if n := len(match.Endpoints); n > onStack {
		order = make([]candidate, 0, n)
		picks = make([]pick, 0, min(n, room/sizeSRV+1))
	}
	suffix := q.targetSuffix(match)
	size, left := 0, false
	for n := range match.Endpoints {
		e, begin := &match.Endpoints[n], len(picks)
		if picks, left = q.pickPorts(picks, match, int32(n), suffix, &size, room); left {
			q.leftOut()
			order, picks = q.choosePicks(order[:0], picks[:0], match, suffix, room)
			break
		}
		if len(picks) > begin {
			order = append(order, candidate{at: int32(begin), weight: uint32(e.Weight()), priority: e.Priority()})
		}
	}
	if len(picks) == 0 {
		return
	}
	shuffle(order, len(order))
	glue := 0
	if !left && !q.unwantedGlue() {
		glue = room - size
	}
	q.addPicks(picks, order, match, suffix, glue)
}

// choosePicks picks those records that the client gets of more than fit. It
// returns them, and the endpoints that they are of, each by the place of its
// first record.
func (q *query) choosePicks(order []candidate, picks []pick, match *index.Match, suffix string, room int) ([]candidate, []pick) {
	for n := range match.Endpoints {
		if e := &match.Endpoints[n]; match.WantsAny(e) {
			order = append(order, candidate{at: int32(n), weight: uint32(e.Weight()), priority: e.Priority(), key: e.Hash()})
		}
	}
	order = choose(order, room/sizeSRV+1, q.clientHash())
	slices.SortFunc(order, byKey)
	chosen, size, left := order[:0], 0, false
	for _, c := range order {
		begin := len(picks)
		picks, left = q.pickPorts(picks, match, c.at, suffix, &size, room)
		if len(picks) > begin {
			c.at = int32(begin)
			chosen = append(chosen, c)
		}
		if left {
			break
		}
	}
	return chosen, picks
}

// pickPorts appends the records of one endpoint while there is room, and reports
// whether one had to be left out.
func (q *query) pickPorts(picks []pick, match *index.Match, at int32, suffix string, size *int, room int) (_ []pick, left bool) {
	e := &match.Endpoints[at]
	target := targetLen(e, suffix, q.base)
	begin := len(picks)
	ports := e.Ports()
	for n := range ports {
		number := e.Number(&ports[n])
		if number == 0 || !match.Wants(&ports[n]) || has(picks[begin:], number) {
			continue
		}
		if target > longest {
			q.omit(e, suffix)
			break
		}
		if *size+sizeSRV+target+1 > room && len(picks) > 0 {
			return picks, true
		}
		*size += sizeSRV + target + 1
		picks = append(picks, pick{at: at, number: number, first: len(picks) == begin})
	}
	return picks, false
}

// omit notes that an endpoint's name is none.
func (q *query) omit(e *index.Endpoint, suffix string) {
	q.rack.omit(q.question.Name, writeTarget(new(strings.Builder), e, suffix, q.base))
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

// addPicks makes the records in the order of their endpoints, with as many
// addresses as fit in glue octets.
func (q *query) addPicks(picks []pick, order []candidate, match *index.Match, suffix string, glue int) {
	n, length, v4, v6 := len(picks), 0, 0, 0
	at := q.start()
	for _, c := range order {
		e := &match.Endpoints[picks[c.at].at]
		target := targetLen(e, suffix, q.base)
		length += target
		if glue -= q.glueSize(e, suffix, target, at); glue >= 0 {
			v4 += btoi(e.V4() != nil)
			v6 += btoi(e.V6() != nil)
		}
		for i := c.at; i == c.at || int(i) < n && !picks[i].first; i++ {
			at += sizeSRV + target + 1
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
	next := 0
	for _, c := range order {
		e := &match.Endpoints[picks[c.at].at]
		target := writeTarget(&names, e, suffix, q.base)
		for i := c.at; i == c.at || int(i) < n && !picks[i].first; i++ {
			rr := &srvs[next]
			q.fill(&rr.Hdr, dns.TypeSRV, q.question.Name)
			rr.Priority, rr.Weight, rr.Port, rr.Target = e.Priority(), wireWeight(e), picks[i].number, target
			rrs[next] = rr
			next++
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

// weightUnit is how much of an SRV record's weight one of a label's is: who scales
// weights, as HAProxy does to 256 steps, would make one of all small numbers.
const weightUnit = 256

// wireWeight is the weight of an endpoint in SRV records.
func wireWeight(e *index.Endpoint) uint16 { return e.Weight() * weightUnit }

// glueSize is what the addresses of an endpoint take, whose first SRV record is
// at an octet of the reply and whose name has target octets.
func (q *query) glueSize(e *index.Endpoint, suffix string, target, at int) int {
	name := sizePointer
	if at+sizeSRV >= farthest {
		// The target can't be pointed at, but what follows its ID can.
		name += 1 + len(e.ID()) + int(labelLen(e))
		if suffix == "" {
			name = target + 1
		}
	}
	size := 0
	if e.V4() != nil {
		size += name + sizeRecord + 4
	}
	if e.V6() != nil {
		size += name + sizeRecord + 16
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

// fullName is the name that the question is for, in the rack's zone.
func (q *query) fullName() string {
	if strings.HasSuffix(q.name, q.base) && len(q.name) == len(q.relative)+1+len(q.base) {
		return q.name
	}
	return q.relative + "." + q.base
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
