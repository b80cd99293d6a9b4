package agent

import (
	"net/netip"
	"slices"

	"github.com/rackdns/rackdns/internal/registry"
)

// asClient returns a container that has no name as one that asks: what it is on,
// and whose it is as far as its labels tell. It is nil for one that shares the
// node's network, or that nobody can know by an address.
func asClient(f *facts, h home) *registry.Instance {
	if f.joinProblem() != "" || f.owner().mode == modeHost {
		return nil
	}
	// Its own labels choose what others reach it by, and not what it reaches.
	d := &decision{facts: f.unlabelled(), home: h}
	i := &registry.Instance{
		ID: shortID(f.id), Node: h.node, Hidden: true, Host: h.addr,
		Status: f.status, Started: f.started, Image: clean(f.image, maxText),
		Ports: []registry.Port{}, Networks: d.networks(), Weight: registry.DefaultWeight,
	}
	i.AsksFrom, i.NetworkOf = f.asksFrom(i.Networks), f.networkOf()
	if len(i.Networks) == 0 && len(i.AsksFrom) == 0 {
		return nil
	}
	named := *i
	if d := (&decision{facts: f, home: h}); !f.imageGone && d.identify(&named) && named.Check() == nil {
		return &named
	}
	// An app is enough for bare names, and it may have none of its service.
	named = *i
	if d := (&decision{facts: f, home: h}); !f.imageGone && d.identifyApp(&named) && named.Check() == nil {
		return &named
	}
	if i.Check() != nil {
		return nil
	}
	return i
}

// unlabelled returns the facts without labels.
func (f *facts) unlabelled() *facts {
	bare := *f
	bare.labels = nil
	return &bare
}

// asksFrom are the addresses that the container has besides those on networks.
func (f *facts) asksFrom(networks []registry.Network) []netip.Addr {
	var all []netip.Addr
	add := func(a netip.Addr) {
		known := slices.ContainsFunc(networks, func(n registry.Network) bool { return n.IPv4 == a || n.IPv6 == a })
		if a = usable(a); a.IsValid() && !known {
			all = append(all, a)
		}
	}
	owner := f.owner()
	add(owner.gateway)
	for _, a := range owner.attachments {
		add(a.ipv4)
		add(a.ipv6)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// networkOf is the ID of the container whose network namespace this one is in,
// empty if that is its own.
func (f *facts) networkOf() string {
	if o := f.owner(); o != f {
		return shortID(o.id)
	}
	return ""
}
