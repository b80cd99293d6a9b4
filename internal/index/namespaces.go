package index

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// namespaces knows which apps claim which namespace besides their own name, and
// which app each name leads to. That is worked out when a snapshot is made, of
// what is registered then and of nothing else: neither the order in which an
// index heard of it nor a restart changes who holds a name.
type namespaces struct {
	claims    map[string]map[string]*claim
	claimedBy map[string]map[string]bool
	// disputed are the names of which it is to be worked out anew who holds
	// them.
	disputed map[string]struct{}
	// displaced are the apps whose own name another app holds, and which. It
	// is replaced when it changes, since snapshots share it, and nil if there
	// are none.
	displaced map[string]string
	clashing  map[string]Clash
	// list is clashing in order, nil if it has to be made again.
	list []Clash
}

// claim is what says that an app's namespace is that one.
type claim struct {
	// declared counts services that are declared, by an operator.
	declared int
	// since counts instances, by the time since when each claims it.
	since map[int64]int
}

// first returns since when the app claims the namespace.
func (c *claim) first() int64 {
	first := int64(math.MaxInt64)
	for since := range c.since {
		first = min(first, since)
	}
	return first
}

func newNamespaces() namespaces {
	return namespaces{
		claims:    map[string]map[string]*claim{},
		claimedBy: map[string]map[string]bool{},
		disputed:  map[string]struct{}{},
		clashing:  map[string]Clash{},
	}
}

// dispute has it worked out anew who holds a name.
func (s *namespaces) dispute(name string) { s.disputed[name] = struct{}{} }

// disputeOwn is dispute for an app's own name, which is nobody else's as a rule.
func (s *namespaces) disputeOwn(app string) {
	if len(s.claims[app]) > 0 {
		s.dispute(app)
	}
}

// claim takes note of a claim that came or went.
func (s *namespaces) claim(ns, app string, change func(*claim)) {
	// How long the app has its own name matters, too.
	s.disputeOwn(app)
	if ns == app {
		return
	}
	s.dispute(ns)
	c := s.claims[ns][app]
	if c == nil {
		c = &claim{since: map[int64]int{}}
		putIn(s.claims, ns, app, c)
		putIn(s.claimedBy, app, ns, true)
	}
	change(c)
	if c.declared == 0 && len(c.since) == 0 {
		deleteIn(s.claims, ns, app)
		deleteIn(s.claimedBy, app, ns)
	}
}

func putIn[V any](m map[string]map[string]V, a, b string, v V) {
	if m[a] == nil {
		m[a] = map[string]V{}
	}
	m[a][b] = v
}

func deleteIn[V any](m map[string]map[string]V, a, b string) {
	delete(m[a], b)
	if len(m[a]) == 0 {
		delete(m, a)
	}
}

// claimInstance takes note of an instance that came (n is 1) or went (-1).
func (s *namespaces) claimInstance(i *Instance, n int) {
	s.claim(i.Namespace(), i.App(), func(c *claim) {
		since := i.since()
		if c.since[since] += n; c.since[since] == 0 {
			delete(c.since, since)
		}
	})
}

// claimDeclared takes note of a declaration that came (n is 1) or went (-1).
func (s *namespaces) claimDeclared(ns, app string, n int) {
	s.claim(ns, app, func(c *claim) { c.declared += n })
}

// first returns the app that holds a namespace among those that only claim it,
// "" if there is none: one whose namespace an operator declared, before those
// whose containers say so; the one that has claimed it for longest; the first by
// name.
func (s *namespaces) first(ns string) string {
	type candidate struct {
		app      string
		declared bool
		since    int64
	}
	var first *candidate
	for app, c := range s.claims[ns] {
		is := &candidate{app, c.declared > 0, c.first()}
		if first == nil || is.declared && !first.declared ||
			is.declared == first.declared && cmp.Or(cmp.Compare(is.since, first.since), strings.Compare(is.app, first.app)) < 0 {
			first = is
		}
	}
	if first == nil {
		return ""
	}
	return first.app
}

// oldest returns since when any app but that of the name claims it.
func (s *namespaces) oldest(ns string) int64 {
	oldest := int64(math.MaxInt64)
	for _, c := range s.claims[ns] {
		oldest = min(oldest, c.first())
	}
	return oldest
}

// settleNames works out anew who holds the names that are disputed.
func (b *builder) settleNames() {
	for name := range b.disputed {
		b.settleName(name)
	}
	if len(b.disputed) > 0 {
		// Not cleared: a map stays as large as it ever was.
		b.disputed = map[string]struct{}{}
	}
}

// settleName makes a name lead to the app that holds it now.
func (b *builder) settleName(name string) {
	a, ok := b.apps.get(name)
	var own *App
	if ok && a.value.Name == name {
		own = a.value
	}
	holder := b.holder(name, own)
	if old := cmp.Or(b.displaced[name], a.value.named()); old != holder {
		b.touch(anyService + "." + name)
	}
	switch h, ok := b.apps.get(holder); {
	case own != nil:
		b.displace(name, holder)
	case ok && h.value.Name == holder:
		b.displace(name, "")
		b.apps.set(b.owner, namedApp{name, h.value})
	default:
		b.displace(name, "")
		b.apps.delete(b.owner, name)
	}
	b.noteClash(name, holder, own != nil)
}

// holder returns the app that holds a name, "" if none does. That is the app of
// that name, if there is one (own), unless one whose namespace it is was there
// before it: nobody loses a name that it has to a newcomer.
func (b *builder) holder(name string, own *App) string {
	if own != nil && (len(b.claims[name]) == 0 || b.ownSince(own) <= b.oldest(name)) {
		return name
	}
	return b.first(name)
}

// ownSince returns since when there is an app: for ever, if an operator declared
// any of it.
func (b *builder) ownSince(a *App) int64 {
	since := int64(math.MaxInt64)
	for r := range a.resources.all() {
		if s := b.known[resourceKey{a.Name, r.name}]; s != nil && s.declared != nil {
			return math.MinInt64
		}
	}
	for name := range a.services.all() {
		v, _ := b.services.get(name.value)
		if v.value == nil {
			continue
		}
		if v.value.declared != nil {
			return math.MinInt64
		}
		for _, i := range v.value.instances {
			since = min(since, i.since())
		}
	}
	return since
}

// displace notes which app holds the name of another one; itself or "" if none.
func (b *builder) displace(name, holder string) {
	if holder == name {
		holder = ""
	}
	if b.displaced[name] == holder {
		return
	}
	displaced := maps.Clone(b.displaced)
	switch {
	case holder == "":
		delete(displaced, name)
	case displaced == nil:
		displaced = map[string]string{name: holder}
	default:
		displaced[name] = holder
	}
	if len(displaced) == 0 {
		displaced = nil
	}
	b.displaced = displaced
}

// noteClash takes note of a name that may have become, or ceased to be, claimed
// by several apps, and logs the change. If named is true, there is an app of
// that name.
func (b *builder) noteClash(name, holder string, named bool) {
	var losers []string
	for app := range b.claims[name] {
		if app != holder {
			losers = append(losers, app)
		}
	}
	if named && holder != name {
		losers = append(losers, name)
	}
	slices.Sort(losers)
	old, known := b.clashing[name]
	switch {
	case losers == nil && known:
		delete(b.clashing, name)
		b.log.Info("a namespace is claimed by one app at most again", "namespace", name, "app", holder)
	case losers == nil || known && old.Winner == holder && slices.Equal(old.Apps, losers):
		return
	default:
		b.clashing[name] = Clash{Namespace: name, Winner: holder, Apps: losers}
		b.log.Warn("several apps claim one namespace: it stays with the one that holds it, give the others another",
			"namespace", name, "holder", holder, "others", losers)
	}
	b.list = nil
}

// clashList returns the clashes by namespace.
func (s *namespaces) clashList() []Clash {
	if s.list == nil && len(s.clashing) > 0 {
		s.list = slices.SortedFunc(maps.Values(s.clashing), func(x, y Clash) int { return strings.Compare(x.Namespace, y.Namespace) })
	}
	return s.list
}

// lookupHeld is [Snapshot.Lookup] for the name of an app that another one holds:
// what the holder has comes first. To its own containers the app is there as
// ever. It returns false if the holder has nothing to do with the name.
func (s *Snapshot) lookupHeld(name string, c *Client) (Match, bool) {
	rest, last := cutLast(name)
	holder, ok := s.displaced[last]
	if !ok || c.instance != nil && c.instance.App() == last {
		return Match{}, false
	}
	a, ok := s.apps.get(holder)
	if !ok {
		return Match{}, false
	}
	return s.lookupIn(a.value, rest, c), a.value.covers(rest)
}

// covers reports whether the app has something at the first label below its
// name, or below that of its resources.
func (a *App) covers(rest string) bool {
	rest, last := cutLast(rest)
	if last == labelResource {
		if rest == "" {
			return a.resources.size > 0
		}
		_, last = cutLast(rest)
		_, ok := a.resources.get(last)
		return ok
	}
	_, service := a.services.get(last)
	_, database := a.databases.get(last)
	_, alias := a.aliases.get(last)
	return service || database || alias
}

// Displaced reports whether another app holds the app's own name, and has there
// what is asked for: label is a service or a database, or a resource followed
// by ".resource". Only the app's own containers then find its own.
func (s *Snapshot) Displaced(a *App, label string) bool {
	holder, ok := s.displaced[a.Name]
	if !ok {
		return false
	}
	h, ok := s.apps.get(holder)
	return ok && h.value.covers(label)
}

// Holder returns the app that holds a name, nil if there is none: see [Clash].
// It is the app that others than its own containers find there.
func (s *Snapshot) Holder(name string) *App {
	name = registry.FoldName(name)
	if holder, ok := s.displaced[name]; ok {
		name = holder
	}
	return s.App(name)
}

// ServiceOf returns the service of an app, which is given by its own name
// whoever holds that, nil if there is none.
func (s *Snapshot) ServiceOf(app, service string) *Service {
	return s.service(registry.FoldName(service + "." + app))
}
