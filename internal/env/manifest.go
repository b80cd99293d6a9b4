package env

import "github.com/rackdns/rackdns/internal/manifest"

// FromManifest returns an input with the services and resources of a
// convox.yml; the rest of it is the caller's to fill in, and so are the URLs of
// the resources (see [Input.Fill]).
func FromManifest(m *manifest.Manifest) *Input {
	in := &Input{}
	for n := range m.Services {
		ms := &m.Services[n]
		s := Service{Name: ms.Name, Links: ms.Links, Inherit: m.Inherit || ms.Inherit}
		if ms.Port != nil {
			s.Port, s.Scheme = ms.Port.Number, ms.Port.Scheme
		}
		for _, ref := range ms.Resources {
			s.Resources = append(s.Resources, ResourceRef{Name: ref.Name, Env: ref.Env})
		}
		for _, list := range [][]manifest.Variable{m.Environment, ms.Environment} {
			for _, v := range list {
				s.Environment = append(s.Environment, Variable{Name: v.Name, Value: v.Value, Set: v.Set})
			}
		}
		in.Services = append(in.Services, s)
	}
	for _, r := range m.Resources {
		in.Resources = append(in.Resources, Resource{Name: r.Name, Type: r.Type})
	}
	return in
}

// Fill gives the resources their URLs: those of the app and those of the rack,
// by name.
func (in *Input) Fill(app, rack map[string]string) {
	for n := range in.Resources {
		r := &in.Resources[n]
		if r.OfRack {
			r.URL = rack[r.Name]
		} else {
			r.URL = app[r.Name]
		}
	}
}
