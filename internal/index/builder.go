package index

import (
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// builder is what one goroutine changes, and makes snapshots of. All that a
// snapshot can see is copied before it is changed, unless it was made since.
type builder struct {
	rules  *rules
	layout registry.Layout
	log    *slog.Logger
	owner  owner

	services  directory
	apps      pairs[string, *App]
	rack      pairs[string, *Resource]
	addresses pairs[netip.Addr, *place]
	nodes     map[string]*registry.Node
	namespaces
	supplies
	// dirty are the services whose views are to be worked out again.
	dirty map[*Service]struct{}

	// instances holds what is registered; the other kinds are few and have
	// what they need in records.
	instances table
	slabs     *slabs
	// arenas are where instances are taken from, by as many goroutines as pay.
	arenas  []arena
	records map[string]*record
	invalid map[string]int64

	// listing numbers the lists; what a list doesn't mention is gone.
	listing  uint32
	reset    bool
	serial   int64
	revision int64
	// serialBefore is the serial from before a list, pastShown the newest
	// change that shows of those that the list covers.
	serialBefore, pastShown int64

	// live says that entries are changes as they happen; observed collects
	// when their events did.
	live     bool
	observed []time.Time
	counts   map[registry.Kind]int
}

// record is a registered node, service or resource.
type record struct {
	kind     registry.Kind
	revision int64
	seen     uint32
	value    any
}

func newBuilder(o Options, layout registry.Layout, log *slog.Logger) *builder {
	slabs := newSlabs(slabSize)
	b := &builder{
		rules:      &rules{node: o.Node, address: o.Address, routable: o.Routable},
		layout:     layout,
		log:        log,
		owner:      1,
		nodes:      map[string]*registry.Node{},
		namespaces: newNamespaces(),
		supplies:   newSupplies(),
		dirty:      map[*Service]struct{}{},
		instances:  newTable(slabs),
		records:    map[string]*record{},
		invalid:    map[string]int64{},
		counts:     map[registry.Kind]int{},
		slabs:      slabs,
		arenas:     make([]arena, runtime.GOMAXPROCS(0)),
	}
	for n := range b.arenas {
		b.arenas[n].slabs = b.slabs
	}
	return b
}

// snapshot returns the present state. What the builder changes afterwards it
// copies first.
func (b *builder) snapshot() *Snapshot {
	b.compact(atOnce)
	for v := range b.dirty {
		v.settle(b.rules)
		b.services.set(b.owner, list(v))
	}
	// Not cleared: a map stays as large as it ever was, and the first list
	// makes this one as large as the rack.
	b.dirty = map[*Service]struct{}{}
	b.settleResources()
	b.settleNames()
	s := &Snapshot{
		rules:     b.rules,
		services:  b.services,
		apps:      b.apps,
		rack:      b.rack,
		addresses: b.addresses,
		nodes:     b.nodes,
		clashes:   b.clashList(),
		displaced: b.displaced,
		serial:    b.serial,
		revision:  b.revision,
		invalid:   len(b.invalid),
	}
	b.owner++
	return s
}

// refuse notes, counts and logs a value that can't be used, once for each time
// it is written.
func (b *builder) refuse(e registry.Entry, err error) {
	if e.Deleted() {
		delete(b.invalid, e.Key)
		return
	}
	if b.invalid[e.Key] == e.ModRevision {
		return
	}
	b.invalid[e.Key] = e.ModRevision
	invalidValues.WithLabelValues(b.layout.Rack()).Inc()
	b.log.Warn("skipping an entry of the registry that can't be used", "key", registry.Quote(e.Key), "revision", e.ModRevision, "error", err)
}

// swap puts is in the place of old; either may be nil.
func (b *builder) swap(k registry.Key, old, is *Instance, revision int64) {
	if old == nil && is == nil {
		return
	}
	if old == nil || is == nil || b.reset || !old.looksLike(is) {
		b.serial = max(b.serial, revision)
	}
	if is != nil {
		b.add(is)
	}
	if old != nil {
		b.remove(old)
		// The table finds it by its spot, for the last time.
		defer b.slabs.release(old)
	}
	if is == nil {
		b.instances.delete(k)
		return
	}
	b.instances.set(k, is)
}

func (b *builder) add(i *Instance) {
	v := b.service(i.name)
	i.name = v.share(i.name)
	at, _ := slices.BinarySearchFunc(v.more.instances, i, byID)
	v.more.instances = slices.Insert(v.more.instances, at, i)
	b.claimInstance(i, 1)
	b.supply(i, true)
	b.eachPlace(i, func(ip netip.Addr) { b.place(ip, func(p *place) { p.instances = append(p.instances, i) }) })
}

func (b *builder) remove(i *Instance) {
	v := b.service(i.name)
	if at := slices.Index(v.more.instances, i); at >= 0 {
		v.more.instances = slices.Delete(v.more.instances, at, at+1)
	}
	b.claimInstance(i, -1)
	b.supply(i, false)
	b.eachPlace(i, func(ip netip.Addr) {
		b.place(ip, func(p *place) {
			p.instances = slices.DeleteFunc(p.instances, func(o *Instance) bool { return o == i })
		})
	})
	b.prune(v)
}

// app returns the app of that name, ready to be changed.
func (b *builder) app(name string) *App {
	named, ok := b.apps.get(name)
	a := named.value
	switch {
	case !ok || a.Name != name:
		a = &App{owner: b.owner, Name: name}
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
func (b *builder) service(name *serviceName) *Service {
	var v *Service
	switch l := b.services.at(name.full()); {
	case l == nil:
		a := b.app(name.app())
		a.services.set(b.owner, appService{name})
		v = &Service{owner: b.owner, name: name, more: &serviceMore{}}
	case l.service.owner == b.owner:
		return l.service
	default:
		v = l.service.copy(b.owner)
	}
	b.services.set(b.owner, list(v))
	b.dirty[v] = struct{}{}
	return v
}

// prune removes the service, and then its app, if nothing is left of them.
func (b *builder) prune(v *Service) {
	if len(v.more.instances) > 0 || v.more.declared != nil {
		return
	}
	a := b.app(v.App())
	a.services.delete(b.owner, v.Name())
	b.services.delete(b.owner, v.name.full())
	delete(b.dirty, v)
	b.pruneApp(a)
}

func (b *builder) pruneApp(a *App) {
	if a.services.size == 0 && a.resources.size == 0 {
		b.apps.delete(b.owner, a.Name)
		b.disputeOwn(a.Name)
	}
}

// eachPlace calls f for the addresses from which the instance may ask here, or
// which lead to it wherever it is.
func (b *builder) eachPlace(i *Instance, f func(netip.Addr)) {
	networks := i.Networks()
	for n := range networks {
		if of := networks[n].of.Value(); b.rules.matters(i, &of) {
			networks[n].Addrs.each(f)
		}
	}
}

// place changes what is known of an address.
func (b *builder) place(ip netip.Addr, change func(*place)) {
	p := &place{}
	if old, ok := b.addresses.get(ip); ok {
		*p = *old.value
		p.instances = slices.Clone(p.instances)
	}
	change(p)
	if len(p.instances) == 0 && p.nodes == 0 {
		b.addresses.delete(b.owner, ip)
		return
	}
	p.asker = b.rules.askerAt(p)
	b.addresses.set(b.owner, placeAt{ip, p})
}

// askerAt returns who asks from a place. Docker gives an address to the next
// container at once, so the one that started last is it.
func (r *rules) askerAt(p *place) Asker {
	if p.nodes > 0 {
		return Asker{onNode: true}
	}
	var last *Instance
	for _, i := range p.instances {
		if i.Node() == r.node && (last == nil || i.started > last.started || i.started == last.started && byID(i, last) < 0) {
			last = i
		}
	}
	if last == nil {
		return Asker{}
	}
	a := Asker{instance: last}
	for _, n := range last.Networks() {
		a.networks = append(a.networks, n.of.Value().id)
	}
	return a
}

func (b *builder) setNode(name string, n *registry.Node) {
	nodes := maps.Clone(b.nodes)
	if name == b.rules.node {
		b.ownAddresses(b.nodes[name], -1)
		b.ownAddresses(n, 1)
	}
	if n == nil {
		delete(nodes, name)
	} else {
		nodes[name] = n
	}
	b.nodes = nodes
}

func (b *builder) ownAddresses(n *registry.Node, count int) {
	if n == nil {
		return
	}
	for _, ip := range n.Addresses {
		b.place(ip, func(p *place) { p.nodes += count })
	}
}
