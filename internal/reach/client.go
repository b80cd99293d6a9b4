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
	// Node is where the server that it asks runs, which is the client's own
	// node unless it is Unknown or OnLink.
	Node *Node
	// Addr is where it asks from.
	Addr netip.Addr
	// Networks are the IDs of those that it is on.
	Networks []string
}

// here reports whether the client runs on the node whose server it asks.
func (c *Client) here() bool { return c.Kind != Unknown && c.Kind != OnLink }

// on reports whether the client runs on the node n.
func (c *Client) on(n *Node) bool {
	return c.here() && c.Node != nil && n != nil && c.Node.Name == n.Name
}

// contained reports whether the client is a container with networks of its own.
func (c *Client) contained() bool { return c.Kind == Container || c.Kind == OnNetwork }

// confined reports whether the client is on internal networks only, from where
// nothing but these is reached.
func (c *Client) confined() bool {
	if !c.contained() || len(c.Networks) == 0 || c.Node == nil {
		return false
	}
	return !slices.ContainsFunc(c.Networks, func(id string) bool {
		n := c.Node.Network(id)
		return n == nil || !n.Internal
	})
}

// Identify says who asks a server on a node from an address. attached returns
// the networks of the container of the node that has the address, and false if
// there is none.
func Identify(node *Node, from netip.Addr, attached func(netip.Addr) ([]string, bool)) Client {
	from = from.Unmap().WithZone("")
	c := Client{Node: node, Addr: from}
	switch {
	case from.IsLoopback():
		c.Kind = Self
		return c
	case node == nil:
		return c
	case slices.Contains(node.Addresses, from):
		c.Kind = Self
		return c
	}
	if networks, ok := attached(from); ok {
		c.Kind, c.Networks = Container, networks
		return c
	}
	for n := range node.Networks {
		w := &node.Networks[n]
		if slices.Contains(w.Gateways, from) && w.bridged() {
			c.Kind = Hidden
			return c
		}
	}
	for n := range node.Networks {
		// Who is on the LAN by way of macvlan can't be told from who is there
		// by itself.
		if w := &node.Networks[n]; w.contains(from) && !w.onLAN() {
			c.Kind, c.Networks = OnNetwork, []string{w.ID}
			return c
		}
	}
	if inAny(node.Links, from) {
		c.Kind = OnLink
	}
	return c
}
