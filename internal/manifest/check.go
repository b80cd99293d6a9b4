package manifest

import (
	"slices"

	"github.com/rackdns/rackdns/internal/registry"
)

// check looks at what one part of the file says of another.
func (r *reader) check(m *Manifest) error {
	services := map[string]*Service{}
	for n := range m.Services {
		services[m.Services[n].Name] = &m.Services[n]
	}
	for _, l := range r.links {
		path := below("services", l.service) + ".links"
		switch target := services[l.target]; {
		case target == nil:
			return r.errorf(l.line, path, "service %s links to a service that does not exist: %s", l.service, l.target)
		case target.Port == nil:
			return r.errorf(l.line, path, "service %s links to a service without a port: %s", l.service, l.target)
		}
	}
	for _, t := range m.Timers {
		if services[t.Service] == nil {
			return r.errorf(t.Line, below("timers", t.Name)+".service", "timer %s runs a service that does not exist: %s", t.Name, registry.Quote(t.Service))
		}
	}
	types := map[string]string{}
	for _, res := range m.Resources {
		types[res.Name] = res.Type
	}
	for n := range m.Services {
		if err := r.checkVariables(&m.Services[n], types); err != nil {
			return err
		}
	}
	return nil
}

// checkVariables refuses what would give one variable two values.
func (r *reader) checkVariables(s *Service, types map[string]string) error {
	path := below("services", s.Name)
	givenBy := map[string]string{}
	for _, l := range r.links {
		if l.service != s.Name {
			continue
		}
		v := VariableOf(l.target) + Suffixes[0]
		if givenBy[v] != "" {
			return r.errorf(l.line, path+".links", "%s and link %s both give %s", givenBy[v], l.target, v)
		}
		givenBy[v] = "link " + l.target
	}
	for _, ref := range s.Resources {
		at := path + ".resources"
		kind, ok := types[ref.Name]
		if !ok {
			return r.errorf(ref.Line, at, "service %s references a resource that does not exist: %s", s.Name, ref.Name)
		}
		if slices.Contains(Own, ref.Env) {
			return r.errorf(ref.Line, at, "resource %s: the rack itself gives %s", ref.Name, ref.Env)
		}
		if kind == TypeEFS {
			continue
		}
		for _, v := range ref.Variables() {
			if givenBy[v] != "" {
				return r.errorf(ref.Line, at, "%s and resource %s both give %s", givenBy[v], ref.Name, v)
			}
			givenBy[v] = "resource " + ref.Name
		}
	}
	return nil
}
