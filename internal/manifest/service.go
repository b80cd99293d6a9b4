package manifest

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/registry"
)

func (r *reader) service(s *Service, n *yaml.Node, path string) error {
	f := &serviceFields{Service: s, reader: r, path: path}
	if err := r.fields(n, path, "services.*", f.reading()); err != nil {
		return err
	}
	return f.finish()
}

// serviceFields is a service of which not all has been read.
type serviceFields struct {
	*Service
	*reader
	path string
	// ports are those besides the one of links.
	ports       []Port
	annotations map[string]string
	drain       time.Duration
	grpcHealth  bool
	// minimum and maximum are of the deployment, nil unless given.
	minimum, maximum *int
	// healthLine and buildLine are where the file says so, 0 where it doesn't.
	healthLine, livenessLine, buildLine int
}

func (f *serviceFields) reading() reading {
	return reading{
		"image": func(e entry, at string) (err error) { f.Image, err = f.filled(e.value, at); return },
		"build": func(e entry, at string) (err error) {
			f.buildLine = e.line
			f.Build, err = f.build(e.value, at)
			return
		},
		"command":    func(e entry, at string) (err error) { f.Command, err = f.command(e.value, at); return },
		"entrypoint": func(e entry, at string) (err error) { f.Entrypoint, err = f.command(e.value, at); return },
		"port":       func(e entry, at string) (err error) { f.Port, err = f.port(e.value, at); return },
		"ports":      func(e entry, at string) error { return f.morePorts(e.value, at) },
		"agent":      func(e entry, at string) error { return f.agent(e.value, at) },
		"links":      func(e entry, at string) error { return f.linksOf(f.Service, e.value, at) },
		"resources":  func(e entry, at string) (err error) { f.Resources, err = f.refs(e.value, at); return },
		"environment": func(e entry, at string) (err error) {
			f.Environment, f.Inherit, err = f.environment(e.value, at)
			return
		},
		"scale":    func(e entry, at string) error { return f.scale(e.value, at) },
		"health":   func(e entry, at string) error { f.healthLine = e.line; return f.health(e.value, at) },
		"liveness": func(e entry, at string) error { f.livenessLine = e.line; return f.liveness(e.value, at) },
		"grpcHealthEnabled": func(e entry, at string) (err error) {
			f.healthLine = e.line
			f.grpcHealth, err = f.yes(e.value, at)
			return
		},
		"internal":    func(e entry, at string) (err error) { f.Internal, err = f.yes(e.value, at); return },
		"labels":      func(e entry, at string) (err error) { f.Labels, err = f.named(e.value, at); return },
		"annotations": func(e entry, at string) (err error) { f.annotations, err = f.named(e.value, at); return },
		"volumes":     func(e entry, at string) error { return f.volumes(e.value, at) },
		"volumeOptions": func(e entry, at string) error {
			return f.volumeOptions(e.value, at)
		},
		"drain":       func(e entry, at string) (err error) { f.drain, err = f.duration(e.value, at); return },
		"termination": func(e entry, at string) error { return f.termination(e.value, at) },
		"privileged":  func(e entry, at string) (err error) { f.Privileged, err = f.yes(e.value, at); return },
		"init": func(e entry, at string) error {
			init, err := f.yes(e.value, at)
			f.Init = &init
			return err
		},
		"dnsConfig":  func(e entry, at string) error { return f.dnsConfig(e.value, at) },
		"singleton":  func(e entry, at string) (err error) { f.Singleton, err = f.yes(e.value, at); return },
		"deployment": func(e entry, at string) error { return f.deployment(e.value, at) },
	}
}

// finish fills in what follows from several keys, and checks what they say of
// each other.
func (f *serviceFields) finish() error {
	switch {
	case f.Image == "" && f.Build == nil:
		f.Build = &Build{Path: ".", Dockerfile: dockerfile}
	case f.Image != "" && f.Build != nil:
		f.ignore(entry{key: "build", line: f.buildLine}, f.path+".build", "the image is given")
		f.Build = nil
	}
	if f.Agent {
		f.Count, f.Singleton = 1, true
	}
	f.Labels = merged(f.annotations, f.Labels)
	f.StopTimeout = max(f.StopTimeout, f.drain)
	if err := f.finishHealth(); err != nil {
		return err
	}
	if err := f.finishDeployment(); err != nil {
		return err
	}
	return f.allPorts(f.Service, f.ports, f.path)
}

// filled is text that is not empty.
func (r *reader) filled(n *yaml.Node, path string) (string, error) {
	s, err := r.text(n, path)
	if err == nil && strings.TrimSpace(s) == "" {
		err = r.errorf(n.Line, path, "is empty")
	}
	return s, err
}

// dockerfile is the file that says how to build unless another one is given.
const dockerfile = "Dockerfile"

func (r *reader) build(n *yaml.Node, path string) (*Build, error) {
	b := &Build{Path: ".", Dockerfile: dockerfile}
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		var err error
		b.Path, err = r.filled(n, path)
		return b, err
	}
	file := ""
	recipe := func(e entry, at string) (err error) {
		if file != "" {
			return r.errorf(e.line, at, "says the same as %s; give one of them", file)
		}
		file = e.key
		b.Dockerfile, err = r.filled(e.value, at)
		return err
	}
	return b, r.fields(n, path, "services.*.build", reading{
		"path":       func(e entry, at string) (err error) { b.Path, err = r.filled(e.value, at); return },
		"manifest":   recipe,
		"dockerfile": recipe,
		"args":       func(e entry, at string) (err error) { b.Args, err = r.named(e.value, at); return },
		"target":     func(e entry, at string) (err error) { b.Target, err = r.filled(e.value, at); return },
	})
}

func (r *reader) linksOf(s *Service, n *yaml.Node, path string) error {
	items, err := r.list(n, path)
	if err != nil {
		return err
	}
	for _, i := range items {
		link, err := r.text(i, path)
		if err != nil {
			return err
		}
		if service, _, ok := strings.Cut(link, ":"); ok {
			return r.errorf(i.Line, path, "%s: a link has no other name than its service's; want %s", registry.Quote(link), registry.Quote(service))
		}
		if err := r.name(i.Line, path, "service", link); err != nil {
			return err
		}
		s.Links = append(s.Links, link)
		r.links = append(r.links, linkAt{s.Name, link, i.Line})
	}
	return nil
}

func (r *reader) refs(n *yaml.Node, path string) ([]ResourceRef, error) {
	items, err := r.list(n, path)
	if err != nil {
		return nil, err
	}
	var all []ResourceRef
	for _, i := range items {
		s, err := r.text(i, path)
		if err != nil {
			return nil, err
		}
		name, env, ok := strings.Cut(s, ":")
		if err := r.name(i.Line, path, "resource", name); err != nil {
			return nil, err
		}
		if ok && !IsVariable(env) {
			return nil, r.errorf(i.Line, path, "%s: %s is not the name of an environment variable", registry.Quote(s), registry.Quote(env))
		}
		all = append(all, ResourceRef{Name: name, Env: env, Line: i.Line})
	}
	return all, nil
}
