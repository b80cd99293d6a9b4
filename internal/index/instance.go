package index

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
	"unique"

	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
)

// Instance is a registered instance. It never changes once it can be seen.
type Instance struct {
	registered *registry.Instance
	// name is <service>.<app>.
	name     string
	ports    []Port
	revision int64
	serving  bool
	// seen is the list in which the instance last was. Only the builder
	// reads and writes it.
	seen uint32
	// client is the instance as one that asks, once it has.
	client atomic.Pointer[Client]
}

// Network is an instance's place on a Docker network.
type Network struct {
	ID, Name string
	Addrs    Addrs
}

// newInstance takes over r, which nobody changes any more.
func newInstance(r *registry.Instance, revision int64) *Instance {
	intern(r)
	i := &Instance{
		registered: r,
		name:       interned(r.Service + "." + r.App),
		ports:      make([]Port, len(r.Ports)),
		revision:   revision,
		serving:    r.Serving(),
	}
	for n, p := range r.Ports {
		i.ports[n] = Port{name: p.Name, Container: p.Container, UDP: p.Protocol == registry.UDP}
	}
	return i
}

// interned returns the one copy of s that there is. A rack repeats a few
// thousand names in all of its instances.
func interned(s string) string { return unique.Make(s).Value() }

// intern makes instances share what many of them have in common.
func intern(r *registry.Instance) {
	for _, s := range []*string{
		&r.Node, &r.App, &r.Service, &r.Namespace, &r.Release, &r.Image, &r.Command, &r.Status, &r.Health, &r.Address,
	} {
		*s = interned(*s)
	}
	for n := range r.Ports {
		p := &r.Ports[n]
		p.Name, p.Protocol = interned(p.Name), interned(p.Protocol)
	}
	for n := range r.Networks {
		w := &r.Networks[n]
		w.ID, w.Name, w.Scope = interned(w.ID), interned(w.Name), interned(w.Scope)
	}
	if len(r.Tags) == 0 {
		r.Tags = nil
	}
}

// looksLike reports whether DNS shows the same of both, wherever it is asked.
func (i *Instance) looksLike(o *Instance) bool {
	a, b := i.registered, o.registered
	if a.ID != b.ID || i.name != o.name || a.Namespace != b.Namespace || i.serving != o.serving || !sameResource(a.Resource, b.Resource) {
		return false
	}
	if !i.serving {
		// Only that there is such an instance, with such ports, can be seen.
		return slices.Equal(i.ports, o.ports)
	}
	return a.Node == b.Node && a.Address == b.Address && a.Weight == b.Weight && a.Priority == b.Priority && a.Host == b.Host &&
		slices.EqualFunc(a.Ports, b.Ports, samePort) && slices.Equal(a.Networks, b.Networks)
}

func samePort(a, b registry.Port) bool {
	return a.Name == b.Name && a.Container == b.Container && a.Protocol == b.Protocol && slices.Equal(a.Bindings, b.Bindings)
}

// ID returns the instance's ID, a DNS label.
func (i *Instance) ID() string { return i.registered.ID }

// Node returns the name of the instance's node.
func (i *Instance) Node() string { return i.registered.Node }

// App returns the name of the instance's app.
func (i *Instance) App() string { return i.registered.App }

// Service returns the name of the instance's service.
func (i *Instance) Service() string { return i.registered.Service }

// Namespace returns the namespace that the instance declares for its app.
func (i *Instance) Namespace() string { return i.registered.Namespace }

// Release returns the release that the instance runs.
func (i *Instance) Release() string { return i.registered.Release }

// Image returns the image that the instance runs.
func (i *Instance) Image() string { return i.registered.Image }

// Command returns the command that the instance runs, if it isn't the image's.
func (i *Instance) Command() string { return i.registered.Command }

// Status returns Docker's status.
func (i *Instance) Status() string { return i.registered.Status }

// Health returns Docker's result of the health check, empty without one.
func (i *Instance) Health() string { return i.registered.Health }

// Draining reports whether the instance is about to end.
func (i *Instance) Draining() bool { return i.registered.Draining }

// Serving reports whether DNS may hand out the instance.
func (i *Instance) Serving() bool { return i.serving }

// Started returns when the instance started, in UTC.
func (i *Instance) Started() time.Time { return i.registered.Started.UTC() }

// OfResource reports whether the instance is one of a resource, such as a
// database, and of its service only for want of another name.
func (i *Instance) OfResource() bool { return i.registered.Resource != nil }

func (i *Instance) resource() *registry.InstanceResource { return i.registered.Resource }

// Weight returns the weight.
func (i *Instance) Weight() uint16 { return uint16(i.registered.Weight) }

// Priority returns the priority as in RFC 2782: lower comes first.
func (i *Instance) Priority() uint16 { return uint16(i.registered.Priority) }

// Tags returns a copy of the instance's tags, nil if there are none.
func (i *Instance) Tags() map[string]string { return maps.Clone(i.registered.Tags) }

// Links returns a copy of the services of its app that the instance asked to be
// led to.
func (i *Instance) Links() []string { return slices.Clone(i.registered.Links) }

// Connect returns a copy of the names that ports of the instance's own loopback
// are to lead to.
func (i *Instance) Connect() map[uint16]string { return maps.Clone(i.registered.Connect) }

// addressMode is the kind of endpoint that the instance is limited to.
func (i *Instance) addressMode() string { return i.registered.Address }

// Ports returns all ports, which the caller must not change.
func (i *Instance) Ports() []Port { return i.ports }

// Networks returns the networks, the preferred one first.
func (i *Instance) Networks() []Network {
	all := make([]Network, len(i.registered.Networks))
	for n, w := range i.registered.Networks {
		all[n] = Network{ID: w.ID, Name: w.Name}
		all[n].Addrs.add(w.IPv4)
		all[n].Addrs.add(w.IPv6)
	}
	return all
}

// Published returns the address at which clients elsewhere reach the lowest
// port that is published, invalid if none is, and the number of each port
// there, 0 for one that isn't.
func (i *Instance) Published() (netip.Addr, []uint16) {
	facts := i.facts(nil)
	facts.Limit = reach.HostOnly
	numbers := make([]uint16, len(i.ports))
	targets := reach.Targets(reach.Evaluate(&reach.Client{}, &facts, &reach.Options{}))
	if len(targets) == 0 {
		return netip.Addr{}, numbers
	}
	for _, p := range targets[0].Ports {
		numbers[p.Index] = p.Number
	}
	if targets[0].V4.IsValid() {
		return targets[0].V4, numbers
	}
	return targets[0].V6, numbers
}

// Host returns the address of the instance's node.
func (i *Instance) Host() Addrs {
	var a Addrs
	a.add(i.registered.Host)
	return a
}

// facts are what decides about how the instance is reached. Without its node,
// which then isn't known, its own address counts as the node's only one.
func (i *Instance) facts(node *reach.Node) reach.Instance {
	r := i.registered
	f := reach.Instance{Node: node, Limit: r.Address, Ports: make([]reach.Port, len(r.Ports))}
	if node == nil && r.Node != registry.NodeAPI {
		f.Node = &reach.Node{Name: r.Node}
		if r.Host.IsValid() {
			f.Node.Addresses = append(f.Node.Addresses, r.Host)
		}
		for _, w := range r.Networks {
			f.Node.Networks = append(f.Node.Networks, assumedNetwork(&w))
		}
	}
	for n, p := range r.Ports {
		f.Ports[n] = reach.Port{Number: p.Container, Protocol: p.Protocol}
		for _, b := range p.Bindings {
			f.Ports[n].Published = append(f.Ports[n].Published, netip.AddrPortFrom(b.IP, b.Port))
		}
	}
	for _, w := range r.Networks {
		f.Attachments = append(f.Attachments, reach.Attachment{Network: w.ID, V4: w.IPv4, V6: w.IPv6})
	}
	return f
}

// assumedNetwork is what a network probably is of which its node tells nothing.
func assumedNetwork(w *registry.Network) reach.Network {
	n := reach.Network{ID: w.ID, Name: w.Name, Driver: "overlay", Local: w.Scope == registry.ScopeLocal}
	if n.Local {
		n.Driver = "bridge"
	}
	return n
}

// byID orders by ID; should two nodes have one of the same ID, by node.
func byID(a, b *Instance) int {
	if c := cmp.Compare(a.ID(), b.ID()); c != 0 {
		return c
	}
	return cmp.Compare(a.Node(), b.Node())
}
