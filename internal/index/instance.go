package index

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
	"unique"

	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
)

// Instance is a registered instance: what DNS needs of it, and the registered
// value for all else. It never changes once it can be seen.
//
// A rack has hundreds of thousands, and the garbage collector follows each
// pointer in them over and over: what many instances share they share here.
type Instance struct {
	traits
	// drained says that the instance's node is, see [registry.Drained].
	drained bool
	// seen is the list in which the instance last was. Only the builder
	// reads and writes it.
	seen uint32
	// preservedUntil is until when the instance is preserved, in seconds since
	// 1970; 0 if it is registered.
	preservedUntil int64
	// client is the instance as one that asks, once it has.
	client atomic.Pointer[Client]
}

// traits are what the registry says of an instance.
type traits struct {
	id string
	// packed is the value that the registry has, see [pack].
	packed string
	name   unique.Handle[serviceName]
	node   unique.Handle[home]
	// ports are those of the service's other instances, where they are alike.
	ports []Port
	// bindings are in the order of the ports.
	bindings []binding
	networks []attachment
	// rare is what most instances don't have, nil without.
	rare *rareTraits

	revision int64
	started  int64
	// namespaceSince is since when the instance's app has its namespace, 0 if
	// since the instance started. Times are in nanoseconds since 1970.
	namespaceSince int64
	priority       uint16
	answers        uint16
	weight         uint8
	status         status
	health         health
	mode           mode
	draining       bool
	serving        bool
	hidden         bool
}

// rareTraits are what few instances have.
type rareTraits struct {
	// asksFrom are addresses by which it asks besides those on its networks.
	asksFrom []netip.Addr
	resource *registry.InstanceResource
	// aliases are further names, by which most instances aren't found.
	aliases []registry.Alias
	// repo is the repository of its source.
	repo string
	// guest says that the network namespace is another container's, which is
	// who asks from there.
	guest bool
}

// serviceName is what the instances of a service share.
type serviceName struct {
	app, service, namespace string
}

// home is what the instances of a node share: addr is the node's own address.
type home struct {
	name string
	addr netip.Addr
}

// binding is an address of the node where a port is published.
type binding struct {
	addr Addrs
	port uint16
	// of is the port that it is of, by its place among the instance's.
	of   uint16
	mesh bool
}

// attachment is an instance's place on a network.
type attachment struct {
	of    unique.Handle[network]
	addrs Addrs
}

// network is what all instances share that are on it.
type network struct {
	id, name string
	local    bool
}

// Network is an instance's place on a Docker network.
type Network struct {
	ID, Name string
	Addrs    Addrs
}

// The few values that most instances have are numbers; 0 is any other one.
type (
	status uint8
	health uint8
	mode   uint8
)

var (
	statuses = []string{"?", registry.StatusRunning, registry.StatusPaused, "restarting", "created", "exited", "dead", ""}
	healths  = []string{"?", "", registry.HealthStarting, registry.HealthHealthy, registry.HealthUnhealthy}
	modes    = []string{"?", registry.AddressAuto, registry.AddressHost, registry.AddressContainer}
)

func numberOf(all []string, s string) uint8 { return uint8(max(slices.Index(all[1:], s)+1, 0)) }

// newInstance takes over what an index needs of r, which is the decoded value.
func newInstance(r *registry.Instance, value []byte, revision int64) *Instance {
	i := &Instance{traits: traits{
		name:     unique.Make(serviceName{r.App, r.Service, r.Namespace}),
		node:     unique.Make(home{r.Node, r.Host}),
		rare:     newRareTraits(r),
		revision: revision,
		priority: uint16(r.Priority),
		answers:  uint16(r.Answers),
		weight:   uint8(r.Weight),
		status:   status(numberOf(statuses, r.Status)),
		health:   health(numberOf(healths, r.Health)),
		mode:     mode(numberOf(modes, r.Address)),
		draining: r.Draining,
		serving:  r.Serving(),
		hidden:   r.Hidden,
	}}
	i.id, i.packed = pack(r.ID, value)
	if !r.Started.IsZero() {
		i.started = r.Started.UnixNano()
	}
	bindings := 0
	for n := range r.Ports {
		bindings += len(r.Ports[n].Bindings) + len(r.Ports[n].Loopback)
	}
	if len(r.Ports) > 0 {
		i.ports = make([]Port, len(r.Ports))
	}
	if bindings > 0 {
		i.bindings = make([]binding, 0, bindings)
	}
	for n := range r.Ports {
		p := &r.Ports[n]
		i.ports[n] = Port{name: interned(p.Name), Container: p.Container, UDP: p.Protocol == registry.UDP}
		for _, bs := range [][]registry.Binding{p.Bindings, p.Loopback} {
			for _, b := range bs {
				at := binding{port: b.Port, of: uint16(n), mesh: b.Mesh}
				at.addr.add(b.IP)
				i.bindings = append(i.bindings, at)
			}
		}
	}
	if !r.NamespaceSince.IsZero() {
		i.namespaceSince = r.NamespaceSince.UnixNano()
	}
	if len(r.Networks) > 0 {
		i.networks = make([]attachment, len(r.Networks))
	}
	for n, w := range r.Networks {
		i.networks[n].of = unique.Make(network{w.ID, w.Name, w.Scope == registry.ScopeLocal})
		i.networks[n].addrs.add(w.IPv4)
		i.networks[n].addrs.add(w.IPv6)
	}
	return i
}

func newRareTraits(r *registry.Instance) *rareTraits {
	if len(r.AsksFrom) == 0 && r.Resource == nil && len(r.Aliases) == 0 && r.NetworkOf == "" && r.Repo == "" {
		return nil
	}
	rare := &rareTraits{asksFrom: r.AsksFrom, resource: r.Resource, guest: r.NetworkOf != "", repo: r.Repo}
	for _, a := range r.Aliases {
		rare.aliases = append(rare.aliases, registry.Alias{Name: interned(a.Name), Port: a.Port})
	}
	return rare
}

// sharePorts has the instance share its ports with one that has the same. It must
// be one that nobody else can see yet.
func (i *Instance) sharePorts(o *Instance) {
	if slices.Equal(i.ports, o.ports) {
		i.ports = o.ports
	}
}

// interned returns the one copy of s that there is.
func interned(s string) string { return unique.Make(s).Value() }

// looksLike reports whether DNS shows the same of both, wherever it is asked.
func (i *Instance) looksLike(o *Instance) bool {
	if i.hidden != o.hidden || i.id != o.id || i.name != o.name || i.serving != o.serving || !sameResource(i.resource(), o.resource()) || i.since() != o.since() ||
		!slices.Equal(i.Aliases(), o.Aliases()) {
		return false
	}
	if !i.serving {
		// Only that there is such an instance, with such ports, can be seen.
		return slices.Equal(i.ports, o.ports)
	}
	return i.node == o.node && i.mode == o.mode && i.weight == o.weight && i.priority == o.priority && i.answers == o.answers &&
		slices.Equal(i.ports, o.ports) && slices.Equal(i.networks, o.networks) && slices.Equal(i.bindings, o.bindings)
}

// clone returns the instance as another one, which the builder may change.
func (i *Instance) clone() *Instance {
	return &Instance{traits: i.traits, drained: i.drained, preservedUntil: i.preservedUntil, seen: i.seen}
}

// isHidden reports whether DNS shows nothing of the instance, which may be nil.
func (i *Instance) isHidden() bool { return i == nil || i.hidden }

// Hidden reports whether nobody is told of the instance: it is a container that
// only asks, and may have no service, nor an app.
func (i *Instance) Hidden() bool { return i.hidden }

// AsksFrom returns addresses by which the instance asks, besides those on its
// networks. The caller must not change them.
func (i *Instance) AsksFrom() []netip.Addr {
	if i.rare == nil {
		return nil
	}
	return i.rare.asksFrom
}

// Aliases returns the names by which the instance is found beside its service's,
// which the caller must not change.
func (i *Instance) Aliases() []registry.Alias {
	if i.rare == nil {
		return nil
	}
	return i.rare.aliases
}

// resource is what the instance is one of, besides being one of its service's.
func (i *Instance) resource() *registry.InstanceResource {
	if i.rare == nil {
		return nil
	}
	return i.rare.resource
}

// isGuest reports whether its network namespace is another container's.
func (i *Instance) isGuest() bool { return i.rare != nil && i.rare.guest }

// Registered returns what the registry says of the instance, which is the
// caller's. It is decoded anew each time: lookups don't need it.
func (i *Instance) Registered() *registry.Instance {
	key := registry.Key{Kind: registry.KindInstance, Owner: i.Node(), Name: i.id}
	if key.Owner == registry.NodeAPI {
		key.Name = i.Service() + "~" + i.Host().String()
	}
	r, err := registry.DecodeInstance(key, i.value())
	if err != nil {
		// It was decoded before, so this is for those that were made by hand.
		return &registry.Instance{ID: i.id, Node: key.Owner, App: i.App(), Service: i.Service(), Namespace: i.Namespace()}
	}
	return r
}

// ID returns the instance's ID, a DNS label.
func (i *Instance) ID() string { return i.id }

// Node returns the name of the instance's node.
func (i *Instance) Node() string { return i.node.Value().name }

// App returns the name of the instance's app.
func (i *Instance) App() string { return i.name.Value().app }

// Service returns the name of the instance's service.
func (i *Instance) Service() string { return i.name.Value().service }

// Namespace returns the namespace that the instance declares for its app.
func (i *Instance) Namespace() string { return i.name.Value().namespace }

// Release returns the release that the instance runs.
func (i *Instance) Release() string { return i.Details().Release }

// Image returns the image that the instance runs.
func (i *Instance) Image() string { return i.Details().Image }

// Command returns the command that the instance runs, if it isn't the image's.
func (i *Instance) Command() string { return i.Details().Command }

// Restarts returns how often the engine has started the container again after its
// end, since somebody started it.
func (i *Instance) Restarts() int { return i.Details().Restarts }

// Status returns Docker's status.
func (i *Instance) Status() string {
	if i.status == 0 {
		return i.Registered().Status
	}
	return statuses[i.status]
}

// Health returns Docker's result of the health check, empty without one.
func (i *Instance) Health() string {
	if i.health == 0 {
		return i.Registered().Health
	}
	return healths[i.health]
}

// Draining reports whether the instance is about to end.
func (i *Instance) Draining() bool { return i.draining }

// Serving reports whether DNS may hand out the instance.
func (i *Instance) Serving() bool { return i.serving && !i.drained }

// Started returns when the instance started, in UTC.
func (i *Instance) Started() time.Time {
	if i.started == 0 {
		return time.Time{}
	}
	return time.Unix(0, i.started).UTC()
}

// since is the time since when the instance's app has its name and namespace, as
// far as the instance tells. One that doesn't tell is the newest.
func (i *Instance) since() int64 {
	switch since := i.namespaceSince; {
	case since != 0 && (since < i.started || i.started == 0):
		return since
	case i.started == 0:
		return math.MaxInt64
	}
	return i.started
}

// OfResource reports whether the instance is one of a resource, such as a
// database, and of its service only for want of another name.
func (i *Instance) OfResource() bool { return i.resource() != nil }

// Weight returns the weight as it is registered. One of 0 is told only where
// nothing else serves; see also [Endpoint.Weight].
func (i *Instance) Weight() uint16 { return uint16(i.weight) }

// Priority returns the priority as in RFC 2782: lower comes first.
func (i *Instance) Priority() uint16 { return i.priority }

// Tags returns the instance's tags.
func (i *Instance) Tags() map[string]string { return i.Details().Tags }

// Links returns the services of its app that the instance asked to be led to.
func (i *Instance) Links() []string { return i.Registered().Links }

// Connect returns the names that ports of the instance's own loopback are to
// lead to.
func (i *Instance) Connect() map[uint16]string { return i.Registered().Connect }

// addressMode is the kind of endpoint that the instance is limited to.
func (i *Instance) addressMode() string { return modes[i.mode] }

// Ports returns all ports, which the caller must not change.
func (i *Instance) Ports() []Port { return i.ports }

// Networks returns the networks, the preferred one first.
func (i *Instance) Networks() []Network {
	all := make([]Network, len(i.networks))
	for n := range i.networks {
		of := i.networks[n].of.Value()
		all[n] = Network{ID: of.id, Name: of.name, Addrs: i.networks[n].addrs}
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

// Host returns the address of the instance's node, invalid if it isn't known.
func (i *Instance) Host() netip.Addr { return i.node.Value().addr }

// facts are what decides about how the instance is reached. Where nothing is
// known of its node, its own address counts as the node's only one.
func (i *Instance) facts(node *reach.Node) reach.Instance {
	f := reach.Instance{Node: node, Limit: i.addressMode(), Ports: make([]reach.Port, len(i.ports))}
	if at := i.node.Value(); node == nil && at.name != registry.NodeAPI {
		f.Node = &reach.Node{Name: at.name}
		if at.addr.IsValid() {
			f.Node.Addresses = []netip.Addr{at.addr}
		}
	}
	f.Node = i.withAssumed(f.Node)
	for n, p := range i.ports {
		f.Ports[n] = reach.Port{Number: p.Container, Protocol: p.Protocol()}
	}
	for n := range i.bindings {
		b := &i.bindings[n]
		b.addr.each(func(ip netip.Addr) {
			f.Ports[b.of].Add(netip.AddrPortFrom(ip, b.port), b.mesh)
		})
	}
	for n := range i.networks {
		of := i.networks[n].of.Value()
		a := reach.Attachment{Network: of.id, Local: of.local}
		i.networks[n].addrs.each(func(ip netip.Addr) {
			if ip.Is4() {
				a.V4 = ip
			} else {
				a.V6 = ip
			}
		})
		f.Attachments = append(f.Attachments, a)
	}
	return f
}

// withAssumed returns the node with those of the instance's networks that it
// tells nothing of: an agent before this version tells of none, and any of a new
// one a moment late.
func (i *Instance) withAssumed(node *reach.Node) *reach.Node {
	known := node
	for n := range i.networks {
		of := i.networks[n].of.Value()
		if node == nil || node.Network(of.id) != nil {
			continue
		}
		if node == known {
			c := *known
			c.Networks = slices.Clone(known.Networks)
			node = &c
		}
		node.Networks = append(node.Networks, assumedNetwork(of))
	}
	return node
}

// assumedNetwork is what a network probably is of which its node tells nothing.
func assumedNetwork(w network) reach.Network {
	n := reach.Network{ID: w.id, Name: w.name, Driver: "overlay", Local: w.local}
	if n.Local {
		n.Driver = "bridge"
	}
	return n
}

// byID orders by ID; should two nodes have one of the same ID, by node.
func byID(a, b *Instance) int {
	if c := cmp.Compare(a.id, b.id); c != 0 {
		return c
	}
	return cmp.Compare(a.Node(), b.Node())
}
