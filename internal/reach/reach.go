// Package reach decides how a client reaches an instance: for each of its
// ports at which address and number, or why it can't. It is a pure function of
// facts about Docker hosts, so that whoever tells names, and whoever explains
// why, says the same.
//
// # The rules
//
// For each port, and for each IP family, the first of these that holds:
//
//  1. The client shares a Docker network with the instance: the container's
//     address and the container's port. A network of scope local ends at its
//     node.
//  2. The port is published at an address that the client can reach: the node's
//     own address before any other. Another address of the node, such as that
//     of a VPN, counts for that port alone, and rather for clients in its
//     subnet. An address that means something inside this host only counts for
//     clients on it.
//  3. The network is routable: by configuration, or because the client is in
//     its subnet; the node itself reaches its bridges.
//     A client that is known to have no address of a family is told none of it,
//     and nothing published by IPv6 of an engine that has no docker-proxy.
//  4. Else the port is left out, with the reason.
package reach

import (
	"net/netip"
	"slices"
)

// Network is a Docker network as a node knows it.
type Network struct {
	ID, Name string
	// Driver is Docker's: bridge, overlay, macvlan, ipvlan, or another one.
	Driver string
	// Local networks end at their node.
	Local bool
	// Internal networks lead nowhere else.
	Internal bool
	Subnets  []netip.Prefix
	// Gateways are the node's addresses on the network.
	Gateways []netip.Addr
}

// bridged reports whether the node has an interface on the network.
func (n *Network) bridged() bool { return n.Driver == "bridge" }

// OnLAN reports whether the network's containers are on the network of one of
// the node's interfaces, where the node itself doesn't see them. Their addresses
// mean the same to all who are there.
func (n *Network) OnLAN() bool { return n.Driver == "macvlan" || n.Driver == "ipvlan" }

func (n *Network) contains(a netip.Addr) bool { return inAny(n.Subnets, a) }

func inAny(subnets []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Node is a Docker host.
type Node struct {
	Name string
	// Addresses are the node's own, the one that others reach it by first; the
	// first of each family is what a port is published at that is published
	// everywhere.
	Addresses []netip.Addr
	// Links are the subnets of its interfaces, those of Docker's bridges left
	// out.
	Links    []netip.Prefix
	Networks []Network
	// Remote says that nobody who asks a server of the node's name is on it.
	Remote bool
	// Unproxied says that the engine leads connections to published ports by
	// the packet filter alone, which drops those that come from another of its
	// networks (userland-proxy: false, before Engine 28).
	Unproxied bool
	// NoIPv6NAT says that the packet filter leads nobody to what is published over
	// IPv6: neither does docker-proxy, then (userland-proxy: false, before Engine 27).
	NoIPv6NAT bool
}

// Network returns the node's network of that ID, nil if it has none.
func (n *Node) Network(id string) *Network {
	at := slices.IndexFunc(n.Networks, func(w Network) bool { return w.ID == id })
	if at < 0 {
		return nil
	}
	return &n.Networks[at]
}

// own reports whether a is the address that others reach the node by, in its
// family.
func (n *Node) own(a netip.Addr) bool {
	for _, o := range n.Addresses {
		if o.Is4() == a.Is4() {
			return o == a
		}
	}
	return false
}

// hostOnly reports whether an address means something inside the node alone.
func (n *Node) hostOnly(a netip.Addr) bool {
	if a.IsLoopback() || a.IsLinkLocalUnicast() {
		return true
	}
	if n == nil {
		return false
	}
	return slices.ContainsFunc(n.Networks, func(w Network) bool {
		return w.Local && slices.Contains(w.Gateways, a)
	})
}

// Attachment is a container's place on a network.
type Attachment struct {
	// Network is the network's ID.
	Network string
	// Local says that the network ends at its node.
	Local  bool
	V4, V6 netip.Addr
}

// Protocols of a port.
const (
	TCP = "tcp"
	UDP = "udp"
)

// Port is a port of an instance, with the addresses of the node that it is
// published at.
type Port struct {
	Number    uint16
	Protocol  string
	Published []netip.AddrPort
	// Mesh are those of them that swarm's routing mesh leads from. It has rules of
	// its own in the packet filter, and no docker-proxy.
	Mesh []netip.AddrPort
}

// Add adds where the port is published.
func (p *Port) Add(at netip.AddrPort, mesh bool) {
	p.Published = append(p.Published, at)
	if mesh {
		p.Mesh = append(p.Mesh, at)
	}
}

// Kinds of address that an instance, or a configuration, can be limited to.
const (
	Any           = ""
	HostOnly      = "host"
	ContainerOnly = "container"
)

// Instance is a running container of a service, or a host.
type Instance struct {
	// Node is where it runs; nil for a host that no agent watches.
	Node *Node
	// Attachments are empty for one that has the node's own network. The first
	// is the one to prefer.
	Attachments []Attachment
	Ports       []Port
	// Limit is the kind of address that whoever asks gets.
	Limit string
}

// Options are what was configured for all instances.
type Options struct {
	// Routable names networks, by ID or name, that everybody can reach.
	Routable []string
	// Limit is the kind of address for instances that have none of their own.
	Limit string
}
