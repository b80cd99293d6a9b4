package index

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// IsAlias reports whether the name is none that a service has: instances of one
// service or of several are found by it as well.
func (v *Service) IsAlias() bool { return v.alias }

// Of returns the names of the services that an alias stands for instances of, in
// order; its own name for a service.
func (v *Service) Of() []string {
	var all []string
	for _, i := range v.instances {
		all = append(all, i.Service())
	}
	if len(all) == 0 {
		return []string{v.service}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// has reports whether a port of an instance is one of the service's: an alias can
// be for a single one. Without a service everything is.
func (v *Service) has(i *Instance, p *Port) bool {
	return v == nil || !v.alias || i.isAlias(v.service, p.Container)
}

// isAlias reports whether the instance has an alias that is for a port; for all of
// them if port is 0.
func (i *Instance) isAlias(name string, port uint16) bool {
	return slices.ContainsFunc(i.Aliases(), func(a registry.Alias) bool { return a.Name == name && (a.Port == 0 || a.Port == port) })
}

// endpointsAs is endpoints of an instance that is asked for by an alias, by its
// service's name if that is empty.
func (r *rules) endpointsAs(all []Endpoint, i *Instance, c *Client, alias string) []Endpoint {
	begin := len(all)
	all = r.endpoints(all, i, c)
	if alias == "" || i.isAlias(alias, 0) {
		return all
	}
	kept, v4, v6 := begin, false, false
	for _, e := range all[begin:] {
		some := false
		for n := range e.numbers {
			// They are the endpoint's own.
			if !i.isAlias(alias, i.ports[n].Container) {
				e.numbers[n] = 0
			}
			some = some || e.numbers[n] != 0
		}
		if !some {
			continue
		}
		e.tell4, e.tell6 = !v4 && e.V4() != nil, !v6 && e.V6() != nil
		v4, v6 = v4 || e.tell4, v6 || e.tell6
		all[kept] = e
		kept++
	}
	return all[:kept]
}

// Aliases yields the aliases of an app that lead anywhere, by name: what a service
// or a resource is called leads there.
func (s *Snapshot) Aliases(a *App) iter.Seq[*Service] {
	return func(yield func(*Service) bool) {
		all := make([]*Service, 0, a.aliases.size)
		for named := range a.aliases.all() {
			if a.owns(named.name) == "" {
				all = append(all, named.value)
			}
		}
		slices.SortFunc(all, func(x, y *Service) int { return strings.Compare(x.service, y.service) })
		for _, v := range all {
			if !yield(v) {
				return
			}
		}
	}
}

// owns says what of the app has a name for its own, nothing if that is empty.
func (a *App) owns(name string) string {
	if _, ok := a.services.get(name); ok {
		return "service"
	}
	if _, ok := a.databases.get(name); ok {
		return "resource"
	}
	return ""
}

// AliasClash is an alias that leads nowhere, since something else has the name.
type AliasClash struct {
	App, Name string
	// Owner is what has it: "service" or "resource".
	Owner string
	// Instances are the IDs of those that have the alias, in order.
	Instances []string
}

// AliasClashes returns the aliases that lead nowhere, by app and name.
func (s *Snapshot) AliasClashes() []AliasClash { return s.aliasClashes }

// aliasing knows which aliases something else has the name of.
type aliasing struct {
	// unsure are the names, by app, of which that is to be worked out anew.
	unsure map[[2]string]struct{}
	// lost are those that lead nowhere.
	lost map[[2]string]AliasClash
	// lostList is lost in order, nil if it has to be made again.
	lostList []AliasClash
}

func newAliasing() aliasing {
	return aliasing{unsure: map[[2]string]struct{}{}, lost: map[[2]string]AliasClash{}}
}

// doubt has it worked out anew whether an alias leads anywhere.
func (s *aliasing) doubt(app, name string) { s.unsure[[2]string{app, name}] = struct{}{} }

// eachAlias calls f for the aliases of an instance, ready to be changed, once each.
func (b *builder) eachAlias(i *Instance, f func(*Service)) {
	all := i.Aliases()
	for n, a := range all {
		first := slices.IndexFunc(all, func(o registry.Alias) bool { return o.Name == a.Name })
		if first == n && a.Name != i.Service() {
			f(b.alias(a.Name, i.App()))
		}
	}
}

// alias returns an alias in an app, ready to be changed. The app exists.
func (b *builder) alias(name, app string) *Service {
	b.touch(name + "." + app)
	b.doubt(app, name)
	a := b.app(app)
	p, ok := a.aliases.get(name)
	v := p.value
	switch {
	case !ok:
		v = newService(b.owner, name, app)
		v.alias, v.views.alias = true, v.service
	case v.owner == b.owner:
		return v
	default:
		v = v.copy(b.owner)
		v.views.alias = v.service
	}
	a.aliases.set(b.owner, pair[string, *Service]{v.service, v})
	return v
}

func (b *builder) addAliases(i *Instance) {
	b.eachAlias(i, func(v *Service) {
		at, _ := slices.BinarySearchFunc(v.instances, i, byID)
		v.instances = slices.Insert(v.instances, at, i)
	})
}

func (b *builder) removeAliases(i *Instance) {
	b.eachAlias(i, func(v *Service) {
		v.instances = slices.DeleteFunc(v.instances, func(o *Instance) bool { return o == i })
		if len(v.instances) == 0 {
			b.app(i.App()).aliases.delete(b.owner, v.service)
		}
	})
}

// settleAliases works out anew which aliases lead nowhere, and logs what changed.
func (b *builder) settleAliases() {
	for key := range b.unsure {
		b.settleAlias(key)
	}
	if len(b.unsure) > 0 {
		b.unsure = map[[2]string]struct{}{}
	}
}

func (b *builder) settleAlias(key [2]string) {
	is := AliasClash{App: key[0], Name: key[1]}
	if app, ok := b.apps.get(is.App); ok && app.value.Name == is.App {
		if p, ok := app.value.aliases.get(is.Name); ok {
			is.Owner = app.value.owns(is.Name)
			for _, i := range p.value.instances {
				is.Instances = append(is.Instances, i.ID())
			}
		}
	}
	old, known := b.lost[key]
	switch {
	case is.Owner == "" && !known:
		return
	case is.Owner == "":
		delete(b.lost, key)
		b.log.Info("an alias has its name for itself again, or is gone", "alias", is.Name, "app", is.App)
	default:
		b.lost[key] = is
		if !known || old.Owner != is.Owner {
			b.log.Warn("an alias leads nowhere: something has the name for its own; give one of them another",
				"alias", is.Name, "app", is.App, "owner", is.Owner+" "+is.Name, "instances", is.Instances)
		}
	}
	b.lostList = nil
}

// aliasClashList returns the clashes by app and name.
func (s *aliasing) aliasClashList() []AliasClash {
	if s.lostList == nil && len(s.lost) > 0 {
		s.lostList = slices.SortedFunc(maps.Values(s.lost), func(x, y AliasClash) int {
			return strings.Compare(x.App+"."+x.Name, y.App+"."+y.Name)
		})
	}
	return s.lostList
}
