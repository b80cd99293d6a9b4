package index

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// Snapshot is the rack at one moment. It never changes, so any number of
// queries can read it without a lock.
type Snapshot struct {
	// services holds every service as <service>.<app>, since that is what
	// nearly all queries are for and each further map costs them a cache miss
	// or three.
	services pairs[string, *Service]
	// apps holds every app by its name and by the namespaces it has won.
	apps      pairs[string, *App]
	rack      pairs[string, *Resource]
	addresses pairs[netip.Addr, *place]
	askers    pairs[string, *Instance]
	hosts     hosts
	nodes     map[string]*registry.Node
	drained   map[string]*registry.Drained
	// seen are the services that were seen, as <service>.<app>, seenNames the
	// apps of these by their names and namespaces.
	seen      pairs[string, struct{}]
	seenNames pairs[string, []seenApp]
	clashes   []Clash
	// aliasClashes are the aliases that lead nowhere.
	aliasClashes []AliasClash
	// displaced are the apps whose own name another app holds, and which.
	displaced map[string]string
	serial    int64
	revision  int64
	invalid   []InvalidEntry
	history   history
	// rules are those by which everything was worked out.
	rules *rules
}

// namedApp is an app and one of the names by which it is found.
type namedApp = pair[string, *App]

// placeAt is an address and what is known of it.
type placeAt = pair[netip.Addr, *place]

// App is a group of services.
type App struct {
	owner owner
	Name  string
	// services are the full names of the services by their own, by which they are
	// found in the snapshot: a change of one of them is then no change of its app.
	services  pairs[string, string]
	resources pairs[string, *Resource]
	databases pairs[string, *Resource]
	// aliases are the names by which instances are found as well; see [Service.IsAlias].
	aliases pairs[string, *Service]
}

// named is the app's name, empty if there is none.
func (a *App) named() string {
	if a == nil {
		return ""
	}
	return a.Name
}

// database is a resource by one of its names by type and group.
type database = pair[string, *Resource]

// place is what is known of an address: the instances that have it.
type place struct {
	instances []*Instance
}

// Clash is a namespace that several apps claim, one of which may have it for its
// own name. Winner holds it, Apps are those that don't, by name.
type Clash struct {
	Namespace, Winner string
	Apps              []string
}

// Kind says what a name is.
type Kind uint8

// The kinds of names.
const (
	// None is a name that doesn't exist.
	None Kind = iota
	// Empty is a name that exists and has no record of its own, such as an
	// app's (RFC 8020 calls it an empty non-terminal).
	Empty
	// AService and AnInstance are the names of such.
	AService
	AnInstance
	// Ports is a name like _http._tcp.web.shop: SRV records only.
	Ports
	// Target is the name of a resource.
	Target
)

// Match is what a name stands for, for one asker.
type Match struct {
	Kind Kind
	// Service is set for AService, AnInstance and Ports.
	Service *Service
	// Endpoints are those the asker can reach. They are shared: the caller
	// must not change them.
	Endpoints []Endpoint
	// Answers is how many addresses a reply has at most, 0 if there is no limit.
	Answers int
	// Filter chooses among the ports, for Ports; see also [Match.Wants].
	Filter PortFilter
	// Resource is set for Target.
	Resource *Resource
}

// Serial is the revision of the last change that DNS shows.
func (s *Snapshot) Serial() int64 { return s.serial }

// Revision is the revision of the last change taken in.
func (s *Snapshot) Revision() int64 { return s.revision }

// Invalid is how many entries of the registry are skipped, since they can't be
// used.
func (s *Snapshot) Invalid() int { return len(s.invalid) }

// The labels below which the zone keeps what is no service.
const (
	labelResource = "resource"
	labelTCP      = "_tcp"
	labelUDP      = "_udp"
)

// service returns the service of that name, nil if there is none.
func (s *Snapshot) service(name string) *Service {
	p, _ := s.services.get(name)
	return p.value
}

// Endpoints returns those of a service that a client is told of, which the caller
// must not change.
func (s *Snapshot) Endpoints(v *Service, c *Client) []Endpoint { return v.view(s.rules, c).told }

// Reachable returns how a client reaches a service's instances, those too that it
// isn't told of as long as others serve: see [InTurn]. The caller must not change
// them.
func (s *Snapshot) Reachable(v *Service, c *Client) []Endpoint { return v.view(s.rules, c).all }

// Match is [Snapshot.Lookup] for a service that is known already: name is relative
// to the service's own, empty for itself.
func (s *Snapshot) Match(v *Service, name string, c *Client) Match { return v.lookup(s.rules, name, c) }

// MatchResource is Lookup for a resource that is known already.
func (s *Snapshot) MatchResource(r *Resource, c *Client) Match {
	m := Match{Kind: Target, Resource: r}
	w := r.view(s.rules, c)
	m.Endpoints, m.Answers = w.toldOf(m.WantsAny), int(w.answers)
	return m
}

// Lookup returns what a name stands for. The name is in lower case, relative
// to the rack's zone, and without a dot at its end: "web.shop". Underscores
// within a label stand for dashes, as they do where names are registered.
func (s *Snapshot) Lookup(name string, c *Client) Match {
	name = registry.FoldName(name)
	m := s.lookup(name, c)
	if m.Kind == None && s.seenNames.size > 0 {
		return s.lookupSeen(name, c)
	}
	return m
}

func (s *Snapshot) lookup(name string, c *Client) Match {
	if s.displaced != nil {
		if m, ok := s.lookupHeld(name, c); ok {
			return m
		}
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		// What is before the last two labels, if anything, ends in a dot.
		above := strings.LastIndexByte(name[:dot], '.') + 1
		if v := s.service(name[above:]); v != nil {
			if m := v.lookup(s.rules, name[:max(above-1, 0)], c); m.Kind != None {
				return m
			}
		}
	}
	rest, last := cutLast(name)
	if app, ok := s.apps.get(last); ok {
		return s.lookupIn(app.value, rest, c)
	}
	if last == labelResource {
		return s.lookupResource(&s.rack, rest, c)
	}
	return Match{}
}

// cutLast splits off the last label; rest is empty if there is only one.
func cutLast(name string) (rest, last string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

func (s *Snapshot) lookupIn(a *App, name string, c *Client) Match {
	if name == "" {
		return Match{Kind: Empty}
	}
	rest, last := cutLast(name)
	if full, ok := a.services.get(last); ok {
		if v := s.service(full.value); v != nil {
			if m := v.lookup(s.rules, rest, c); m.Kind != None {
				return m
			}
		}
	} else if r, ok := a.databases.get(last); ok && rest == "" {
		return s.MatchResource(r.value, c)
	}
	if last == labelResource {
		return s.lookupResource(&a.resources, rest, c)
	}
	if alias, ok := a.aliases.get(last); ok && a.owns(last) == "" {
		return alias.value.lookup(s.rules, rest, c)
	}
	return Match{}
}

func (s *Snapshot) lookupResource(resources *pairs[string, *Resource], name string, c *Client) Match {
	if name == "" {
		if resources.size == 0 {
			return Match{}
		}
		return Match{Kind: Empty}
	}
	if r, ok := resources.get(name); ok {
		return s.MatchResource(r.value, c)
	}
	return Match{}
}

// Apps yields every app once, by name.
func (s *Snapshot) Apps() iter.Seq[*App] {
	return func(yield func(*App) bool) {
		var apps []*App
		for a := range s.apps.all() {
			if a.name == a.value.Name {
				apps = append(apps, a.value)
			}
		}
		slices.SortFunc(apps, func(x, y *App) int { return cmp.Compare(x.Name, y.Name) })
		for _, a := range apps {
			if !yield(a) {
				return
			}
		}
	}
}

// App returns an app by its name or its namespace, nil if there is none.
func (s *Snapshot) App(name string) *App {
	a, _ := s.apps.get(registry.FoldName(name))
	return a.value
}

// Services yields the services of an app of the snapshot, by name.
func (s *Snapshot) Services(a *App) iter.Seq[*Service] {
	return func(yield func(*Service) bool) {
		all := make([]*Service, 0, a.services.size)
		for name := range a.services.all() {
			if v := s.service(name.value); v != nil {
				all = append(all, v)
			}
		}
		slices.SortFunc(all, func(x, y *Service) int { return cmp.Compare(x.Name(), y.Name()) })
		for _, v := range all {
			if !yield(v) {
				return
			}
		}
	}
}

// NetworkName returns the name of a network of the node on which the index is,
// its ID if it isn't known.
func (s *Snapshot) NetworkName(id string) string {
	if s.rules.here != nil {
		if n := s.rules.here.Network(id); n != nil {
			return n.Name
		}
	}
	return id
}

// HasAgent reports whether the node on which the index is has an agent that is
// alive.
func (s *Snapshot) HasAgent() bool {
	_, ok := s.nodes[s.rules.node]
	return ok
}

// Nodes returns the nodes by name. The caller must not change the map.
func (s *Snapshot) Nodes() map[string]*registry.Node { return s.nodes }

// Drained returns the operator's word that a node is drained, nil if it isn't.
func (s *Snapshot) Drained(node string) *registry.Drained {
	if d := s.drained[node]; d != nil {
		return d
	}
	if n := s.nodes[node]; n != nil && n.Draining {
		// As older versions say it.
		return &registry.Drained{Node: node}
	}
	return nil
}

// DrainedNodes returns the operator's words on nodes, whether they have an agent or
// not, by name. The caller must not change the map.
func (s *Snapshot) DrainedNodes() map[string]*registry.Drained { return s.drained }

// Clashes returns the namespaces that several apps claim, by name.
func (s *Snapshot) Clashes() []Clash { return s.clashes }

// Reverse returns the instances at an address that serve, by ID. Only
// addresses that mean the same to every asker of this server are known.
func (s *Snapshot) Reverse(ip netip.Addr) []*Instance {
	ip = ip.Unmap()
	p, ok := s.addresses.get(ip)
	if !ok {
		return nil
	}
	var all []*Instance
	for _, i := range p.value.instances {
		if i.Serving() && !slices.Contains(i.AsksFrom(), ip) {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, byID)
	return all
}
