package reach

import (
	"net/netip"
	"slices"
)

// Rule is what decided about a port.
type Rule uint8

// The rules by which a port can't be reached.
const (
	// NotPublished: nobody but the instance's own networks reaches the port.
	NotPublished Rule = iota
	// NoFamily: there is an address, but not of this IP family.
	NoFamily
	// OtherFamily: the client has no address of this IP family.
	OtherFamily
	// Confined: the client is on internal networks only, and not on this one.
	Confined
	// Filtered: the engine drops what comes from another of its networks.
	Filtered
	// NoIPv6NAT: the engine leads nobody to what is published over IPv6.
	NoIPv6NAT
	// Parted: it is at an address of the client's own node, which it doesn't reach
	// from a macvlan or ipvlan.
	Parted
	// OneWay: a datagram would come back from another address than it was sent
	// to.
	OneWay
	// ElsewhereOnly: it is published at addresses that mean nothing where the
	// client is.
	ElsewhereOnly
	// LimitedToHost and LimitedToContainer: there is no address of the kind that
	// the instance is limited to.
	LimitedToHost
	LimitedToContainer

	firstReached
)

// The rules by which a port can be reached.
const (
	SharedNetwork = firstReached + iota
	Published
	Routable
	InSubnet
	OwnBridge
)

// Reached reports whether the rule is one by which a port can be reached.
func (r Rule) Reached() bool { return r >= firstReached }

// Endpoint is where a port is reached in one IP family.
type Endpoint struct {
	Addr netip.AddrPort
	Rule Rule
	// Network is the one that decided, for rules that are about a network.
	Network *Network
}

// Verdict is about one port: an endpoint for each family. One that can't be
// reached has no address, and the rule says why.
type Verdict struct {
	Port   *Port
	V4, V6 Endpoint
}

// Reached reports whether there is any endpoint.
func (v *Verdict) Reached() bool { return v.V4.Rule.Reached() || v.V6.Rule.Reached() }

// Why returns the rule that says most: what keeps the port from being reached in
// the family in which it is published, before that it isn't in the other.
func (v *Verdict) Why() Rule { return max(v.V4.Rule, v.V6.Rule) }

// Evaluate decides about all ports of an instance, in their order.
func Evaluate(c *Client, i *Instance, o *Options) []Verdict {
	e := evaluation{client: c, instance: i, options: o, limit: i.Limit}
	if e.limit == Any {
		e.limit = o.Limit
	}
	all := make([]Verdict, len(i.Ports))
	for n := range i.Ports {
		p := &i.Ports[n]
		all[n] = Verdict{Port: p, V4: e.port(p, true), V6: e.port(p, false)}
	}
	return all
}

// Addresses decides about an instance as such, which is what one without ports
// has: as if it had one that is published wherever the node has its network.
func Addresses(c *Client, i *Instance, o *Options) Verdict {
	bare := *i
	bare.Ports = []Port{{Number: 1, Protocol: TCP}}
	if len(i.Attachments) == 0 && i.Node != nil {
		for _, four := range []bool{true, false} {
			if at := slices.IndexFunc(i.Node.Addresses, func(a netip.Addr) bool { return a.Is4() == four }); at >= 0 {
				bare.Ports[0].Published = append(bare.Ports[0].Published, netip.AddrPortFrom(i.Node.Addresses[at], 1))
			}
		}
	}
	return Evaluate(c, &bare, o)[0]
}

// evaluation is one client's look at one instance.
type evaluation struct {
	client   *Client
	instance *Instance
	options  *Options
	limit    string
}

func (e *evaluation) port(p *Port, four bool) Endpoint {
	if !e.client.speaks(four) {
		if slices.ContainsFunc(p.Published, func(a netip.AddrPort) bool { return a.Addr().Is4() == four }) {
			return Endpoint{Rule: OtherFamily}
		}
		return Endpoint{Rule: NotPublished}
	}
	if e.limit != HostOnly {
		if x, ok := e.shared(p, four); ok {
			return x
		}
	}
	published := e.published(p, four)
	if e.limit == HostOnly {
		if !published.Rule.Reached() && published.Rule == NotPublished {
			published.Rule = LimitedToHost
		}
		return published
	}
	if e.limit != ContainerOnly && published.Rule.Reached() {
		return published
	}
	if x, ok := e.routed(p, four); ok {
		return x
	}
	if e.limit == ContainerOnly {
		return Endpoint{Rule: LimitedToContainer}
	}
	return published
}

// shared is rule 1.
func (e *evaluation) shared(p *Port, four bool) (Endpoint, bool) {
	for _, id := range e.client.Networks {
		for n := range e.instance.Attachments {
			at := &e.instance.Attachments[n]
			// IDs are unique, but those of engines that were cloned.
			if at.Network != id || at.Local && !e.client.on(e.instance.Node) {
				continue
			}
			if a := at.family(four); a.IsValid() {
				return Endpoint{netip.AddrPortFrom(a, p.Number), SharedNetwork, e.network(id)}, true
			}
		}
	}
	return Endpoint{}, false
}

// network returns one of the instance's networks.
func (e *evaluation) network(id string) *Network {
	if e.instance.Node == nil {
		return nil
	}
	return e.instance.Node.Network(id)
}

func (a *Attachment) family(four bool) netip.Addr {
	if four {
		return a.V4
	}
	return a.V6
}

// published is rule 2.
func (e *evaluation) published(p *Port, four bool) Endpoint {
	if len(p.Published) == 0 {
		return Endpoint{Rule: NotPublished}
	}
	best, why := netip.AddrPort{}, NoFamily
	rank := -1
	for _, b := range p.Published {
		if b.Addr().Is4() != four {
			continue
		}
		r, rule := e.rank(p, b)
		switch {
		case r > rank:
			best, rank, why = b, r, rule
		case rank < 0:
			why = rule
		}
	}
	if rank < 0 {
		return Endpoint{Rule: why}
	}
	return Endpoint{Addr: best, Rule: Published}
}

// rank says how good an address is to reach a published port by, less than 0
// for one that won't do, and then why.
func (e *evaluation) rank(p *Port, at netip.AddrPort) (int, Rule) {
	a := at.Addr()
	c, node := e.client, e.instance.Node
	mesh := slices.Contains(p.Mesh, at)
	if c.confined() && (!c.on(node) || len(e.instance.Attachments) > 0 || mesh) {
		// What has the network of its own node is reached all the same.
		return -1, Confined
	}
	if node != nil && a.Is6() && len(e.instance.Attachments) > 0 && (node.NoIPv6NAT || node.Unproxied && a.IsLoopback()) {
		// No packet filter leads away from ::1.
		return -1, NoIPv6NAT
	}
	own := !a.IsLoopback() && (node == nil || node.own(a))
	// That others reach the node by it is its operator's word.
	if !own && node.hostOnly(a) && (!c.on(node) || a.IsLoopback() && c.Kind != Self) {
		return -1, ElsewhereOnly
	}
	if c.on(node) && c.contained() && c.parted(a) {
		return -1, Parted
	}
	if c.on(node) && c.contained() && len(e.instance.Attachments) > 0 && !mesh {
		// Another network of the same node: what Docker puts between decides.
		switch {
		case node.Unproxied:
			return -1, Filtered
		case p.Protocol == UDP && !e.isGateway(a):
			return -1, OneWay
		}
	}
	switch {
	case own:
		return 3, Published
	case c.Node != nil && c.Kind == OnLink && sameSubnet(node, a, c.Addr):
		return 2, Published
	case c.Node != nil && c.here() && inAny(c.Node.Links, a):
		return 2, Published
	}
	return 1, Published
}

// isGateway reports whether a is the node's address on a network of the client.
func (e *evaluation) isGateway(a netip.Addr) bool {
	return slices.ContainsFunc(e.client.Networks, func(id string) bool {
		n := e.client.Node.Network(id)
		return n != nil && slices.Contains(n.Gateways, a)
	})
}

// sameSubnet reports whether an address of the node and another one are in the
// subnet of one of its interfaces.
func sameSubnet(n *Node, a, b netip.Addr) bool {
	return n != nil && slices.ContainsFunc(n.Links, func(p netip.Prefix) bool { return p.Contains(a) && p.Contains(b) })
}

// routed is rule 3.
func (e *evaluation) routed(p *Port, four bool) (Endpoint, bool) {
	for n := range e.instance.Attachments {
		at := &e.instance.Attachments[n]
		a := at.family(four)
		if !a.IsValid() {
			continue
		}
		w := e.network(at.Network)
		if rule := e.route(at.Network, w); rule.Reached() {
			return Endpoint{netip.AddrPortFrom(a, p.Number), rule, w}, true
		}
	}
	return Endpoint{}, false
}

func (e *evaluation) route(id string, w *Network) Rule {
	c := e.client
	switch {
	case c.confined():
		return Confined
	case e.limit == ContainerOnly, slices.Contains(e.options.Routable, id), w != nil && slices.Contains(e.options.Routable, w.Name):
		return Routable
	case w == nil:
		return NotPublished
	case w.bridged() && c.Kind == Self && c.on(e.instance.Node):
		return OwnBridge
	case w.OnLAN() && !c.here() && w.contains(c.Addr):
		return InSubnet
	case w.OnLAN() && c.here() && !c.on(e.instance.Node) && c.Node != nil && (slices.ContainsFunc(c.Node.Addresses, w.contains) || c.onLAN(w)):
		// Its node is in the subnet, and containers leave by it.
		return InSubnet
	}
	return NotPublished
}
