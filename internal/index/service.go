package index

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// Service is a named component of an app, with all that askers can get of it.
//
// In most services on other nodes whoever asks gets the same: all instances,
// which are few. These take two lines of the cache here, with hardly a pointer
// for the garbage collector to follow, and the others have more elsewhere.
type Service struct {
	// few are the endpoints that an asker gets of whom nothing is known, told
	// of them, unless they have no room here.
	few  [fewEndpoints]Endpoint
	told uint8

	owner owner
	// name is what the instances share.
	name *serviceName
	// more is nil if there is nothing but the instances of few. It is never nil
	// while the service can be changed.
	more *serviceMore
}

// fewEndpoints is how many endpoints lie in their service.
const fewEndpoints = 3

// serviceMore is what not every service has.
type serviceMore struct {
	declared *registry.Service
	// instances are all that there are.
	instances []*Instance
	views     views
}

// settle is for when all changes of the service are made.
func (v *Service) settle(r *rules) {
	m := v.more
	m.views = r.views(m.instances)
	if all := m.views.outside; len(all) <= len(v.few) {
		v.told = uint8(copy(v.few[:], all))
		m.views.outside = v.few[:v.told:v.told]
	}
	m.instances = slices.Clip(m.instances)
	if m.declared == nil && m.views.local == nil && int(v.told) == len(m.instances) {
		v.more = nil
	}
}

// copy returns a copy to be changed, whose views are yet to be worked out.
func (v *Service) copy(o owner) *Service {
	// Nothing of it may lie in the original, which would then never be freed.
	return &Service{owner: o, name: v.name, more: &serviceMore{declared: v.Declared(), instances: slices.Clone(v.Instances())}}
}

// of returns what an asker gets.
func (v *Service) of(a Asker) view {
	if v.more == nil {
		return v.few[:v.told:v.told]
	}
	return v.more.views.of(a)
}

// size is how many instances there are, serving or not, and at returns one of
// them: they are in the order of their IDs.
func (v *Service) size() int {
	if v.more == nil {
		return int(v.told)
	}
	return len(v.more.instances)
}

func (v *Service) at(n int) *Instance {
	if v.more == nil {
		return v.few[n].Instance
	}
	return v.more.instances[n]
}

func (v *Service) lookup(name string, asker Asker) Match {
	if name == "" {
		return Match{Kind: AService, Service: v, Endpoints: v.of(asker)}
	}
	rest, last := cutLast(name)
	if last == labelTCP || last == labelUDP {
		return v.lookupPort(rest, last == labelUDP, asker)
	}
	if rest != "" || !v.knows(last) {
		return Match{}
	}
	all := v.of(asker)
	n, ok := sort.Find(len(all), func(n int) int { return cmp.Compare(last, all[n].ID()) })
	m := Match{Kind: AnInstance, Service: v}
	if ok {
		m.Endpoints = all[n : n+1 : n+1]
	}
	return m
}

// knows reports whether the service has an instance of that ID, serving or not.
func (v *Service) knows(id string) bool {
	_, ok := sort.Find(v.size(), func(n int) int { return cmp.Compare(id, v.at(n).ID()) })
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
		m.Endpoints = v.of(asker)
	}
	return m
}

// offers reports whether any instance, serving or not, or the declaration has
// such a port.
func (v *Service) offers(f PortFilter) bool {
	for at := range v.size() {
		ports := v.at(at).Ports()
		for n := range ports {
			if f.Match(&ports[n]) {
				return true
			}
		}
	}
	declared := v.Declared()
	if declared == nil {
		return false
	}
	return slices.ContainsFunc(declared.Ports, func(p registry.ServicePort) bool {
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
func (v *Service) Declared() *registry.Service {
	if v.more == nil {
		return nil
	}
	return v.more.declared
}

// Instances returns all instances, serving or not, in the order of their IDs.
// The caller must not change them.
func (v *Service) Instances() []*Instance {
	if v.more != nil {
		return v.more.instances
	}
	all := make([]*Instance, v.told)
	for n := range all {
		all[n] = v.few[n].Instance
	}
	return all
}

// Endpoints returns what the asker can reach, which the caller must not change.
func (v *Service) Endpoints(a Asker) []Endpoint { return v.of(a) }
