package compose

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/manifest"
	"github.com/rackdns/rackdns/internal/registry"
)

// Links returns the variables that lead a service to those that it links to: by
// links, by the label rackdns.links, and by depends_on where there is a port to
// lead to.
func (p *Project) Links(name, rack, suffix string, style env.Style) ([]env.Variable, error) {
	s, err := p.service(name)
	if err != nil {
		return nil, err
	}
	app, service := p.identity(&s)
	in := &env.Input{Rack: rack, Suffix: suffix, App: app, Service: service, Style: style}
	for _, o := range p.sorted() {
		_, called := p.identity(&o)
		is := env.Service{Name: called}
		is.Port, is.Scheme = p.port(&o)
		if o.Name == s.Name {
			is.Links = p.linked(&s)
		} else {
			// What the target says of how it is linked to.
			for _, key := range []string{"LINK_SCHEME", "LINK_USERNAME", "LINK_PASSWORD", "LINK_PORT", "LINK_PATH"} {
				if v := o.Environment[key]; v != nil {
					is.Environment = append(is.Environment, env.Variable{Name: key, Value: *v, Set: true})
				}
			}
		}
		in.Services = append(in.Services, is)
	}
	all, err := in.Variables()
	return slices.DeleteFunc(all, func(v env.Variable) bool { return slices.Contains(manifest.Own, v.Name) }), err
}

// linked returns what a service links to, each once.
func (p *Project) linked(s *types.ServiceConfig) []string {
	var all []string
	add := func(name string) {
		if o, err := p.service(name); err == nil {
			_, name = p.identity(&o)
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	for _, l := range s.Links {
		name, _, _ := strings.Cut(l, ":")
		add(name)
	}
	for _, l := range strings.FieldsFunc(s.Labels[label.Links], func(r rune) bool { return r == ',' || r == ' ' }) {
		add(l)
	}
	for _, name := range s.GetDependencies() {
		if o, err := p.service(name); err == nil {
			if port, _ := p.port(&o); port != 0 {
				add(name)
			}
		}
	}
	slices.Sort(all)
	return all
}

// port returns the port that links lead to, the first one of TCP that is in the
// file, and its scheme: what LINK_SCHEME of its environment or a label says, http
// and https at their own ports, else tcp.
func (p *Project) port(s *types.ServiceConfig) (uint16, string) {
	listens, _, _ := ports(s)
	for _, l := range listens {
		number, protocol, _ := strings.Cut(l, "/")
		v, err := strconv.ParseUint(number, 10, 16)
		if err != nil || protocol != registry.TCP {
			continue
		}
		scheme := registry.TCP
		switch number {
		case "80":
			scheme = "http"
		case "443":
			scheme = "https"
		}
		if named := s.Environment["LINK_SCHEME"]; named != nil {
			scheme = *named
		}
		return uint16(v), cmp.Or(s.Labels[label.Prefix+"port."+number], scheme)
	}
	return 0, ""
}
