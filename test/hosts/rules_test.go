package hosts

import (
	"net/netip"
	"slices"
	"strings"
)

// verdict is what rules expect of a fact.
type verdict int

const (
	unknown verdict = iota // the rules don't say
	yes
	no
)

func verdictOf(is bool) verdict {
	if is {
		return yes
	}
	return no
}

// rules are those of an Engine 20.10, as plainly as they can be said, for a
// newSite. They know of a container what Docker says, and of the machines what
// newSite gave them.
type rules struct{ *site }

// expects is what the rules say of dialling an endpoint.
func (r rules) expects(client *Client, e Endpoint) verdict {
	switch {
	case isolated(client):
		return verdictOf(client.Container.owner() == e.Instance.owner() && e.At.Addr().IsLoopback())
	case e.At.Addr().Is6() && !hasIPv6(client):
		return no
	case e.Via == ViaContainer:
		return r.container(client, e)
	case client.Node == e.Instance.Node:
		return r.inside(client, e)
	case e.At.Addr().IsLoopback():
		return no
	}
	return r.outside(client, e)
}

// container is for an instance's own address.
func (r rules) container(client *Client, e Endpoint) verdict {
	shares := slices.Contains(networksOf(client), e.Network) && !isHost(client)
	switch r.driver(e.Instance.Node, e.Network) {
	case "overlay":
		return verdictOf(shares)
	case "macvlan":
		if len(networksOf(&e.Instance.Client)) > 1 && !shares {
			return unknown // it may reply by its other network
		}
		if client.Node == e.Instance.Node {
			if len(networksOf(client)) > 1 {
				return unknown
			}
			return verdictOf(shares)
		}
		return r.outside(client, e)
	}
	if client.Node != e.Instance.Node {
		return no
	}
	if e.At.Addr().Is6() && !shares && !isHost(client) {
		return unknown // without ip6tables nothing isolates bridges over IPv6
	}
	return verdictOf(isHost(client) || shares)
}

// inside is for what is published, or served, at an address of the client's own
// node.
func (r rules) inside(client *Client, e Endpoint) verdict {
	proxied := e.Instance.Node == r.alpha
	six := e.At.Addr().Is6()
	switch {
	case six && !r.onLAN(e.At.Addr()) && !e.At.Addr().IsLoopback():
		return unknown // a bridge's, which is tentative while nobody is on it
	case isHost(client):
		return verdictOf(e.Via == ViaNode || !six || proxied)
	}
	if e.At.Addr().IsLoopback() {
		return verdictOf(client.Container.owner() == e.Instance.owner() && e.At.Port() == e.Port)
	}
	if r.onMACVLAN(client) {
		// By its other network, if it has one.
		return map[bool]verdict{true: no, false: unknown}[len(networksOf(client)) == 1]
	}
	switch {
	case six:
		return unknown
	case e.Via == ViaNode:
		return yes
	case r.internal(client):
		return no
	case len(networksOf(client)) > 1 || len(networksOf(&e.Instance.Client)) > 1:
		return unknown // which of them leads there?
	case proxied && e.Proto == "tcp":
		return yes
	case proxied && r.driver(client.Node, networksOf(client)[0]) == "overlay" && e.Bound.IsUnspecified():
		return unknown // its gateway is docker_gwbridge's, which no inspect of it tells
	case proxied:
		// At a wildcard it replies from the gateway of who asks.
		return verdictOf(!e.Bound.IsUnspecified() || slices.Contains(gateways(client), e.At.Addr()))
	case r.driver(client.Node, networksOf(client)[0]) == "overlay":
		return unknown // docker_gwbridge lets nobody talk with each other
	}
	return verdictOf(networksOf(client)[0] == networksOf(&e.Instance.Client)[0])
}

// outside is for an address of another machine's.
func (r rules) outside(client *Client, e Endpoint) verdict {
	at := e.At.Addr()
	if client.Container != nil && (r.internal(client) || r.ledInside(client)) {
		return no
	}
	if e.Via == ViaPublished && at.Is6() && e.Instance.Node == r.beta {
		return no
	}
	lan := r.onLAN(at)
	switch {
	case client == &r.backhand.Client:
		return verdictOf(at.String() == "10.9.0.2")
	case client == &r.stranger.Client && at.String() == "100.64.0.7":
		return yes
	case client == &r.router.Client || client == &r.stranger.Client || client == &r.outsider.Client || isHost(client):
		return verdictOf(lan)
	case at.Is6():
		return unknown // nothing masquerades the container's
	case len(networksOf(client)) > 1 && r.onMACVLAN(client):
		return unknown
	}
	return verdictOf(lan)
}

// onLAN is true for what is an address of the LAN's, as most machines know it.
func (r rules) onLAN(a netip.Addr) bool {
	return slices.ContainsFunc(r.lan.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isHost is true for who is in a machine's own namespace.
func isHost(c *Client) bool {
	return c.Container == nil || c.Container.Inspect.HostConfig.NetworkMode.IsHost()
}

// isolated is true for who is in none.
func isolated(c *Client) bool {
	return c.Container != nil && c.Container.owner().Inspect.HostConfig.NetworkMode.IsNone()
}

// networksOf are the names of those that a client is on.
func networksOf(c *Client) (names []string) {
	if c.Container == nil {
		return nil
	}
	for name := range c.Container.owner().Inspect.NetworkSettings.Networks {
		names = append(names, name)
	}
	return names
}

func gateways(c *Client) (addrs []netip.Addr) {
	for _, n := range c.Container.owner().Inspect.NetworkSettings.Networks {
		if a, err := netip.ParseAddr(n.Gateway); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func hasIPv6(c *Client) bool {
	if isHost(c) {
		return c.Name != "backhand"
	}
	for _, n := range c.Container.owner().Inspect.NetworkSettings.Networks {
		if n.GlobalIPv6Address != "" {
			return true
		}
	}
	return false
}

func (r rules) spec(h *Host, name string) NetworkSpec {
	for _, o := range r.hosts {
		for _, n := range o.networks {
			// An overlay is its manager's, and the swarm's.
			if n.Spec.Name == name && (o == h || n.Spec.Driver == "overlay") {
				return n.Spec
			}
		}
	}
	return NetworkSpec{Name: name}
}

func (r rules) driver(h *Host, name string) string { return r.spec(h, name).Driver }

func (r rules) onMACVLAN(c *Client) bool {
	return !isHost(c) && slices.ContainsFunc(networksOf(c), func(n string) bool { return r.driver(c.Node, n) == "macvlan" })
}

// internal is true for who is on nothing else.
func (r rules) internal(c *Client) bool {
	return !isHost(c) && !slices.ContainsFunc(networksOf(c), func(n string) bool { return !r.spec(c.Node, n).Internal })
}

// ledInside is true for who is on an overlay and an internal bridge: Docker has its
// packets leave by the latter, which leads nowhere.
func (r rules) ledInside(c *Client) bool {
	bridge := slices.ContainsFunc(networksOf(c), func(n string) bool { return r.spec(c.Node, n).Internal && r.driver(c.Node, n) != "overlay" })
	return !isHost(c) && bridge && !slices.ContainsFunc(networksOf(c), func(n string) bool { return !r.spec(c.Node, n).Internal && r.driver(c.Node, n) != "overlay" })
}

// describe is what a client is on, for a failure's reader.
func describe(c *Client) string {
	if c.Container == nil {
		return c.Name
	}
	return c.Name + " on " + strings.Join(c.Container.Spec.Networks, ", ")
}
