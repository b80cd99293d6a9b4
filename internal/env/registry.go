package env

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// FromRegistry returns an input for a service as the registry has it: what is
// declared of its app, and what the labels of its instances add. Suffix, Given,
// Style, Via and the URLs of the resources are the caller's to fill in.
func FromRegistry(s *index.Snapshot, rack, app, service string) (*Input, error) {
	a, err := s.AppNamed(app)
	if err != nil {
		return nil, err
	}
	in := &Input{Rack: rack, App: a.Name, Service: service}
	for v := range s.Services(a) {
		in.Services = append(in.Services, registered(v))
	}
	own, err := in.find(service)
	if err != nil {
		return nil, err
	}
	for r := range a.Resources() {
		in.Resources = append(in.Resources, Resource{Name: r.Name, Type: r.Type})
	}
	for r := range s.Resources() {
		if slices.Contains(r.Links, a.Name) || slices.Contains(r.Links, a.Name+"/"+service) {
			if err := in.linked(own, r.Name, r.Type); err != nil {
				return nil, err
			}
		}
	}
	in.Release = releaseOf(s, a.Name, service)
	in.Ways(s)
	return in, nil
}

// linked adds a resource of the rack that is linked to the service.
func (in *Input) linked(own *Service, name, kind string) error {
	for _, ref := range own.Resources {
		if ref.Name == name {
			return fmt.Errorf("service %s: its app and the rack each have a resource %s for it", own.Name, name)
		}
	}
	own.Resources = append(own.Resources, ResourceRef{Name: name})
	// One of that name that the app has is others'.
	in.Resources = slices.DeleteFunc(in.Resources, func(r Resource) bool { return r.Name == name })
	in.Resources = append(in.Resources, Resource{Name: name, Type: kind, OfRack: true})
	return nil
}

// registered returns what is declared of a service, and what its instances ask
// for by label.
func registered(v *index.Service) Service {
	s := Service{Name: v.Name()}
	if d := v.Declared(); d != nil {
		s.Links = slices.Clone(d.Links)
		for _, ref := range d.Resources {
			name, env, _ := strings.Cut(ref, ":")
			s.Resources = append(s.Resources, ResourceRef{Name: name, Env: env})
		}
		for _, name := range d.Environment {
			// Whether the manifest has a value for it isn't known here.
			if s.Inherit = s.Inherit || name == registry.EnvironmentAll; name != registry.EnvironmentAll {
				s.Environment = append(s.Environment, Variable{Name: name, Optional: true})
			}
		}
		if len(d.Ports) > 0 {
			s.Port, s.Scheme = d.Ports[0].Container, d.Ports[0].Scheme
		}
	}
	for _, i := range v.Instances() {
		for _, l := range i.Links() {
			if !slices.Contains(s.Links, l) {
				s.Links = append(s.Links, l)
			}
		}
	}
	if s.Port == 0 {
		s.Port, s.Scheme = portOf(v.Instances())
	}
	return s
}

// portOf returns the port that links lead to where none is declared: the one
// named after a scheme of the web, else the lowest, TCP before UDP.
func portOf(instances []*index.Instance) (port uint16, scheme string) {
	names := []string{"http", "https"}
	// rank orders ports, the best first.
	rank := func(p *index.Port) int {
		n := slices.Index(names, p.Name())
		switch {
		case p.UDP:
			return len(names) + 1
		case n < 0:
			return len(names)
		}
		return n
	}
	best := -1
	for _, i := range instances {
		ports := i.Ports()
		for n := range ports {
			p := &ports[n]
			if r := rank(p); best < 0 || r < best || r == best && p.Container < port {
				best, port = r, p.Container
			}
		}
	}
	switch {
	case best >= 0 && best < len(names):
		scheme = names[best]
	case best > len(names):
		scheme = registry.UDP
	}
	return port, scheme
}

// releaseOf returns the release of the newest running instance of a service.
func releaseOf(s *index.Snapshot, app, service string) string {
	var newest *index.Instance
	for _, i := range instancesOf(s, app, service) {
		if i.Status() == registry.StatusRunning && (newest == nil || i.Started().After(newest.Started())) {
			newest = i
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Release()
}

func instancesOf(s *index.Snapshot, app, service string) []*index.Instance {
	if v := s.ServiceOf(app, service); v != nil {
		return v.Instances()
	}
	return nil
}

// Ways makes the registry say where links lead that don't go by names in DNS.
func (in *Input) Ways(s *index.Snapshot) {
	in.Endpoint = func(service string) (netip.AddrPort, error) {
		var port uint16
		if v := in.lookup(service); v != nil {
			port = v.Port
		}
		return hostEndpoint(s, in.App, service, port)
	}
	ways := map[string]uint16{}
	for _, i := range instancesOf(s, in.App, in.Service) {
		connects := i.Connect()
		for _, port := range slices.Sorted(maps.Keys(connects)) {
			if known, ok := ways[connects[port]]; !ok || port < known {
				ways[connects[port]] = port
			}
		}
	}
	in.Connect = func(service string) (uint16, bool) {
		for _, name := range []string{service, service + "." + in.App, in.HostOf(service)} {
			if port, ok := ways[name]; ok {
				return port, true
			}
		}
		return 0, false
	}
}

// hostEndpoint returns where one of the serving instances of a service has
// published a port: one of those that come first, by chance and weight.
func hostEndpoint(s *index.Snapshot, app, service string, port uint16) (netip.AddrPort, error) {
	var (
		best    []netip.AddrPort
		weights []int
		first   uint16
		serving int
	)
	var endpoints []index.Endpoint
	if v := s.ServiceOf(app, service); v != nil {
		endpoints = index.InTurn(s.Reachable(v, index.Stranger()), func(e *index.Endpoint) bool {
			_, ok := publishedAt(e, port)
			return ok
		})
		for _, i := range v.Instances() {
			if i.Serving() {
				serving++
			}
		}
	}
	for n := range endpoints {
		e := &endpoints[n]
		at, ok := publishedAt(e, port)
		if !ok || len(best) > 0 && e.Priority() > first {
			continue
		}
		if len(best) > 0 && e.Priority() < first {
			best, weights = nil, nil
		}
		first = e.Priority()
		best, weights = append(best, at), append(weights, int(e.Weight()))
	}
	switch {
	case len(best) > 0:
		return best[chance(weights)], nil
	case serving > 0:
		return netip.AddrPort{}, fmt.Errorf("none of its %d serving instances has published port %d", serving, port)
	}
	return netip.AddrPort{}, errors.New("no instance of it serves")
}

// publishedAt returns where an endpoint has published a port of its container.
func publishedAt(e *index.Endpoint, port uint16) (netip.AddrPort, bool) {
	addrs := e.All()
	if e.Network() != "" || len(addrs) == 0 {
		return netip.AddrPort{}, false
	}
	ports := e.Ports()
	for n := range ports {
		if number := e.Number(&ports[n]); ports[n].Container == port && number != 0 {
			return netip.AddrPortFrom(addrs[0], number), true
		}
	}
	return netip.AddrPort{}, false
}

// chance returns the position of one of the weights, as often as it weighs.
func chance(weights []int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := rand.IntN(sum)
	for i, w := range weights {
		if n -= w; n < 0 {
			return i
		}
	}
	return 0
}

// Waiting returns those of the dependencies that have no serving instance. A
// resource that isn't backed by instances has none to wait for.
func (in *Input) Waiting(s *index.Snapshot, all []Dependency) []Dependency {
	serves := func(instances []*index.Instance) bool {
		return slices.ContainsFunc(instances, (*index.Instance).Serving)
	}
	return slices.DeleteFunc(slices.Clone(all), func(d Dependency) bool {
		if d.Resource == nil {
			return serves(instancesOf(s, in.App, d.Name))
		}
		a := s.App(in.App)
		if a == nil {
			return false
		}
		for r := range a.Resources() {
			if r.Name == d.Name {
				return !r.Backed || serves(r.Instances())
			}
		}
		return false
	})
}

// InstanceOf returns the instance with an ID, of whatever service, nil if there
// is none.
func InstanceOf(s *index.Snapshot, id string) *index.Instance {
	for a := range s.Apps() {
		for v := range s.Services(a) {
			for _, i := range v.Instances() {
				if i.ID() == id {
					return i
				}
			}
		}
	}
	return nil
}
