package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// defaultApp is where containers are that belong to no app.
const defaultApp = "default"

// rank orders the sources of identity, highest first.
type rank int

const (
	fromRackdns rank = iota
	fromConvox
	fromRegistrator
	fromSwarm
	fromCompose
	fromNothing
)

// candidate is a name that one source gives to a field.
type candidate struct {
	value, source string
	rank          rank
}

// identify finds the instance's app, service and namespace. It returns false
// if one of them can't be a name; the container is then refused.
func (d *decision) identify(i *registry.Instance) bool {
	app := d.candidates(d.apps())
	service := d.candidates(d.services(i.Ports))
	namespace := d.candidates(d.namespaces())
	// A namespace belongs to the app that its source speaks of.
	var foreign []candidate
	for len(namespace) > 0 && namespace[0].rank > app[0].rank {
		foreign = append(foreign, namespace[0])
		namespace = namespace[1:]
	}
	for _, c := range foreign {
		d.note("%s=%s: belongs to an app that %s put another in place of; not counted", c.source, registry.Quote(c.value), app[0].source)
	}
	var ok bool
	if i.App, ok = d.name("app", app, registry.CheckApp); !ok {
		return false
	}
	if i.Service, ok = d.name("service", service, registry.CheckLabel); !ok {
		return false
	}
	d.given = app[0].value + "/" + service[0].value
	if len(namespace) == 0 {
		i.Namespace = i.App
		return true
	}
	i.Namespace, ok = d.name("namespace", namespace, registry.CheckApp)
	return ok
}

// identifyApp finds the app alone, of a container that can have no service.
func (d *decision) identifyApp(i *registry.Instance) (ok bool) {
	i.App, ok = d.name("app", d.candidates(d.apps()), registry.CheckApp)
	i.Namespace = i.App
	return ok
}

func (d *decision) apps() []candidate {
	return []candidate{
		d.label("rackdns.app", fromRackdns),
		d.label("convox.app", fromConvox),
		d.label("com.docker.stack.namespace", fromSwarm),
		d.label("com.docker.compose.project", fromCompose),
		{defaultApp, "no label", fromNothing},
	}
}

func (d *decision) services(ports []registry.Port) []candidate {
	swarm := d.label("com.docker.swarm.service.name", fromSwarm)
	if stack := d.facts.labels["com.docker.stack.namespace"]; stack != "" {
		swarm.value = strings.TrimPrefix(swarm.value, stack+"_")
	}
	return []candidate{
		d.label("rackdns.service", fromRackdns),
		d.label("convox.name", fromConvox),
		d.label("convox.service", fromConvox),
		d.registratorName(ports),
		swarm,
		d.label("com.docker.compose.service", fromCompose),
		{d.facts.name, "the container's name", fromNothing},
	}
}

func (d *decision) namespaces() []candidate {
	return []candidate{
		d.label("rackdns.namespace", fromRackdns),
		d.label("convox.namespace", fromConvox),
	}
}

func (d *decision) label(label string, r rank) candidate {
	return candidate{d.facts.labels[label], "label " + label, r}
}

// registrator returns one of registrator's settings, which may be a label or
// an environment variable, and where it was found. The label wins.
func (d *decision) registrator(key string) (value, source string) {
	if v := d.facts.labels[key]; v != "" {
		return v, "label " + key
	}
	return d.facts.env[key], "environment variable " + key
}

// registratorName returns the service's name as registrator would have it.
// There, each published port is a service of its own and SERVICE_<port>_NAME
// names it; here a container is one service, so the variable names the service
// only where both are the same.
func (d *decision) registratorName(ports []registry.Port) candidate {
	if v, source := d.registrator("SERVICE_NAME"); v != "" {
		return candidate{v, source, fromRegistrator}
	}
	if len(ports) == 0 {
		return candidate{}
	}
	number := ports[0].Container
	for _, p := range ports {
		if p.Container != number {
			return candidate{}
		}
	}
	v, source := d.registrator(fmt.Sprintf("SERVICE_%d_NAME", number))
	if d.facts.fromImage[source] {
		// An image may name its port, but not the service.
		return candidate{}
	}
	return candidate{v, source, fromRegistrator}
}

// registratorEnv keeps registrator's variables of an environment.
func registratorEnv(environ []string) map[string]string {
	var env map[string]string
	for _, e := range environ {
		key, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(key, "SERVICE_") {
			continue
		}
		if env == nil {
			env = map[string]string{}
		}
		env[key] = value
	}
	return env
}

// candidates drops the sources that say nothing, but for the last resort.
func (d *decision) candidates(all []candidate) []candidate {
	return slices.DeleteFunc(all, func(c candidate) bool { return c.value == "" && c.rank != fromNothing })
}

// name takes the highest candidate and makes a DNS label of it, or refuses the
// container. A lower candidate is never taken because a higher one is bad:
// that would put the container under a name that nobody asked for.
func (d *decision) name(field string, cs []candidate, check func(what, s string) error) (string, bool) {
	c := cs[0]
	name := c.label()
	overruled := make([]string, 0, len(cs)-1)
	for _, o := range cs[1:] {
		overruled = append(overruled, o.source+"="+printable(o.value))
	}
	if err := check(field, name); err != nil {
		d.refuse(ReasonName, "%s=%s can't be a name: %s", c.source, registry.Quote(c.value), err)
		return "", false
	}
	d.choose(field, name, c.source, overruled...)
	return name, true
}

// label makes a DNS label of the name. A dot in a name that was given for another
// purpose than this one is part of it, as in a container's called web.v1; in a
// label of ours it would be two.
func (c candidate) label() string {
	if c.rank >= fromSwarm {
		return toLabel(strings.ReplaceAll(c.value, ".", "-"))
	}
	return toLabel(c.value)
}

// toLabel makes of a name what a DNS label may contain, as far as that is
// plainly what was meant. Letters beyond ASCII stay, and are refused: some of
// them have a small form within it.
func toLabel(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_':
			return '-'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// printable returns s as it is if it is short and harmless, else quoted and
// cut.
func printable(s string) string {
	if s != "" && len(s) <= registry.MaxLabel && s == clean(s, len(s)) {
		return s
	}
	return registry.Quote(s)
}

// withPrefix returns what follows prefix in the keys of labels, sorted.
func withPrefix(labels map[string]string, prefix string) []string {
	var rest []string
	for label := range labels {
		if r, ok := strings.CutPrefix(label, prefix); ok {
			rest = append(rest, r)
		}
	}
	slices.Sort(rest)
	return rest
}
