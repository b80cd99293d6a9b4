package index

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
)

// builder is what one goroutine changes, and makes snapshots of. All that a
// snapshot can see is copied before it is changed, unless it was made since.
type builder struct {
	rules  *rules
	layout registry.Layout
	log    *slog.Logger
	owner  owner

	services  pairs[string, *Service]
	apps      pairs[string, *App]
	rack      pairs[string, *Resource]
	addresses pairs[netip.Addr, *place]
	// askers are the instances that are told to nobody, by ID and node.
	askers pairs[string, *Instance]
	hosts  hosts
	nodes  map[string]*registry.Node
	// drained are the nodes that are, by name. Like nodes it is replaced when it
	// changes, since snapshots share it.
	drained   map[string]*registry.Drained
	seen      pairs[string, struct{}]
	seenNames pairs[string, []seenApp]
	namespaces
	supplies
	aliasing
	changes
	loss preservation

	// instances holds what is registered; the other kinds are few and have
	// what they need in records.
	instances instances
	size      int
	records   map[string]*record
	invalid   map[string]refused
	// invalidList is invalid in order, nil if it has to be made again.
	invalidList []InvalidEntry
	// digest sums up what was registered, usable or not.
	digest registry.Digest

	// listing numbers the lists; what a list doesn't mention is gone.
	listing  uint32
	reset    bool
	serial   int64
	revision int64
	serials

	// live says that entries are changes as they happen; observed collects
	// when their events did.
	live     bool
	observed []time.Time
	counts   map[registry.Kind]int
}

// refused is an entry that can't be used.
type refused struct {
	revision int64
	seen     uint32
	why      string
}

// record is a registered node, service or resource.
type record struct {
	kind     registry.Kind
	revision int64
	seen     uint32
	value    any
	// raw is what the registry has.
	raw []byte
}

func newBuilder(o Options, preserve time.Duration, layout registry.Layout, log *slog.Logger) *builder {
	return &builder{
		rules:      newRules(o),
		layout:     layout,
		log:        log,
		owner:      1,
		nodes:      map[string]*registry.Node{},
		namespaces: newNamespaces(),
		supplies:   newSupplies(),
		aliasing:   newAliasing(),
		changes:    newChanges(),
		instances:  instances{},
		records:    map[string]*record{},
		invalid:    map[string]refused{},
		counts:     map[registry.Kind]int{},

		loss: newPreservation(preserve),
	}
}

// snapshot returns the present state. What the builder changes afterwards it
// copies first.
func (b *builder) snapshot() *Snapshot {
	b.settleResources()
	b.settleNames()
	b.settleAliases()
	b.commit(b.offset + b.revision)
	s := &Snapshot{
		rules:     b.rules,
		services:  b.services,
		apps:      b.apps,
		rack:      b.rack,
		addresses: b.addresses,
		askers:    b.askers,
		hosts:     b.hosts,
		nodes:     b.nodes,
		drained:   b.drained,
		seen:      b.seen,
		seenNames: b.seenNames,
		clashes:   b.clashList(),

		aliasClashes: b.aliasClashList(),

		displaced: b.displaced,
		serial:    b.offset + b.serial,
		revision:  b.revision,
		invalid:   b.invalidEntries(),
		history:   b.history,
	}
	b.owner++
	return s
}

// refuse notes, counts and logs a value that can't be used, once for each time
// it is written.
func (b *builder) refuse(e registry.Entry, err error) {
	if e.Deleted() {
		b.accept(e.Key)
		return
	}
	old := b.invalid[e.Key]
	b.invalid[e.Key] = refused{e.ModRevision, b.listing, err.Error()}
	if old.revision == e.ModRevision {
		return
	}
	b.invalidList = nil
	invalidValues.WithLabelValues(b.layout.Rack()).Inc()
	b.log.Warn("skipping an entry of the registry that can't be used", "key", registry.Quote(e.Key), "revision", e.ModRevision, "error", err)
}

// swap puts is in the place of old; either may be nil.
func (b *builder) swap(k registry.Key, old, is *Instance, revision int64) {
	if old == nil && is == nil {
		return
	}
	if (!old.isHidden() || !is.isHidden()) && (old == nil || is == nil || b.reset || !old.looksLike(is)) {
		b.shows(revision)
	}
	if is != nil {
		is.drained = b.drained[k.Owner] != nil
		b.add(is)
	}
	if old != nil {
		b.remove(old)
	}
	switch {
	case is == nil:
		b.size--
		b.instances.delete(k)
		return
	case old == nil:
		b.size++
	}
	b.instances.set(k, is)
}

func (b *builder) add(i *Instance) {
	b.loss.note(i, 1)
	b.placeInstance(i)
	if i.hidden {
		b.askers.set(b.owner, pair[string, *Instance]{i.asker(), i})
		return
	}
	v := b.service(i.Service(), i.App())
	at, _ := slices.BinarySearchFunc(v.instances, i, byID)
	if len(v.instances) > 0 {
		i.sharePorts(v.instances[0])
	}
	v.instances = slices.Insert(v.instances, at, i)
	b.addAliases(i)
	b.changeHosts(i, true)
	b.claimInstance(i, 1)
	b.supply(i, true)
}

// asker is what one that only asks is found by.
func (i *Instance) asker() string { return i.id + " " + i.Node() }

func (b *builder) remove(i *Instance) {
	b.loss.note(i, -1)
	b.displaceInstance(i)
	if i.hidden {
		// Another may be in its place already.
		if is, ok := b.askers.get(i.asker()); ok && is.value == i {
			b.askers.delete(b.owner, i.asker())
		}
		return
	}
	v := b.service(i.Service(), i.App())
	if at := slices.Index(v.instances, i); at >= 0 {
		v.instances = slices.Delete(v.instances, at, at+1)
	}
	b.removeAliases(i)
	b.changeHosts(i, false)
	b.claimInstance(i, -1)
	b.supply(i, false)
	b.prune(v)
}

// app returns the app of that name, ready to be changed.
func (b *builder) app(name string) *App {
	named, ok := b.apps.get(name)
	a := named.value
	switch {
	case !ok || a.Name != name:
		a = &App{owner: b.owner, Name: name}
		b.touch(anyService + "." + name)
		b.disputeOwn(name)
	case a.owner == b.owner:
		return a
	default:
		c := *a
		c.owner = b.owner
		a = &c
	}
	b.bind(a)
	return a
}

// bind makes the app known by its name, and by the namespaces that it holds once
// the names are settled.
func (b *builder) bind(a *App) {
	b.apps.set(b.owner, namedApp{a.Name, a})
	for ns := range b.claimedBy[a.Name] {
		b.dispute(ns)
	}
}

// service returns the service of that name, ready to be changed.
func (b *builder) service(service, app string) *Service {
	p, ok := b.services.get(service + "." + app)
	v := p.value
	switch {
	case !ok:
		v = newService(b.owner, service, app)
		b.doubt(app, v.service)
		a := b.app(app)
		a.services.set(b.owner, pair[string, string]{v.service, v.name})
	case v.owner == b.owner:
		return v
	default:
		v = v.copy(b.owner)
	}
	b.services.set(b.owner, pair[string, *Service]{v.name, v})
	b.touch(v.name)
	return v
}

// prune removes the service, and then its app, if nothing is left of them.
func (b *builder) prune(v *Service) {
	if len(v.instances) > 0 || v.declared != nil {
		return
	}
	a := b.app(v.App())
	a.services.delete(b.owner, v.Name())
	b.doubt(a.Name, v.service)
	b.services.delete(b.owner, v.name)
	b.pruneApp(a)
}

func (b *builder) pruneApp(a *App) {
	if a.services.size == 0 && a.resources.size == 0 {
		b.apps.delete(b.owner, a.Name)
		b.touch(anyService + "." + a.Name)
		b.disputeOwn(a.Name)
	}
}

// eachPlace calls f for the addresses from which the instance may ask here, or
// which lead to it wherever it is.
func (b *builder) eachPlace(i *Instance, f func(netip.Addr)) {
	for n := range i.networks {
		w := &i.networks[n]
		if i.Node() == b.rules.node || b.rules.isEverywhere(i.Node(), w.of.Value()) {
			w.addrs.each(f)
		}
	}
	if i.Node() == b.rules.node {
		for _, a := range i.AsksFrom() {
			f(a.Unmap())
		}
	}
}

func (b *builder) placeInstance(i *Instance) {
	b.eachPlace(i, func(ip netip.Addr) { b.place(ip, func(p *place) { p.instances = append(p.instances, i) }) })
}

func (b *builder) displaceInstance(i *Instance) {
	b.eachPlace(i, func(ip netip.Addr) {
		b.place(ip, func(p *place) {
			p.instances = slices.DeleteFunc(p.instances, func(o *Instance) bool { return o == i })
		})
	})
}

// place changes what is known of an address.
func (b *builder) place(ip netip.Addr, change func(*place)) {
	p := &place{}
	if old, ok := b.addresses.get(ip); ok {
		p.instances = slices.Clone(old.value.instances)
	}
	change(p)
	if len(p.instances) == 0 {
		b.addresses.delete(b.owner, ip)
		return
	}
	b.addresses.set(b.owner, placeAt{ip, p})
}

// setNode takes in what is known of a node now, nothing if n is nil.
func (b *builder) setNode(name string, n *registry.Node) {
	b.touch(name + Below(LabelNode))
	nodes := maps.Clone(b.nodes)
	if n == nil {
		delete(nodes, name)
		// What is known of it is needed while its instances may be preserved.
		b.loss.gone[name] = b.loss.now()
	} else {
		nodes[name] = n
		b.takeFacts(name, NodeFacts(n))
	}
	b.nodes = nodes
	if n == nil {
		return
	}
	b.nodeBack(n)
	if name == b.rules.node {
		// Who asks here reaches others by it.
		b.touchAll()
	}
	// What clients were told of the node's instances may be another thing now.
	for _, i := range b.instances[name] {
		if i.hidden {
			continue
		}
		b.service(i.Service(), i.App())
		b.eachAlias(i, func(*Service) {})
		b.settleSupply(i)
	}
}

// takeFacts has others rules decide. What is on the LAN by them is known by its
// addresses, and what isn't no longer is.
func (b *builder) takeFacts(name string, facts *reach.Node) {
	next := b.rules.with(name, facts)
	if slices.Equal(lans(b.rules.nodes[name]), lans(facts)) {
		b.rules = next
		return
	}
	for _, i := range b.instances[name] {
		b.displaceInstance(i)
	}
	b.rules = next
	for _, i := range b.instances[name] {
		b.placeInstance(i)
	}
}

// NodeFacts are what a node's key says of how its containers are reached.
func NodeFacts(n *registry.Node) *reach.Node {
	f := &reach.Node{Name: n.Node, Addresses: n.Addresses, Links: n.Links, Remote: n.Remote, Unproxied: n.Unproxied, NoIPv6NAT: n.NoIPv6NAT}
	for _, w := range n.Networks {
		f.Networks = append(f.Networks, reach.Network{
			ID: w.ID, Name: w.Name, Driver: w.Driver, Local: w.Scope == registry.ScopeLocal,
			Internal: w.Internal, Subnets: w.Subnets, Gateways: w.Gateways,
		})
	}
	return f
}
