package index

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rackdns/rackdns/internal/registry"
)

// Service is a named component of an app. It never changes once it can be seen,
// but for what it remembers of what clients were told.
type Service struct {
	owner owner
	// name is <service>.<app>.
	name     string
	app      string
	service  string
	declared *registry.Service
	// instances are all that there are, by ID.
	instances []*Instance
	// alias says that it is none of its own: the name is an alias of instances.
	alias bool
	views views
}

// views remembers what clients are told of some instances.
type views struct {
	// alias is the name by which the instances are asked for, if that is one.
	alias string
	known atomic.Pointer[view]
}

func newService(o owner, service, app string) *Service {
	return &Service{owner: o, name: service + "." + app, app: interned(app), service: interned(service)}
}

// copy returns a copy to be changed, which remembers nothing.
func (v *Service) copy(o owner) *Service {
	return &Service{owner: o, name: v.name, app: v.app, service: v.service, declared: v.declared, instances: slices.Clone(v.instances), alias: v.alias}
}

func (v *Service) view(r *rules, c *Client) *view {
	return v.views.viewFor(r, v.instances, c)
}

func (v *Service) lookup(r *rules, name string, c *Client) Match {
	if name == "" {
		w := v.view(r, c)
		return Match{Kind: AService, Service: v, Endpoints: w.told, Answers: int(w.answers)}
	}
	rest, last := cutLast(name)
	if last == labelTCP || last == labelUDP {
		return v.lookupPort(r, rest, last == labelUDP, c)
	}
	if !v.knows(last) || strings.IndexByte(rest, '.') >= 0 {
		return Match{}
	}
	m := Match{Kind: AnInstance, Service: v}
	for _, e := range v.view(r, c).all {
		if e.ID() != last || e.label != rest {
			continue
		}
		// It stands for itself, with all its addresses.
		e.tell4, e.tell6 = true, true
		m.Endpoints = []Endpoint{e}
		return m
	}
	if rest != "" {
		return Match{}
	}
	return m
}

// knows reports whether the service has an instance of that ID, serving or not.
func (v *Service) knows(id string) bool {
	_, ok := slices.BinarySearchFunc(v.instances, id, func(i *Instance, id string) int { return strings.Compare(i.ID(), id) })
	return ok
}

func (v *Service) lookupPort(r *rules, label string, udp bool, c *Client) Match {
	f := PortFilter{udp: udp}
	kind := Ports
	switch {
	case label == "":
		kind = Empty
		f.any = true
	case label[0] != '_' || strings.IndexByte(label, '.') >= 0:
		return Match{}
	default:
		f.name = label[1:]
		f.number = portNumber(f.name)
	}
	if !v.offers(f) {
		return Match{}
	}
	m := Match{Kind: kind, Service: v, Filter: f}
	if kind == Ports {
		m.Endpoints = v.view(r, c).toldOf(m.WantsAny)
	}
	return m
}

// offers reports whether any instance, serving or not, or the declaration has
// such a port.
func (v *Service) offers(f PortFilter) bool {
	for _, i := range v.instances {
		for n := range i.ports {
			if f.Match(&i.ports[n]) && v.has(i, &i.ports[n]) {
				return true
			}
		}
	}
	return v.declared != nil && slices.ContainsFunc(v.declared.Ports, func(p registry.ServicePort) bool {
		return f.match(p.Name, p.Container, p.Protocol == registry.UDP)
	})
}

// App returns the name of the service's app.
func (v *Service) App() string { return v.app }

// Name returns the service's name.
func (v *Service) Name() string { return v.service }

// Declared returns the service's declaration, nil without one.
func (v *Service) Declared() *registry.Service { return v.declared }

// InTurn reports whether an instance of the service serves and is one to be
// dialled, whoever asks: one of weight 0 is not, as long as others serve.
func (v *Service) InTurn(i *Instance) bool {
	return i.Serving() && (!i.isIdle() || !slices.ContainsFunc(v.instances, func(o *Instance) bool { return o.Serving() && !o.isIdle() }))
}

// Instances returns all instances, serving or not, in the order of their IDs.
// The caller must not change them.
func (v *Service) Instances() []*Instance { return v.instances }
