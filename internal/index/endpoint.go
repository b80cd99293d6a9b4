package index

import (
	"cmp"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"github.com/rackdns/rackdns/internal/reach"
)

// Endpoint is how one client reaches an instance, or a part of its ports: an
// address of each family at most, with the ports that are reached there.
type Endpoint struct {
	*Instance
	addrs Addrs
	// numbers are those to dial, by the instance's ports; 0 is none.
	numbers []uint16
	// label tells an endpoint that isn't the instance's first from that one. It
	// is the address as a DNS label.
	label string
	// tell says which of the addresses stand for the instance where its service
	// is asked for.
	tell4, tell6 bool
	// rule and network are why it is reached so.
	rule    reach.Rule
	network string
	// hash tells the endpoint from others, the same everywhere.
	hash uint64
}

// Hash is a number by which one of many endpoints can be chosen, the same on
// every server: it follows from the instance's ID and the endpoint's label.
func (e *Endpoint) Hash() uint64 { return e.hash }

// Weight is how often the endpoint comes first, relative to others: 1 to 100. An
// instance of weight 0 that is told has no other kind beside it, and is like one
// of weight 1.
func (e *Endpoint) Weight() uint16 { return max(e.Instance.Weight(), 1) }

// Label returns what stands before the instance's ID in the endpoint's name,
// empty for the first endpoint of each instance.
func (e *Endpoint) Label() string { return e.label }

// V4 returns the endpoint's IPv4 address, nil if it has none. The caller must
// not change it.
func (e *Endpoint) V4() []byte { return e.addrs.V4() }

// V6 is V4 for IPv6.
func (e *Endpoint) V6() []byte { return e.addrs.V6() }

// Told returns the address of one family that stands for the instance where its
// service is asked for, nil if that is another endpoint's.
func (e *Endpoint) Told(v6 bool) []byte {
	switch {
	case v6 && e.tell6:
		return e.addrs.V6()
	case !v6 && e.tell4:
		return e.addrs.V4()
	}
	return nil
}

// All returns the endpoint's addresses, IPv4 first.
func (e *Endpoint) All() []netip.Addr { return e.addrs.All() }

// Number returns the number of the port as it is to be dialled, 0 if it can't
// be reached at this endpoint. The port must be one of the instance's.
func (e *Endpoint) Number(p *Port) uint16 {
	for n := range e.ports {
		if &e.ports[n] == p {
			return e.numbers[n]
		}
	}
	return 0
}

// Network returns the name of the network of a container endpoint, empty for a
// host one.
func (e *Endpoint) Network() string { return e.network }

// Options decide which endpoint a client gets, beside who it is.
type Options struct {
	// Node is the node whose local networks this process sits on.
	Node string
	// Address is one of registry's Address constants.
	Address string
	// Routable names networks, by name or ID, that everybody can reach.
	Routable []string
	// Forwarders are where those ask from who ask on behalf of others. Each is a
	// stranger, see [Snapshot.Through].
	Forwarders []netip.Prefix
}

// rules are what decides about endpoints beside the instances themselves. They
// never change: a change of a node's facts makes new ones.
type rules struct {
	options reach.Options
	// node is the one that this process serves.
	node  string
	nodes map[string]*reach.Node
	// here is the node that this process serves, as far as it is known; apart says
	// that the node's engine is on another host, of which this one is none.
	here  *reach.Node
	apart bool
	// places are the subnets in which a client's address makes a difference, the
	// first of them: there are as many as a classKey has bits for.
	places []netip.Prefix
	// generation tells the classes of clients that were known by other facts of
	// this node, or other places.
	generation int

	clients *clients
	// forwarders are those of the options.
	forwarders []netip.Prefix
}

func newRules(o Options) *rules {
	return &rules{
		options: reach.Options{Routable: o.Routable, Limit: o.Address},
		node:    o.Node, nodes: map[string]*reach.Node{}, here: &reach.Node{Name: o.Node},
		clients: &clients{}, forwarders: o.Forwarders,
	}
}

// isEverywhere reports whether the addresses on a network of a node mean the same
// to everybody who can have to do with them: it spans nodes, is the LAN's, or was
// said to be routable.
func (r *rules) isEverywhere(node string, w network) bool {
	if !w.local || slices.Contains(r.options.Routable, w.id) || slices.Contains(r.options.Routable, w.name) {
		return true
	}
	n := r.nodes[node]
	if n == nil {
		return false
	}
	known := n.Network(w.id)
	return known != nil && known.OnLAN()
}

// lans are the IDs of those of a node's networks that are the LAN's.
func lans(n *reach.Node) (ids []string) {
	if n == nil {
		return nil
	}
	for w := range n.Networks {
		if n.Networks[w].OnLAN() {
			ids = append(ids, n.Networks[w].ID)
		}
	}
	return ids
}

// mostPlaces is how many bits a classKey has for them.
const mostPlaces = 64

// with returns rules with other facts about a node; nil forgets it.
func (r *rules) with(name string, node *reach.Node) *rules {
	next := &rules{
		options: r.options, node: r.node, nodes: maps.Clone(r.nodes), here: r.here, apart: r.apart,
		generation: r.generation, clients: r.clients, forwarders: r.forwarders,
	}
	if node == nil {
		delete(next.nodes, name)
	} else {
		next.nodes[name] = node
	}
	if name == r.node {
		next.apart = node != nil && node.Remote
		switch next.here = node; {
		case node == nil:
			next.here = &reach.Node{Name: r.node}
		case next.apart:
			next.here = &reach.Node{} // a host that is no node
		}
	}
	next.places = places(next.nodes)
	if name == r.node || !slices.Equal(next.places, r.places) {
		next.generation++
		next.clients = &clients{}
	}
	return next
}

// places returns the subnets in which a client's address makes a difference for
// instances on any of the nodes.
func places(nodes map[string]*reach.Node) []netip.Prefix {
	var all []netip.Prefix
	for _, n := range nodes {
		all = append(all, n.Places()...)
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	all = slices.Compact(all)
	return all[:min(len(all), mostPlaces)]
}

// evaluation is all that a client is told of an instance, with the reasons.
type evaluation struct {
	verdicts []reach.Verdict
	// bare is about an instance without ports.
	bare    *reach.Verdict
	targets []reach.Target
}

// evaluate decides how a client reaches an instance. All that anybody is told
// was decided here.
func (r *rules) evaluate(i *Instance, c *Client) evaluation {
	facts := i.facts(r.nodes[i.Node()])
	if len(facts.Ports) == 0 {
		v := reach.Addresses(&c.client, &facts, &r.options)
		e := evaluation{bare: &v}
		if v.Reached() {
			e.targets = []reach.Target{{V4: v.V4.Addr.Addr(), V6: v.V6.Addr.Addr()}}
		}
		return e
	}
	e := evaluation{verdicts: reach.Evaluate(&c.client, &facts, &r.options)}
	e.targets = reach.Targets(e.verdicts)
	return e
}

// endpoints returns the endpoints of an instance for a client, none if it
// doesn't serve or can't be reached.
func (r *rules) endpoints(all []Endpoint, i *Instance, c *Client) []Endpoint {
	if !i.Serving() {
		return all
	}
	return r.reached(all, i, c)
}

// EndpointsOf returns how a client reaches an instance, whether it serves or not.
func (s *Snapshot) EndpointsOf(i *Instance, c *Client) []Endpoint { return s.rules.reached(nil, i, c) }

// reached is endpoints of an instance that may not serve.
func (r *rules) reached(all []Endpoint, i *Instance, c *Client) []Endpoint {
	e := r.evaluate(i, c)
	v4, v6 := false, false
	for n := range e.targets {
		t := &e.targets[n]
		x := Endpoint{Instance: i, numbers: make([]uint16, len(i.ports))}
		x.addrs.add(t.V4)
		x.addrs.add(t.V6)
		x.tell4, x.tell6 = !v4 && t.V4.IsValid(), !v6 && t.V6.IsValid()
		v4, v6 = v4 || x.tell4, v6 || x.tell6
		for _, p := range t.Ports {
			x.numbers[p.Index] = p.Number
		}
		if n > 0 {
			x.label = t.Label()
		}
		x.rule, x.network = e.why(t)
		x.hash = endpointHash(i.id, x.label)
		all = append(all, x)
	}
	return all
}

// why returns by which rule a target is reached, and the network's name if it
// is a container's.
func (e *evaluation) why(t *reach.Target) (reach.Rule, string) {
	v := e.bare
	if v == nil {
		v = &e.verdicts[t.Ports[0].Index]
	}
	x := v.V4
	if !t.V4.IsValid() {
		x = v.V6
	}
	if x.Network != nil {
		return x.Rule, x.Network.Name
	}
	return x.Rule, ""
}

// endpointHash is FNV-1a of the two, with a dot between them.
func endpointHash(id, label string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // it never fails
	_, _ = h.Write([]byte{'.'})
	_, _ = h.Write([]byte(label))
	return h.Sum64()
}

// view is what one kind of client gets of a service, in the order of the
// instances' IDs.
type view struct {
	class string
	// all are what it reaches, told those of them that it is told of.
	all, told []Endpoint
	// answers is how many addresses a reply has at most, 0 if there is no limit.
	answers uint16
	// next is the one that was worked out before, of so many older ones.
	older uint16
	next  *view
}

func newView(class string, all []Endpoint) *view {
	v := &view{class: class, all: all, told: InTurn(all, nil)}
	for n := range v.told {
		if a := v.told[n].answers; a != 0 && (v.answers == 0 || a < v.answers) {
			v.answers = a
		}
	}
	return v
}

// toldOf returns what a client is told that wants some of the endpoints.
func (v *view) toldOf(wants func(*Endpoint) bool) []Endpoint {
	if len(v.told) == len(v.all) || slices.ContainsFunc(v.told, func(e Endpoint) bool { return wants(&e) }) {
		return v.told
	}
	if told := InTurn(v.all, wants); len(told) > 0 {
		return told
	}
	return v.told
}

// InTurn returns those of the endpoints that wants chooses, all if it is nil,
// without the instances of weight 0 if there are others: whoever hands endpoints
// on leaves them out by this.
func InTurn(all []Endpoint, wants func(*Endpoint) bool) []Endpoint {
	chosen, idle := 0, 0
	for n := range all {
		if wants == nil || wants(&all[n]) {
			chosen++
			idle += btoi(all[n].isIdle())
		}
	}
	if chosen == len(all) && (idle == 0 || idle == chosen) {
		return all
	}
	told := make([]Endpoint, 0, chosen)
	for n := range all {
		if e := &all[n]; (wants == nil || wants(e)) && (!e.isIdle() || idle == chosen) {
			told = append(told, *e)
		}
	}
	return told
}

// isIdle reports whether the instance is for when nothing else serves.
func (i *Instance) isIdle() bool { return i.weight == 0 }

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// maxViews is how many kinds of clients are remembered for a service: those of a
// node's networks. Where there are more, it begins anew.
const maxViews = 16

// viewFor returns what a client gets of instances. It is worked out when
// the first client of its class asks, and remembered for as long as the service,
// which is another one when an instance or the node of one changes.
func (c *views) viewFor(r *rules, instances []*Instance, client *Client) *view {
	known := c.known.Load()
	for v := known; v != nil; v = v.next {
		if v.class == client.class {
			return v
		}
	}
	all := make([]Endpoint, 0, len(instances))
	for _, i := range instances {
		all = r.endpointsAs(all, i, client, c.alias)
	}
	v := newView(client.class, slices.Clip(all))
	c.remember(v, known)
	return v
}

// remember keeps a view before the last ones. Should two do so at once, one of
// them is worked out once more.
func (c *views) remember(v, known *view) {
	if v.next = known; known != nil {
		v.older = known.older + 1
	}
	if v.older >= maxViews {
		v.next, v.older = nil, 0
	}
	c.known.CompareAndSwap(known, v)
}
