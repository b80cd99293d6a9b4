package index

import (
	"net/netip"
	"slices"
	"unsafe"

	"github.com/rackdns/rackdns/internal/registry"
)

// viaHost marks an endpoint on the node's address.
const viaHost = -1

// Endpoint is how one asker reaches an instance: by the node's address and its
// published ports, or by the container's own address on a network.
//
// What most answers need of it is here: the instances themselves are scattered
// over all of the memory, and each look at one waits for it.
type Endpoint struct {
	*Instance
	via      int16
	weight   uint8
	has      uint8
	v4       [4]byte
	priority uint16
	// number is that of the single port, 0 if there are none or several.
	number uint16
	id     [idLength]byte
}

// Bits of Endpoint.has: addresses, and whether id is the ID.
const (
	hasV4 = 1 << iota
	hasV6
	hasID
)

// at returns the endpoint of an instance on one of its networks, or viaHost.
func (i *Instance) at(via int) Endpoint {
	e := Endpoint{Instance: i, via: int16(via), weight: i.weight, priority: i.priority}
	if i.rare == nil {
		e.id = i.id
		e.has |= hasID
	}
	a := e.addrs()
	e.v4 = a.v4
	if a.has4 {
		e.has |= hasV4
	}
	if a.has6 {
		e.has |= hasV6
	}
	if ports := i.Ports(); len(ports) == 1 {
		e.number = e.Number(&ports[0])
	}
	return e
}

// ID is the instance's.
func (e *Endpoint) ID() string {
	if e.has&hasID == 0 {
		return e.Instance.ID()
	}
	// Nobody changes the bytes once there is an endpoint.
	return unsafe.String(&e.id[0], len(e.id)) //nolint:gosec // see above
}

func (e *Endpoint) addrs() *Addrs {
	if e.via == viaHost {
		return &e.host
	}
	return &e.Networks()[e.via].Addrs
}

// V4 returns the endpoint's IPv4 address, nil if it has none. The caller must
// not change it.
func (e *Endpoint) V4() []byte {
	if e.has&hasV4 == 0 {
		return nil
	}
	return e.v4[:]
}

// V6 is V4 for IPv6.
func (e *Endpoint) V6() []byte {
	if e.has&hasV6 == 0 {
		return nil
	}
	return e.addrs().V6()
}

// All returns the endpoint's addresses, IPv4 first.
func (e *Endpoint) All() []netip.Addr { return e.addrs().All() }

// Weight is the instance's.
func (e *Endpoint) Weight() uint16 { return uint16(e.weight) }

// Priority is the instance's.
func (e *Endpoint) Priority() uint16 { return e.priority }

// Single returns the number of the endpoint's port as it is to be dialled, 0 if
// it can't be reached there, or if there is not exactly one port.
func (e *Endpoint) Single() uint16 { return e.number }

// Number returns the number of the port as it is to be dialled, 0 if it can't
// be reached at this endpoint.
func (e *Endpoint) Number(p *Port) uint16 {
	if e.via == viaHost {
		return p.Host
	}
	return p.Container
}

// Network returns the network of a container endpoint, nil for a host one.
func (e *Endpoint) Network() *Network {
	if e.via == viaHost {
		return nil
	}
	return &e.Networks()[e.via]
}

// Options decide which endpoint an asker gets, beside who it is.
type Options struct {
	// Node is the node whose local networks this process sits on.
	Node string
	// Address is one of registry's Address constants.
	Address string
	// Routable names networks, by name or ID, that everybody can reach.
	Routable []string
}

// view is what one kind of asker gets of a service: at most one endpoint for
// each serving instance, in the order of their IDs.
type view []Endpoint

// netView is the view of askers on one network.
type netView struct {
	network string
	view    view
}

// rules are Options in the form in which they are applied.
type rules struct {
	node     string
	address  string
	routable []string
}

// forced returns which kind of endpoint the instance is limited to.
func (r *rules) forced(i *Instance) string {
	if a := i.forced(); a != registry.AddressAuto {
		return a
	}
	return r.address
}

// matters reports whether an asker of this node can be on the network, which
// must be one of the instance's.
func (r *rules) matters(i *Instance, n *network) bool { return !n.local || i.Node() == r.node }

// rule is what decides whether an asker is told of an instance.
type rule uint8

// The rules by which an asker is not told.
const (
	notServing rule = iota
	// outOfReach says that there is no endpoint for the asker, onlyHost and
	// onlyContainer that there is none of the kind the instance is limited to.
	outOfReach
	onlyHost
	onlyContainer

	firstTold
)

// The rules by which an asker is told, by the design's "Which endpoint an asker
// gets".
const (
	sharedNetwork = firstTold + iota
	published
	routableNetwork
	sameNode
	// Endpoints of the kind that the instance is limited to, whoever asks.
	forcedHost
	forcedContainer
)

func (w rule) told() bool { return w >= firstTold }

// endpoint returns how an asker reaches an instance, and by which rule. All
// that anybody is told of an instance was decided here.
func (r *rules) endpoint(i *Instance, a Asker) (Endpoint, rule) {
	if !i.serving {
		return Endpoint{}, notServing
	}
	for _, n := range a.networks {
		if e, ok := r.onNetwork(i, n); ok {
			return e, sharedNetwork
		}
	}
	return r.outside(i, a.onNode)
}

// onNetwork returns the endpoint for an asker on a network, if the instance is
// on it too (rule 1 of the design, "Which endpoint an asker gets").
func (r *rules) onNetwork(i *Instance, network string) (Endpoint, bool) {
	if r.forced(i) == registry.AddressHost {
		return Endpoint{}, false
	}
	networks := i.Networks()
	for n := range networks {
		w := &networks[n]
		if of := w.of.Value(); of.id == network && r.matters(i, &of) && !w.Addrs.empty() {
			return i.at(n), true
		}
	}
	return Endpoint{}, false
}

// outside returns the endpoint for an asker of whom nothing is known (rules 2
// and 3). onNode says that the asker is the node itself.
func (r *rules) outside(i *Instance, onNode bool) (Endpoint, rule) {
	forced := r.forced(i)
	switch {
	case forced == registry.AddressHost && i.host.empty():
		return Endpoint{}, onlyHost
	case forced == registry.AddressHost:
		return i.at(viaHost), forcedHost
	case forced == registry.AddressAuto && !i.host.empty():
		return i.at(viaHost), published
	}
	networks := i.Networks()
	for n := range networks {
		w := &networks[n]
		of := w.of.Value()
		switch {
		case w.Addrs.empty():
		case forced == registry.AddressContainer:
			return i.at(n), forcedContainer
		case slices.Contains(r.routable, of.name), slices.Contains(r.routable, of.id):
			return i.at(n), routableNetwork
		case onNode && of.local && i.Node() == r.node:
			return i.at(n), sameNode
		}
	}
	if forced == registry.AddressContainer {
		return Endpoint{}, onlyContainer
	}
	return Endpoint{}, outOfReach
}

// views are all that askers can get of a service, worked out when one of its
// instances changes and never when somebody asks.
type views struct {
	outside view
	// local is what askers of this node and those on a network of an instance
	// get, nil if that is the same.
	local *localViews
}

// localViews are the views of those who are nearer than others.
type localViews struct {
	node     view
	networks []netView
}

// views works out what askers get of instances.
func (r *rules) views(instances []*Instance) views {
	v := views{outside: make(view, 0, len(instances))}
	var local localViews
	differs := false
	for _, i := range instances {
		if !i.serving {
			continue
		}
		out, why := r.endpoint(i, Asker{})
		if why.told() {
			v.outside = append(v.outside, out)
		}
		own, _ := r.endpoint(i, Asker{onNode: true})
		differs = differs || out != own
		networks := i.Networks()
		for n := range networks {
			if of := networks[n].of.Value(); r.matters(i, &of) && !local.has(of.id) {
				local.networks = append(local.networks, netView{network: of.id})
			}
		}
	}
	v.outside = slices.Clip(v.outside)
	if !differs && local.networks == nil {
		return v
	}
	local.node = v.outside
	if differs {
		local.node = r.view(instances, Asker{onNode: true})
	}
	for n := range local.networks {
		w := &local.networks[n]
		w.view = r.view(instances, Asker{networks: []string{w.network}})
	}
	v.local = &local
	return v
}

func (l *localViews) has(network string) bool {
	return slices.ContainsFunc(l.networks, func(w netView) bool { return w.network == network })
}

func (r *rules) view(instances []*Instance, a Asker) view {
	v := make(view, 0, len(instances))
	for _, i := range instances {
		if e, why := r.endpoint(i, a); why.told() {
			v = append(v, e)
		}
	}
	return v
}

// of returns the view of an asker. Only an asker on several networks of one
// service costs more than a look at a short list.
func (v *views) of(a Asker) view {
	if v.local == nil {
		return v.outside
	}
	if a.onNode {
		return v.local.node
	}
	best := v.outside
	found := false
	for _, n := range a.networks {
		for w := range v.local.networks {
			if v.local.networks[w].network != n {
				continue
			}
			if found {
				return v.merge(a)
			}
			best, found = v.local.networks[w].view, true
		}
	}
	return best
}

// merge returns the view of an asker on several networks: of each instance the
// endpoint on the first network that both share.
func (v *views) merge(a Asker) view {
	merged := map[*Instance]Endpoint{}
	for _, e := range v.outside {
		merged[e.Instance] = e
	}
	for _, n := range slices.Backward(a.networks) {
		for _, w := range v.local.networks {
			if w.network != n {
				continue
			}
			for _, e := range w.view {
				if e.via != viaHost && e.Networks()[e.via].of.Value().id == n {
					merged[e.Instance] = e
				}
			}
		}
	}
	all := make(view, 0, len(merged))
	for _, e := range merged {
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y Endpoint) int { return byID(x.Instance, y.Instance) })
	return all
}
