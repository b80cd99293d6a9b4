package reach

import (
	"net/netip"
	"slices"
)

// Kind is how a client was recognised.
type Kind uint8

// Kinds of clients.
const (
	// Unknown is a client of which nothing is known but its address.
	Unknown Kind = iota
	// Self is the node itself, or a container with the node's network.
	Self
	// Container is a container whose networks are known.
	Container
	// OnNetwork is a client with an address of one of the node's networks: a
	// container that nobody has told of yet.
	OnNetwork
	// Hidden is a client of the node behind a proxy, of whom nothing else is
	// known.
	Hidden
	// OnLink is a client in a subnet of one of the node's interfaces.
	OnLink
)

// String returns the kind in a word or two.
func (k Kind) String() string {
	return [...]string{"unknown", "node", "container", "on network", "hidden", "on link"}[k]
}

// Client is who asks a server on a node.
type Client struct {
	Kind Kind
	// Node is the client's own, whichever server it asks; of one that is Unknown or
	// OnLink it is where that server runs.
	Node *Node
	// Addr is where it asks from.
	Addr netip.Addr
	// Networks are the IDs of those that it is on.
	Networks []string
}

// here reports whether the client runs on a node of the rack that is known.
func (c *Client) here() bool { return c.Kind != Unknown && c.Kind != OnLink }

// on reports whether the client runs on the node n.
func (c *Client) on(n *Node) bool {
	return c.here() && c.Node != nil && n != nil && c.Node.Name == n.Name
}

// contained reports whether the client is a container with networks of its own.
func (c *Client) contained() bool { return c.Kind == Container || c.Kind == OnNetwork }

// gatewayBridge is the bridge by which containers leave overlays.
const gatewayBridge = "docker_gwbridge"

// confined reports whether the client is on networks from where nothing but these
// is reached: internal ones, and overlays beside them. An overlay's container leaves
// it by docker_gwbridge, but not if it has another network's gateway, as that of an
// internal bridge: Docker prefers that, also where there is a place on docker_gwbridge.
// On an internal overlay there is none.
func (c *Client) confined() bool {
	if !c.contained() || c.Node == nil {
		return false
	}
	internal := false
	for _, id := range c.Networks {
		n := c.Node.Network(id)
		switch {
		case n == nil, !n.Internal && n.Driver != "overlay" && n.Name != gatewayBridge:
			return false
		case n.Internal:
			internal = true
		}
	}
	return internal
}

// onLAN reports whether the client is on the LAN that a network is of.
func (c *Client) onLAN(w *Network) bool {
	return slices.ContainsFunc(c.Networks, func(id string) bool {
		n := c.Node.Network(id)
		return n != nil && n.OnLAN() && slices.ContainsFunc(n.Subnets, func(p netip.Prefix) bool { return slices.ContainsFunc(w.Subnets, p.Overlaps) })
	})
}

// parted reports whether an address of the client's own node is out of its reach:
// a macvlan or ipvlan leads everywhere but to the node that it is of. What lies in
// its subnet is sent there, whatever other networks the client has.
func (c *Client) parted(a netip.Addr) bool {
	others := len(c.Networks) == 0
	for _, id := range c.Networks {
		n := c.Node.Network(id)
		switch {
		case n == nil || !n.OnLAN():
			others = true
		case n.contains(a):
			return true
		}
	}
	return !others
}

// speaks reports whether the client can have an address of an IP family: not a
// container of which all networks are known, and none has such a subnet.
func (c *Client) speaks(four bool) bool {
	if !c.contained() || len(c.Networks) == 0 || c.Node == nil {
		return true
	}
	return slices.ContainsFunc(c.Networks, func(id string) bool {
		n := c.Node.Network(id)
		return n == nil || len(n.Subnets) == 0 || slices.ContainsFunc(n.Subnets, func(p netip.Prefix) bool { return p.Addr().Is4() == four })
	})
}

// Identify says how a client that asks a server on a node is recognised by its
// address, and on which of the node's networks it is if that is all that is
// known. A container of the node whose address is known is one without this.
func Identify(node *Node, from netip.Addr) (Kind, *Network) {
	switch {
	case from.IsLoopback():
		return Self, nil
	case node == nil:
		return Unknown, nil
	case slices.Contains(node.Addresses, from):
		return Self, nil
	}
	for n := range node.Networks {
		if w := &node.Networks[n]; w.bridged() && slices.Contains(w.Gateways, from) {
			return Hidden, nil
		}
	}
	for n := range node.Networks {
		// Who is on the LAN by way of macvlan can't be told from who is there
		// by itself.
		if w := &node.Networks[n]; w.contains(from) && !w.OnLAN() {
			return OnNetwork, w
		}
	}
	if inAny(node.Links, from) {
		return OnLink, nil
	}
	return Unknown, nil
}

// Places returns the subnets in which a client's address makes a difference,
// for instances on the node.
func (n *Node) Places() []netip.Prefix {
	all := slices.Clone(n.Links)
	for w := range n.Networks {
		if n.Networks[w].OnLAN() {
			all = append(all, n.Networks[w].Subnets...)
		}
	}
	return all
}
