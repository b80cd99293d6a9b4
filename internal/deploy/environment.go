package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/manifest"
	"github.com/rackdns/rackdns/internal/registry"
)

// takeShared adds the environment that the rack has for the app, over which what is
// given for this run wins. A release that is brought back has its own.
func (u *up) takeShared(ctx context.Context) error {
	if u.cfg.back != nil && !u.cfg.promoted {
		u.shared = u.cfg.back.Shared
		return nil
	}
	all, err := u.registry.AppEnvironment(ctx, u.app)
	if err != nil {
		return err
	}
	for name := range u.cfg.Given {
		delete(all, name)
	}
	u.shared = slices.Sorted(maps.Keys(all))
	maps.Copy(all, u.cfg.Given)
	u.cfg.Given = all
	return nil
}

// listedBy are the names of the variables that a service lists, for who makes its
// environment without the manifest.
func (u *up) listedBy(s *manifest.Service) []string {
	var names []string
	for _, list := range [][]manifest.Variable{u.cfg.Manifest.Environment, s.Environment} {
		for _, v := range list {
			names = append(names, v.Name)
		}
	}
	if u.cfg.Manifest.Inherit || s.Inherit {
		names = append(names, registry.EnvironmentAll)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// input returns what the environments of all services depend on, without the
// URLs of resources.
func (u *up) input() *env.Input {
	in := env.FromManifest(u.cfg.Manifest)
	in.Rack, in.Suffix, in.App, in.Given = u.rack, u.cfg.Suffix, u.app, u.cfg.Given
	for n := range in.Services {
		ask(&in.Services[n], in.Given, u.ask)
	}
	return in
}

// ask asks whoever brings the app up, and keeps the answer.
func (u *up) ask(name string) (string, bool) {
	value, ok := u.cfg.Ask(name)
	if ok {
		u.asked[name] = value
	}
	return value, ok
}

// ask looks up the variables that a service lists and that have no value. It is
// as if the manifest had said it of this service: what one service is given is
// nothing to another.
func ask(s *env.Service, given map[string]string, lookup func(string) (string, bool)) {
	known := maps.Clone(given)
	if known == nil {
		known = map[string]string{}
	}
	for _, v := range s.Environment {
		if v.Set {
			known[v.Name] = v.Value
		}
	}
	for n := range s.Environment {
		v := &s.Environment[n]
		if _, ok := known[v.Name]; ok {
			continue
		}
		if value, ok := lookup(v.Name); ok {
			v.Value, v.Set = value, true
		}
	}
}

// environmentOf returns the variables of a service's container.
func (u *up) environmentOf(service, release string) ([]string, error) {
	in := *u.env
	in.Service, in.Release = service, release
	variables, err := in.Variables()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u.cfg.Manifest.File, err)
	}
	list := make([]string, 0, len(variables))
	for _, v := range variables {
		list = append(list, v.Name+"="+v.Value)
	}
	slices.Sort(list)
	return list, nil
}

// linkRack gives services the resources of the rack that are linked to them or
// to all of the app, and returns the URLs of those.
func (u *up) linkRack(ctx context.Context) (map[string]string, error) {
	rack, err := u.registry.Declared(ctx, "", true)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(rack.Resources)) {
		r := rack.Resources[name]
		linked := false
		for n := range u.env.Services {
			s := &u.env.Services[n]
			if slices.Contains(r.Links, u.app) || slices.Contains(r.Links, u.app+"/"+s.Name) {
				s.Resources = append(s.Resources, env.ResourceRef{Name: name})
				linked = true
			}
		}
		if !linked {
			continue
		}
		if slices.ContainsFunc(u.env.Resources, func(own env.Resource) bool { return own.Name == name }) {
			return nil, fmt.Errorf("%s: resource %s: the rack has one of that name too, and it is linked to app %s", u.cfg.Manifest.File, name, u.app)
		}
		u.env.Resources = append(u.env.Resources, env.Resource{Name: name, Type: r.Type, OfRack: true})
	}
	return rack.Secrets, nil
}
