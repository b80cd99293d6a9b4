package index

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// idLength is the length of a container's ID as it is used in names.
const idLength = 12

// longestName is the longest name as text, with its last dot (RFC 1035, section
// 2.3.4).
const longestName = 254

// Resource is a supplementary component of an app or of the rack. It is
// declared, or an instance says that it is it, or both.
type Resource struct {
	// Resource is the declaration. Without one it holds what the instances
	// say.
	*registry.Resource
	// Addr is the declared host, if that is an address.
	Addr netip.Addr
	// Backed says that instances are where the resource is, and not a host
	// that was declared.
	Backed bool
	// instances are those it is backed by, serving or not, by ID.
	instances []*Instance
	views     views
}

func (r *Resource) view(rules *rules, c *Client) *view {
	return r.views.viewFor(rules, r.instances, c)
}

// Instances returns those that the resource is backed by, serving or not, by
// ID. The caller must not change them.
func (r *Resource) Instances() []*Instance { return r.instances }

// OutsideHost returns the fully qualified name of the resource's host, to which
// a CNAME leads, empty if that is none.
func (r *Resource) OutsideHost() string {
	if r.Backed || r.Addr.IsValid() || r.Host == "" {
		return ""
	}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	host := dns.Fqdn(strings.ToLower(r.Host))
	if _, ok := dns.IsDomainName(host); !ok || len(host) > longestName || strings.Trim(host, letters) != "" || host == "." {
		return ""
	}
	return host
}

// resourceKey names a resource; an empty app is the rack.
type resourceKey struct{ app, name string }

// dnsName is the resource's name, relative to the zone.
func (k resourceKey) dnsName() string {
	if k.app == "" {
		return k.name + "." + labelResource
	}
	return k.name + "." + labelResource + "." + k.app
}

// supplies is all that is known of resources. A resource is made of it when a
// snapshot is, so that the order in which things were said doesn't matter.
type supplies struct {
	known map[resourceKey]*supplied
	// hosted are the resources whose host is an instance, by its ID.
	hosted map[string]map[resourceKey]struct{}
	// unsettled are the resources to be made again.
	unsettled map[resourceKey]struct{}
}

// supplied is what is known of one resource.
type supplied struct {
	declared *registry.Resource
	// hosts are the instances with the ID that is declared as the host, says
	// the instances that say that they are the resource; both by ID.
	hosts, says []*Instance
}

func newSupplies() supplies {
	return supplies{
		known:     map[resourceKey]*supplied{},
		hosted:    map[string]map[resourceKey]struct{}{},
		unsettled: map[resourceKey]struct{}{},
	}
}

// of returns what is known of a resource, which will be made again.
func (s *supplies) of(k resourceKey) *supplied {
	s.unsettled[k] = struct{}{}
	if s.known[k] == nil {
		s.known[k] = &supplied{}
	}
	return s.known[k]
}

// supply takes note of an instance that came or went.
func (b *builder) supply(i *Instance, in bool) {
	if r := i.resource(); r != nil {
		s := b.of(resourceKey{i.App(), r.Name})
		s.says = withOrWithout(s.says, i, in)
	}
	for k := range b.hosted[i.ID()] {
		s := b.of(k)
		s.hosts = withOrWithout(s.hosts, i, in)
	}
}

func withOrWithout(all []*Instance, i *Instance, in bool) []*Instance {
	if in {
		at, _ := slices.BinarySearchFunc(all, i, byID)
		return slices.Insert(all, at, i)
	}
	return slices.DeleteFunc(all, func(o *Instance) bool { return o == i })
}

// settleSupply has the resources made again that an instance is of.
func (b *builder) settleSupply(i *Instance) {
	if i.resource() != nil {
		b.of(resourceKey{i.App(), i.resource().Name})
	}
	for k := range b.hosted[i.ID()] {
		b.of(k)
	}
}

// declareResource takes note of a declaration that came or went.
func (b *builder) declareResource(r *registry.Resource, in bool) {
	k := resourceKey{r.App, r.Name}
	s := b.of(k)
	s.declared, s.hosts = nil, nil
	if in {
		s.declared = r
	}
	if !IsInstanceID(r.Host) {
		return
	}
	if !in {
		delete(b.hosted[r.Host], k)
		if len(b.hosted[r.Host]) == 0 {
			delete(b.hosted, r.Host)
		}
		return
	}
	if b.hosted[r.Host] == nil {
		b.hosted[r.Host] = map[resourceKey]struct{}{}
	}
	b.hosted[r.Host][k] = struct{}{}
	// Declarations are rare, so nothing is kept to make this faster.
	for _, i := range b.instances.each() {
		if i.ID() == r.Host {
			s.hosts = withOrWithout(s.hosts, i, true)
		}
	}
}

// IsInstanceID reports whether a host is a container's ID and not a name.
func IsInstanceID(host string) bool {
	return len(host) == idLength && strings.Trim(host, "0123456789abcdef") == ""
}

// settleResources makes the resources anew of which something else is known.
func (b *builder) settleResources() {
	for k := range b.unsettled {
		s := b.known[k]
		is := b.resource(k, s)
		b.touch(k.dnsName())
		if is == nil {
			delete(b.known, k)
		}
		if k.app == "" {
			setOrDelete(b, &b.rack, k.name, is)
			continue
		}
		a := b.app(k.app)
		setOrDelete(b, &a.resources, k.name, is)
		b.nameDatabases(a)
		b.pruneApp(a)
	}
	b.unsettled = map[resourceKey]struct{}{}
}

// resource returns the resource that s is about, nil if there is none.
func (b *builder) resource(k resourceKey, s *supplied) *Resource {
	r := &Resource{Resource: s.declared}
	switch {
	case s.declared == nil && len(s.says) == 0:
		return nil
	case s.declared == nil:
		r.Resource = &registry.Resource{App: k.app, Name: k.name, Type: s.says[0].resource().Type}
	default:
		if ip, err := netip.ParseAddr(s.declared.Host); err == nil {
			r.Addr = ip.Unmap()
		}
	}
	switch {
	case IsInstanceID(r.Host):
		b.back(r, s.hosts)
	case r.Host == "" && len(s.says) > 0:
		b.back(r, s.says)
	}
	return r
}

// back makes instances those that the resource is backed by.
func (b *builder) back(r *Resource, instances []*Instance) {
	// What is known of the resource goes on to change.
	r.Backed, r.instances = true, slices.Clone(instances)
}

func setOrDelete(b *builder, t *pairs[string, *Resource], name string, r *Resource) {
	if r != nil {
		t.set(b.owner, database{name, r})
	} else {
		t.delete(b.owner, name)
	}
}

// nameDatabases gives the app's resources the names by type and group: each
// has <type>-<name>, and the default one of a type <type> as well.
func (b *builder) nameDatabases(a *App) {
	touched := func() {
		for d := range a.databases.all() {
			b.touch(d.name + "." + a.Name)
			b.doubt(a.Name, d.name)
		}
	}
	touched()
	defer touched()
	a.databases = pairs[string, *Resource]{}
	standard := map[string]*Resource{}
	for _, r := range byName(&a.resources) {
		if label := r.Type + "-" + r.Name; registry.IsLabel(label) {
			a.databases.set(b.owner, database{label, r})
		}
		if d := standard[r.Type]; d == nil || before(r, d) {
			standard[r.Type] = r
		}
	}
	for kind, r := range standard {
		a.databases.set(b.owner, database{kind, r})
	}
}

// before orders the candidates for the default of a type: the one that says it
// is, the one of that name, the first by name.
func before(x, y *Resource) bool {
	if x.Default != y.Default {
		return x.Default
	}
	if (x.Name == "default") != (y.Name == "default") {
		return x.Name == "default"
	}
	return x.Name < y.Name
}

func sameResource(a, b *registry.InstanceResource) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func byName(t *pairs[string, *Resource]) []*Resource {
	all := make([]*Resource, 0, t.size)
	for r := range t.all() {
		all = append(all, r.value)
	}
	slices.SortFunc(all, func(x, y *Resource) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// Resources yields the resources of the rack, by name.
func (s *Snapshot) Resources() iter.Seq[*Resource] { return slices.Values(byName(&s.rack)) }

// Resources yields the resources of the app, by name.
func (a *App) Resources() iter.Seq[*Resource] { return slices.Values(byName(&a.resources)) }
