package rack

import (
	"context"
	"strings"

	"github.com/miekg/dns"
)

// Alias says that a question's name, which is in no zone of ours, stands for
// one that is.
type Alias struct {
	// Zone is whose SOA record a negative answer has: the question's name or
	// a name above it.
	Zone string
	// Name is what the question's name stands for, in lower case, relative to
	// the rack's zone and without a dot at its end: "web.shop".
	Name string
}

// Unsynced answers a question that can't be answered before the registry was
// read, or after it was out of reach for too long.
func (r *Rack) Unsynced() (int, error) {
	r.counters.unsynced.Inc()
	return dns.RcodeServerFailure, nil
}

// ServeAlias answers a question as if it were for what its name stands for.
// Names in the answer are in the rack's own zone.
func (r *Rack) ServeAlias(ctx context.Context, w dns.ResponseWriter, req *dns.Msg, alias Alias) (int, error) {
	snapshot := r.Snapshot()
	if snapshot == nil {
		return r.Unsynced()
	}
	q := &query{
		rack: r, w: w, req: req,
		name: strings.ToLower(req.Question[0].Name), relative: alias.Name,
		zone: &zone{name: alias.Zone, forward: true, ns: r.zoneOf(r.base).ns, mbox: r.zoneOf(r.base).mbox},
		base: r.base, snapshot: snapshot,
	}
	var ok bool
	if q.asker, q.subnet, ok = r.clientOf(snapshot, w, req); !ok {
		return dns.RcodeFormatError, nil
	}
	q.begin()
	return q.write(q.answerMatch(ctx, snapshot.Lookup(q.relative, q.asker)))
}

// zoneOf returns the zone of that name, nil if there is none.
func (r *Rack) zoneOf(name string) *zone {
	for n := range r.zones {
		if r.zones[n].name == name {
			return &r.zones[n]
		}
	}
	return nil
}
