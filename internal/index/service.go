package index

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// Service is a named component of an app, with all that askers can get of it.
type Service struct {
	// few is where the views have room for what most askers get, if it isn't
	// much. An answer needs it next after the directory, so it comes first.
	few   [fewEndpoints]Endpoint
	views views

	owner     owner
	declared  *registry.Service
	instances []*Instance
	// theirs is where the few instances are kept.
	theirs [fewEndpoints]*Instance
	// name is what the instances share.
	name *serviceName
}

// fewEndpoints is how many endpoints, and instances, lie in their service.
const fewEndpoints = 3

// settle is for when all changes of the instances are made: few of them then
// lie in the service, and many don't.
func (v *Service) settle(r *rules) {
	var theirs [len(v.theirs)]*Instance
	if n := copy(theirs[:], v.instances); n == len(v.instances) {
		v.theirs = theirs
		v.instances = v.theirs[:n]
	} else {
		v.theirs = [len(v.theirs)]*Instance{}
	}
	v.views = r.views(v.instances, v.few[:0])
}

// copy returns a copy to be changed, whose views are yet to be worked out.
func (v *Service) copy(o owner) *Service {
	c := *v
	c.owner = o
	// Nothing of it may lie in the original, which would then never be freed.
	c.views, c.few, c.theirs = views{}, [len(v.few)]Endpoint{}, [len(v.theirs)]*Instance{}
	c.instances = append(c.theirs[:0], v.instances...)
	return &c
}

func (v *Service) lookup(name string, asker Asker) Match {
	if name == "" {
		return Match{Kind: AService, Service: v, Endpoints: v.views.of(asker)}
	}
	rest, last := cutLast(name)
	if last == labelTCP || last == labelUDP {
		return v.lookupPort(rest, last == labelUDP, asker)
	}
	if rest != "" || !v.knows(last) {
		return Match{}
	}
	all := v.views.of(asker)
	n, ok := sort.Find(len(all), func(n int) int { return cmp.Compare(last, all[n].ID()) })
	m := Match{Kind: AnInstance, Service: v}
	if ok {
		m.Endpoints = all[n : n+1 : n+1]
	}
	return m
}

// knows reports whether the service has an instance of that ID, serving or not.
func (v *Service) knows(id string) bool {
	_, ok := slices.BinarySearchFunc(v.instances, id, func(i *Instance, id string) int { return cmp.Compare(i.ID(), id) })
	return ok
}

func (v *Service) lookupPort(label string, udp bool, asker Asker) Match {
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
		m.Endpoints = v.views.of(asker)
	}
	return m
}

// offers reports whether any instance, serving or not, or the declaration has
// such a port.
func (v *Service) offers(f PortFilter) bool {
	for _, i := range v.instances {
		ports := i.Ports()
		for n := range ports {
			if f.Match(&ports[n]) {
				return true
			}
		}
	}
	if v.declared == nil {
		return false
	}
	return slices.ContainsFunc(v.declared.Ports, func(p registry.ServicePort) bool {
		return f.match(p.Name, p.Container, p.Protocol == registry.UDP)
	})
}

// share returns the name of an instance of the service in the form that the
// others have, if it is theirs too.
func (v *Service) share(n *serviceName) *serviceName {
	if v.name.own != n.own {
		v.name = n
	}
	return v.name
}

// App returns the name of the service's app.
func (v *Service) App() string { return v.name.app() }

// Name returns the service's name.
func (v *Service) Name() string { return v.name.service() }

// Declared returns the service's declaration, nil without one.
func (v *Service) Declared() *registry.Service { return v.declared }

// Instances returns all instances, serving or not, in the order of their IDs.
// The caller must not change them.
func (v *Service) Instances() []*Instance { return v.instances }

// Endpoints returns what the asker can reach, which the caller must not change.
func (v *Service) Endpoints(a Asker) []Endpoint { return v.views.of(a) }
