package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/volume"

	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/manifest"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
)

// ownData is why a resource has one container.
const ownData = "two would each have data of their own: bring the app up there, or give its URL in the app's environment"

// component is a service or a resource of the app: what is wanted of it, and
// what there is.
type component struct {
	// name is what the manifest calls it, service what its instances are
	// registered as.
	name, service string
	resource      bool
	// only says why no other node may run it, if none may.
	only string
	// space is how its containers are replaced.
	space room
	count int
	// timer is nil but for one, and of is the service that it is of.
	timer *manifest.Timer
	of    *component
	// once says that its containers have something to do and end then; ends, that
	// they may.
	once, ends bool
	// image is what it is called, once it is known.
	image string
	build *manifest.Build
	spec  spec
	hash  string
	// environment returns the variables of a container of that release.
	environment func(release string) ([]string, error)
	have        []*existing
	steps       []step
	// Of a resource: its type, what it is made of, and why that can't be if there
	// are data.
	kind    *resource.Type
	made    *resource.Spec
	refused error
	// changed says that its server was given another password.
	changed bool
}

// String names it in errors.
func (c *component) String() string {
	switch {
	case c.resource:
		return "resource " + c.name
	case c.timer != nil:
		return "timer " + c.name
	}
	return "service " + c.name
}

// complete computes the hash of a component about which all else is known. The
// release is none of what it is made of, but variables of the user's may be
// called like it.
func (c *component) complete() error {
	var err error
	if c.spec.Env, err = c.environment(""); err != nil {
		return err
	}
	c.hash = c.spec.hash()
	return nil
}

// zone is the domain of the rack.
func (u *up) zone() string { return u.rack + "." + u.cfg.Suffix }

func (u *up) labels(service string) map[string]string {
	return map[string]string{label.UpRack: u.rack, label.App: u.app, label.Service: service}
}

// resourceInterval is the time between two checks of a resource. Those who wait
// for it wait that long, where the engine knows no interval of its own for the
// start. A check has more time than that: on a busy host the engine needs a
// second or two to begin one.
const (
	resourceInterval = 2 * time.Second
	resourceTimeout  = 5 * time.Second
	resourceGrace    = time.Minute
)

// resources works out the components of the app's own resources, and what is to
// be declared of all of them.
func (u *up) resources(ctx context.Context, secrets map[string]string) ([]*component, error) {
	var all []*component
	for _, r := range u.cfg.Manifest.Resources {
		at := fmt.Sprintf("%s:%d: resource %s", u.cfg.Manifest.File, r.Line, r.Name)
		if u.byHand[r.Name] {
			u.say(r.Name, "is elsewhere: it was declared with a URL")
			continue
		}
		declared := &registry.Resource{App: u.app, Name: r.Name, Type: r.Type, Manager: registry.ManagerUp, Options: map[string]string{}}
		u.declared.Resources[r.Name] = declared
		if u.env.Outside(r.Name) {
			// Its URL stays where the user has it: the secret, if there is one,
			// is that of data which are here.
			declared.Host, declared.Port = resource.Locate(u.env.Given[manifest.VariableOf(r.Name)+manifest.Suffixes[0]])
			u.say(r.Name, "is elsewhere: the app's environment says where")
			continue
		}
		kind := resource.Lookup(r.Type)
		if kind == nil {
			return nil, fmt.Errorf("%s: a resource of type %s can't be run here: the app's environment has to give its URL", at, r.Type)
		}
		host := r.Name + ".resource." + u.app + "." + u.zone()
		made, refused, err := u.specify(ctx, kind, r, keptURL(secrets[r.Name], r.Name+".resource."+u.app+"."))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if made.Image == "" {
			u.say(r.Name, "a resource of type %s has no meaning here, and gives no variable", r.Type)
			continue
		}
		c := u.resource(r, &made)
		if refused != nil {
			c.refused = &InputError{fmt.Errorf("%s: %w", at, refused)}
		}
		all = append(all, c)
		u.urls[r.Name] = made.URL(host)
		declared.Port = made.Port
		maps.Copy(declared.Options, made.Options)
	}
	return all, nil
}

// takeByHand takes resources of the manifest that somebody has declared by hand,
// with a URL, for ones that are elsewhere, as if the app's environment said so.
func (u *up) takeByHand(d *registry.Declared) {
	u.byHand = map[string]bool{}
	u.env.Given = maps.Clone(u.env.Given)
	if u.env.Given == nil {
		u.env.Given = map[string]string{}
	}
	for name, r := range d.Resources {
		variable := manifest.VariableOf(name) + manifest.Suffixes[0]
		url, ok := d.Secrets[name]
		if _, given := u.env.Given[variable]; given || !ok || r.Manager == registry.ManagerUp {
			continue
		}
		if !slices.ContainsFunc(u.cfg.Manifest.Resources, func(m manifest.Resource) bool { return m.Name == name }) {
			continue
		}
		u.env.Given[variable] = url
		u.byHand[name] = true
	}
}

// specify works out what to run for a resource. What can't be changed since there
// may be data is refused, should there be some; only once there is an image can
// anybody look.
func (u *up) specify(ctx context.Context, kind *resource.Type, r manifest.Resource, url string) (_ resource.Spec, refused, err error) {
	data := u.volumeOf(volumeName(u.rack, u.app, r.Name))
	if data != nil && data.Labels[label.Resource] != "" && data.Labels[label.Resource] != r.Type {
		// What another type was used with is no matter of this one, whose server
		// is refused that volume.
		made, err := kind.Next(r.Options, resource.Past{})
		return made, nil, err
	}
	past, err := resource.PastOf(url, data != nil)
	if err != nil {
		return resource.Spec{}, nil, err
	}
	for _, e := range u.have {
		if past.Known || e.resource != r.Name || e.service != resourceService(r.Type, r.Name) {
			continue
		}
		// The registry has lost it, and its container still knows.
		if past.Account, err = u.accountOf(ctx, e); err != nil {
			return resource.Spec{}, nil, err
		}
		past.Known = true
	}
	made, err := kind.Next(r.Options, past)
	var fixed *resource.FixedError
	if !errors.As(err, &fixed) {
		return made, nil, err
	}
	past.Data = false
	made, err = kind.Next(r.Options, past)
	return made, fixed, err
}

// volumeOf returns the volume of that name if it is one of the app's resources,
// nil if there is none.
func (s *site) volumeOf(name string) *volume.Volume {
	n := slices.IndexFunc(s.data, func(v *volume.Volume) bool { return v.Name == name })
	if n < 0 {
		return nil
	}
	return s.data[n]
}

// keptURL is the one of a resource that was made here before, "" without: it may
// have had a name in another zone.
func keptURL(url, host string) string {
	if at, _ := resource.Locate(url); strings.HasPrefix(at, host) {
		return url
	}
	return ""
}

func (u *up) resource(r manifest.Resource, made *resource.Spec) *component {
	c := &component{
		name: r.Name, service: resourceService(r.Type, r.Name), resource: true, only: ownData, space: alone, count: 1, image: made.Image,
		environment: func(string) ([]string, error) { return made.Env, nil },
		kind:        resource.Lookup(r.Type), made: made,
	}
	c.spec = spec{
		Command: made.Command,
		Labels:  u.labels(c.service),
		Ports:   []string{portName(made.Port, registry.TCP)},
		Health: &check{
			URL:      made.Probe,
			Interval: resourceInterval, Timeout: resourceTimeout, Grace: resourceGrace,
		},
	}
	c.spec.Labels[label.Resource], c.spec.Labels[label.ResourceName] = r.Type, r.Name
	if made.Volume != "" {
		c.spec.Volume, c.spec.Data = volumeName(u.rack, u.app, r.Name), made.Volume
	}
	return c
}

// services works out the components of the app's services.
func (u *up) services(resources []*component) (all []*component, err error) {
	var missing []*env.MissingError
	for n := range u.cfg.Manifest.Services {
		s := &u.cfg.Manifest.Services[n]
		at := fmt.Sprintf("%s:%d: service %s", u.cfg.Manifest.File, s.Line, s.Name)
		for _, r := range resources {
			if r.service == s.Name {
				return nil, fmt.Errorf("%s: resource %s has that name too, by its type", at, r.name)
			}
		}
		if _, ok := s.Labels[label.Ignore]; ok {
			return nil, fmt.Errorf("%s: label %s: what is left out of DNS can't be seen to serve", at, label.Ignore)
		}
		if err := u.checkLabels(s.Labels); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if s.Build != nil && u.cfg.back == nil {
			if err := checkBuild(u.cfg.Dir, s.Build); err != nil {
				return nil, fmt.Errorf("%s: build: %w", at, err)
			}
		}
		c := u.service(s)
		if c.spec.settings, err = u.settingsOf(s); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		var lacks *env.MissingError
		if _, err := c.environment(""); errors.As(err, &lacks) {
			missing = append(missing, lacks)
		} else if err != nil {
			return nil, err
		}
		all = append(all, c)
		u.declared.Services[s.Name] = u.declaration(s)
		if err := u.declared.Services[s.Name].Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s: %w", u.cfg.Manifest.File, env.AllMissing(missing))
	}
	return all, nil
}

// checkLabels refuses labels that would give the container to somebody else, or
// say that somebody else has made it.
func (u *up) checkLabels(labels map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if strings.HasPrefix(key, label.UpPrefix) {
			return fmt.Errorf("label %s: only rackdns itself sets it", key)
		}
	}
	if rack := labels[label.Rack]; rack != "" && rack != u.rack {
		return fmt.Errorf("label %s: is rack %s, and the app is brought up in rack %s", label.Rack, rack, u.rack)
	}
	return nil
}

func (u *up) service(s *manifest.Service) *component {
	c := &component{
		name: s.Name, service: s.Name, count: s.Count, image: s.Image, build: s.Build, space: roomOf(s.Deployment, s.Count),
		environment: func(release string) ([]string, error) { return u.environmentOf(s.Name, release) },
	}
	c.spec = spec{Command: s.Command, Labels: maps.Clone(s.Labels), Published: !s.Internal}
	if c.spec.Labels == nil {
		c.spec.Labels = map[string]string{}
	}
	maps.Copy(c.spec.Labels, u.labels(s.Name))
	if len(s.Links) > 0 {
		c.spec.Labels[label.Links] = strings.Join(s.Links, ",")
	}
	for _, p := range s.Ports {
		c.spec.Ports = append(c.spec.Ports, portName(p.Number, p.Protocol))
		if key := portLabel(p); schemeName(p) != "" && c.spec.Labels[key] == "" {
			c.spec.Labels[key] = schemeName(p)
		}
	}
	c.spec.Health = healthOf(s)
	if s.Singleton && !s.Agent {
		c.only = "it is a singleton: bring the app up there"
	}
	c.once = s.Labels[label.Once] == "true"
	// What nobody can connect to may be there for what it does, and not to stay.
	c.ends = c.once || s.Singleton && len(s.Ports) == 0
	return c
}

// healthOf returns the check of a service's containers, nil without one. What only
// has to be alive serves as soon as it is.
func healthOf(s *manifest.Service) *check {
	if s.Health == nil && s.Liveness == nil {
		return nil
	}
	url := func(h *manifest.Health) string {
		switch {
		case h.GRPC:
			return probeURL("grpc", s.Port.Number, "")
		case s.Port.Scheme == "https":
			return probeURL("https", s.Port.Number, h.Path)
		}
		return probeURL("http", s.Port.Number, h.Path)
	}
	is := cmp.Or(s.Health, s.Liveness)
	c := &check{URL: url(is), Interval: is.Interval, Timeout: is.Timeout, Grace: is.Grace}
	if l := s.Liveness; l != nil {
		c.Liveness = &alive{URL: url(l), Grace: l.Grace, Failures: l.Failures}
		c.Interval = min(c.Interval, l.Interval)
		if s.Health != nil {
			// Both are asked at the same time.
			c.Timeout = max(c.Timeout, l.Timeout)
		}
	}
	return c
}

func portName(number uint16, protocol string) string {
	return strconv.Itoa(int(number)) + "/" + protocol
}

// schemeName is the name that a port has by its scheme, if that can be a name.
func schemeName(p manifest.Port) string {
	if !registry.IsLabel(p.Scheme) {
		return ""
	}
	return p.Scheme
}

func portLabel(p manifest.Port) string {
	key := label.Prefix + "port." + strconv.Itoa(int(p.Number))
	if p.Protocol == registry.UDP {
		key += "/" + registry.UDP
	}
	return key
}

// declaration is what the registry is told of a service.
func (u *up) declaration(s *manifest.Service) *registry.Service {
	d := &registry.Service{App: u.app, Service: s.Name, Namespace: u.app, Ports: []registry.ServicePort{}, Links: slices.Clone(s.Links), Resources: []string{}}
	d.Environment = u.listedBy(s)
	if ns := s.Labels[label.Namespace]; ns != "" {
		d.Namespace = strings.ToLower(ns)
	}
	if d.Links == nil {
		d.Links = []string{}
	}
	for _, p := range s.Ports {
		d.Ports = append(d.Ports, registry.ServicePort{Name: schemeName(p), Protocol: p.Protocol, Container: p.Number, Scheme: p.Scheme})
	}
	for _, ref := range s.Resources {
		name := ref.Name
		if ref.Env != "" {
			name += ":" + ref.Env
		}
		d.Resources = append(d.Resources, name)
	}
	return d
}
