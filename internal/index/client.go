package index

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rackdns/rackdns/internal/reach"
)

// Client is who asks, as far as it matters for what can be reached.
type Client struct {
	client reach.Client
	// class is the same for clients that are told the same of everything.
	class    string
	instance *Instance
}

// Asker is a Client.
type Asker = *Client

// unknownClient is one of which nothing is known.
var unknownClient = &Client{}

// Stranger returns a client of which nothing is known.
func Stranger() *Client { return unknownClient }

// Instance returns the instance that asks, nil if the client is none that is
// known.
func (c *Client) Instance() *Instance { return c.instance }

// Class is the same for clients that are told the same of everything.
func (c *Client) Class() string { return c.class }

// OnNode reports whether the client is the node itself.
func (c *Client) OnNode() bool { return c.client.Kind == reach.Self }

// Kind says how the client was recognised.
func (c *Client) Kind() reach.Kind { return c.client.Kind }

// Networks returns the IDs of the networks that the client is known to be on.
func (c *Client) Networks() []string { return c.client.Networks }

// Asker returns who it is that asks from ip: a stranger, if a forwarder does.
func (s *Snapshot) Asker(ip netip.Addr) *Client {
	if s.IsForwarder(ip) {
		return unknownClient
	}
	return s.known(ip)
}

// IsForwarder reports whether those who ask from ip ask on behalf of others.
func (s *Snapshot) IsForwarder(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for _, p := range s.rules.forwarders {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// Through returns who asks by way of a forwarder that tells the client's subnet
// (RFC 7871). A whole address is a client's own; a shorter one tells a network or
// a link at best, if all of it is there. A loopback address is the forwarder's own
// host, which is this node only if the forwarder runs here.
func (s *Snapshot) Through(forwarder netip.Addr, subnet netip.Prefix) *Client {
	if subnet.IsValid() && subnet.Addr().IsLoopback() && s.known(forwarder).Kind() != reach.Self {
		return unknownClient
	}
	if subnet.IsValid() && subnet.IsSingleIP() {
		return s.known(subnet.Addr())
	}
	if !subnet.IsValid() || subnet.Addr().IsLoopback() || subnet.Bits() == 0 {
		return unknownClient
	}
	within := func(p netip.Prefix) bool { return p.Bits() <= subnet.Bits() && p.Contains(subnet.Addr()) }
	here := s.rules.here
	inside := slices.ContainsFunc(here.Links, within)
	for n := range here.Networks {
		inside = inside || slices.ContainsFunc(here.Networks[n].Subnets, within)
	}
	c := s.rules.identify(subnet.Masked().Addr())
	if inside && (c.Kind() == reach.OnNetwork || c.Kind() == reach.OnLink) {
		return c
	}
	return unknownClient
}

// Self returns the node itself as a client.
func (s *Snapshot) Self() *Client { return s.known(netip.AddrFrom4([4]byte{127, 0, 0, 1})) }

// known returns who has an address.
func (s *Snapshot) known(ip netip.Addr) *Client {
	ip = ip.Unmap().WithZone("")
	if p, ok := s.addresses.get(ip); ok && !ip.IsLoopback() {
		if c := s.rules.container(ip, p.value.instances); c != nil {
			return c
		}
	}
	return s.rules.identify(ip)
}

// classKey tells clients apart that aren't known as containers.
type classKey struct {
	kind    reach.Kind
	network string
	// places are the subnets that the client is in, by their bits.
	places uint64
}

// clients are those that have asked, one of each class. They are remembered,
// so that no query makes one.
type clients struct {
	known atomic.Pointer[map[classKey]*Client]
}

// identify returns who asks from an address that no container of this node is
// known to have.
func (r *rules) identify(ip netip.Addr) *Client {
	key := classKey{}
	var network *reach.Network
	if key.kind, network = reach.Identify(r.here, ip); network != nil {
		key.network = network.ID
	}
	if key.kind == reach.Unknown || key.kind == reach.OnLink {
		for n, p := range r.places {
			if p.Contains(ip) {
				key.places |= 1 << n
			}
		}
	}
	if key == (classKey{}) {
		return unknownClient
	}
	known := r.clients.known.Load()
	if known != nil {
		if c := (*known)[key]; c != nil {
			return c
		}
	}
	c := &Client{client: reach.Client{Kind: key.kind, Node: r.here, Addr: ip}}
	c.class = fmt.Sprintf("%d %s %s %x", r.generation, key.kind, key.network, key.places)
	if network != nil {
		c.client.Networks = []string{network.ID}
		c.class = r.classOn(c.client.Networks)
	}
	next := map[classKey]*Client{key: c}
	if known != nil {
		maps.Copy(next, *known)
	}
	r.clients.known.CompareAndSwap(known, &next)
	return c
}

// classOn is the class of containers of this node on networks.
func (r *rules) classOn(networks []string) string {
	return fmt.Sprintf("%d on %s", r.generation, strings.Join(networks, " "))
}

// container returns the one of the instances at an address that asks from it
// here, nil if none does. Those of this node come first: what its own networks
// have is nobody else's. Of another node it is one on a network that both have,
// or that is the LAN's.
func (r *rules) container(ip netip.Addr, instances []*Instance) *Client {
	here := r.lastAt(instances, func(node string) bool { return node == r.node && !r.apart })
	if here != nil {
		return here.asClient(r, r.here)
	}
	if kind, w := reach.Identify(r.here, ip); kind == reach.Self || kind == reach.Hidden || w != nil && w.Local {
		return nil
	}
	there := r.lastAt(instances, func(node string) bool { return node != r.node })
	if there == nil || r.nodes[there.Node()] == nil || slices.ContainsFunc(instances, func(i *Instance) bool { return i.Node() != there.Node() }) {
		// Two LANs may have the same addresses.
		return nil
	}
	return there.asClient(r, r.nodes[there.Node()])
}

// lastAt returns the instance on a node that has an address which all of them have
// or had: Docker gives an address to the next container at once, so the one that
// started last is it. Of those that share one network namespace it is the one that
// made it.
func (r *rules) lastAt(instances []*Instance, on func(node string) bool) *Instance {
	var last *Instance
	for _, i := range instances {
		if !on(i.Node()) {
			continue
		}
		if last == nil || last.isGuest() && !i.isGuest() || last.isGuest() == i.isGuest() &&
			(i.started > last.started || i.started == last.started && byID(i, last) < 0) {
			last = i
		}
	}
	return last
}

// asClient returns the instance as one that asks, on its node.
func (i *Instance) asClient(r *rules, node *reach.Node) *Client {
	if c := i.client.Load(); c != nil && c.client.Node == node {
		return c
	}
	c := &Client{instance: i, client: reach.Client{Kind: reach.Container, Node: node}}
	for n := range i.networks {
		c.client.Networks = append(c.client.Networks, i.networks[n].of.Value().id)
	}
	for _, a := range i.AsksFrom() {
		if _, w := reach.Identify(node, a); w != nil && !slices.Contains(c.client.Networks, w.ID) {
			c.client.Networks = append(c.client.Networks, w.ID)
		}
	}
	c.class = r.classOn(c.client.Networks)
	if node != r.here {
		// Its own node's facts count, too.
		h := fnv.New64a()
		fmt.Fprint(h, *node)
		c.class = fmt.Sprintf("%s of %s %x", c.class, node.Name, h.Sum64())
	}
	i.client.Store(c)
	return c
}
