package index

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rackdns/rackdns/internal/registry"
)

// model is the registry as a plain map, and the naive way to answer from it:
// every question looks at every instance.
type model struct {
	options   Options
	instances map[string]*registry.Instance
	// drained are the nodes that are, seen the services that were seen; both by
	// their keys.
	drained map[string]*registry.Drained
	seen    map[string]*registry.Seen
	// changed is when each key last was, also those whose value is nonsense.
	changed  map[string]int64
	revision int64
}

// digest is that of all keys, by a look at all of them.
func (m *model) digest() (d registry.Digest) {
	for key, revision := range m.changed {
		d.Set(key, 0, revision)
	}
	return d
}

// resolve is the naive answer: "id address/address ports" for each endpoint.
func (m *model) resolve(app, service string, asker netip.Addr) []string {
	who, onNode := m.who(asker)
	named := m.appFor(app, service, who)
	var out, idle []string
	for _, i := range m.instances {
		if i.App != named || i.Service != service || !i.Serving() || m.isDrained(i.Node) {
			continue
		}
		switch e := m.endpoint(i, who, onNode); {
		case e == "":
		case i.Weight == 0:
			idle = append(idle, i.ID+" "+e)
		default:
			out = append(out, i.ID+" "+e)
		}
	}
	if len(out) == 0 {
		out = idle
	}
	slices.Sort(out)
	return out
}

// behind are the instances behind a name, told or not, for strangers.
func (m *model) behind(app, service string) []string {
	named := m.appFor(app, service, nil)
	var all []string
	for _, i := range m.instances {
		if i.App == named && i.Service == service {
			all = append(all, i.ID)
		}
	}
	return all
}

func (m *model) isDrained(node string) bool {
	for _, d := range m.drained {
		if d.Node == node {
			return true
		}
	}
	return false
}

// wasSeen says that a service was seen, or any of an app's, by the name of that
// or by a namespace that any of it was seen with.
func (m *model) wasSeen(name, service string) bool {
	apps := map[string]bool{}
	for _, s := range m.seen {
		if _, as := s.Since[name]; as || s.App == name {
			apps[s.App] = true
		}
	}
	for _, s := range m.seen {
		if apps[s.App] && (service == "" || s.Service == service) {
			return true
		}
	}
	return false
}

// holder is the app that a name leads to: the one of that name or whose
// namespace it is, whichever has it for longest.
func (m *model) holder(name string) string {
	since := map[string]int64{}
	for _, i := range m.instances {
		if i.App != name && i.Namespace != name {
			continue
		}
		first := i.Started.UnixNano()
		if !i.NamespaceSince.IsZero() {
			first = min(first, i.NamespaceSince.UnixNano())
		}
		if known, ok := since[i.App]; !ok || first < known {
			since[i.App] = first
		}
	}
	holder := ""
	for _, app := range slices.Sorted(maps.Keys(since)) {
		if holder == "" || since[app] < since[holder] || since[app] == since[holder] && app == name {
			holder = app
		}
	}
	return holder
}

// appFor is the app whose service a name is, for somebody: if another app holds
// an app's own name, its services come first, but not for the app itself.
func (m *model) appFor(name, service string, who *registry.Instance) string {
	holder := m.holder(name)
	has := func(app, service string) bool {
		for _, i := range m.instances {
			if i.App == app && (service == "" || i.Service == service) {
				return true
			}
		}
		return false
	}
	if has(name, "") && (who != nil && who.App == name || !has(holder, service)) {
		return name
	}
	return holder
}

func (m *model) who(a netip.Addr) (last *registry.Instance, onNode bool) {
	if a.IsLoopback() {
		return nil, true
	}
	for _, i := range m.instances {
		for _, n := range i.Networks {
			if i.Node == m.options.Node && n.IPv4 == a && (last == nil || i.Started.After(last.Started) || i.Started.Equal(last.Started) && i.ID < last.ID) {
				last = i
			}
		}
	}
	return last, false
}

// endpoint is where each port of an instance is reached, the address alone where
// it has none, empty if nothing is.
func (m *model) endpoint(i, who *registry.Instance, onNode bool) string {
	ports := i.Ports
	if len(ports) == 0 {
		ports = []registry.Port{{}}
		if len(i.Networks) == 0 {
			ports[0].Bindings = []registry.Binding{{IP: i.Host}}
		}
	}
	var all []string
	for _, p := range ports {
		if at := m.reached(i, &p, who, onNode); at != "" {
			all = append(all, at)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (m *model) reached(i *registry.Instance, p *registry.Port, who *registry.Instance, onNode bool) string {
	kind := i.Address
	if kind == "" {
		kind = m.options.Address
	}
	at := func(ip netip.Addr, number uint16) string { return fmt.Sprintf("%s:%d", ip, number) }
	if who != nil && kind != registry.AddressHost {
		for _, theirs := range who.Networks {
			for _, n := range i.Networks {
				if n.ID == theirs.ID && (n.Scope != registry.ScopeLocal || i.Node == m.options.Node) {
					return at(n.IPv4, p.Container)
				}
			}
		}
	}
	if kind != registry.AddressContainer && len(p.Bindings) > 0 {
		return at(p.Bindings[0].IP, p.Bindings[0].Port)
	}
	if kind == registry.AddressHost {
		return ""
	}
	for _, n := range i.Networks {
		if kind == registry.AddressContainer || slices.Contains(m.options.Routable, n.Name) ||
			onNode && n.Scope == registry.ScopeLocal && i.Node == m.options.Node {
			return at(n.IPv4, p.Container)
		}
	}
	return ""
}

// resolved is the index's answer in the same form.
func resolved(s *Snapshot, app, service string, asker netip.Addr) []string {
	byInstance := map[*Instance][]string{}
	for _, e := range s.Lookup(service+"."+app, s.Asker(asker)).Endpoints {
		ip := netip.AddrFrom4([4]byte(e.V4()))
		if len(e.Ports()) == 0 {
			byInstance[e.Instance] = append(byInstance[e.Instance], fmt.Sprintf("%s:0", ip))
		}
		for n := range e.Ports() {
			if number := e.Number(&e.Ports()[n]); number != 0 {
				byInstance[e.Instance] = append(byInstance[e.Instance], fmt.Sprintf("%s:%d", ip, number))
			}
		}
	}
	var out []string
	for i, all := range byInstance {
		slices.Sort(all)
		out = append(out, i.ID()+" "+strings.Join(all, " "))
	}
	// The order of two instances with one ID is nobody's business.
	slices.Sort(out)
	return out
}

// machine makes random changes to both.
type machine struct {
	model
	layout registry.Layout
	h      *handler
	x      *Index
	kept   []kept
	serial int64
	// last is the snapshot of the check before.
	last *Snapshot
}

// kept is a snapshot with all that it answered when it was the current one.
type kept struct {
	s    *Snapshot
	said []string
}

var (
	modelApps     = []string{"a", "b", "c"}
	modelNames    = []string{"a", "b", "c", "x", "y"}
	modelNodes    = []string{"n1", "n2"}
	modelServices = []string{"web", "api", "db"}
)

// modelID is in most cases what a container has.
func modelID(n int) string {
	if n%4 == 0 {
		return fmt.Sprintf("odd-%d", n)
	}
	return fmt.Sprintf("%012x", n)
}

// answers are those of all services, to askers of each kind, and the instances
// that there are.
func answers(s *Snapshot) []string {
	var all []string
	for a := range s.Apps() {
		for v := range s.Services(a) {
			for _, i := range v.Instances() {
				all = append(all, fmt.Sprintf("%s of %s.%s on %s: %t", i.ID(), v.Name(), v.App(), i.Node(), i.Serving()))
			}
		}
	}
	for _, asker := range []string{"127.0.0.1", "203.0.113.9", "172.18.0.1", "172.18.0.2", "172.23.0.1", "172.30.1.1"} {
		for _, app := range modelNames {
			for _, service := range modelServices {
				all = append(all, strings.Join(resolved(s, app, service, netip.MustParseAddr(asker)), ", "))
			}
		}
	}
	return all
}

func drawInstance(t *rapid.T) *registry.Instance {
	node := rapid.IntRange(1, 2).Draw(t, "node")
	n := rapid.IntRange(1, 12).Draw(t, "id")
	i := &registry.Instance{
		ID:        modelID(n),
		Node:      modelNodes[node-1],
		App:       rapid.SampledFrom(modelApps).Draw(t, "app"),
		Service:   rapid.SampledFrom(modelServices).Draw(t, "service"),
		Namespace: rapid.SampledFrom(modelNames).Draw(t, "namespace"),
		Status:    rapid.SampledFrom([]string{"running", "running", "running", "paused"}).Draw(t, "status"),
		Health:    rapid.SampledFrom([]string{"", "", "healthy", "starting", "unhealthy"}).Draw(t, "health"),
		Draining:  rapid.IntRange(0, 9).Draw(t, "draining") == 0,
		Weight:    rapid.SampledFrom([]int{0, 0, 1, 1, 7, 100}).Draw(t, "weight"),
		Address:   rapid.SampledFrom([]string{"", "", "", "host", "container"}).Draw(t, "address"),
		// Some start at once, as those of one `up` may.
		Started: time.Unix(int64(n/2*20+node), 0),
		// Absent in half of them; of several apps, the same in some.
		NamespaceSince: rapid.SampledFrom([]time.Time{{}, {}, {}, time.Unix(5, 0), time.Unix(35, 0), time.Unix(200, 0)}).Draw(t, "since"),
		Host:           netip.AddrFrom4([4]byte{10, 0, 0, byte(node)}),
	}
	for p := range rapid.IntRange(0, 2).Draw(t, "ports") {
		port := registry.Port{Protocol: "tcp", Container: uint16(3000 + p)}
		if rapid.Bool().Draw(t, "published") {
			port.Bindings = []registry.Binding{{IP: i.Host, Port: uint16(40000 + n*10 + p)}}
		}
		i.Ports = append(i.Ports, port)
	}
	// Two networks end at their node and have the same addresses on both;
	// the third one spans them. Some have one address, as those that share a
	// network's namespace do.
	for _, w := range []string{"red", "blue", "over"} {
		if !rapid.Bool().Draw(t, w) {
			continue
		}
		net := registry.Network{ID: w + i.Node, Name: w, Scope: "local", IPv4: netip.AddrFrom4([4]byte{172, 16 + w[0]%8, 0, byte(n % 7)})}
		if w == "over" {
			net.ID, net.Scope, net.IPv4 = w, "swarm", netip.AddrFrom4([4]byte{172, 30, byte(node), byte(n)})
		}
		i.Networks = append(i.Networks, net)
	}
	return i
}

func newMachine(t *rapid.T) *machine {
	m := &machine{model: model{
		instances: map[string]*registry.Instance{}, drained: map[string]*registry.Drained{}, seen: map[string]*registry.Seen{},
		changed: map[string]int64{},
	}}
	m.options = Options{
		Node:     "n1",
		Address:  rapid.SampledFrom([]string{"", "", "host", "container"}).Draw(t, "address"),
		Routable: rapid.SampledFrom([][]string{nil, {"red"}}).Draw(t, "routable"),
	}
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: m.options, Preserve: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m.x, m.h, m.layout = x, (*handler)(x), x.client.Layout()
	m.resync(t)
	return m
}

func (m *machine) entry(t *rapid.T, key string, revision int64) registry.Entry {
	e := registry.Entry{Key: key, ModRevision: revision}
	var value any
	switch {
	case m.instances[key] != nil:
		value = m.instances[key]
	case m.drained[key] != nil:
		value = m.drained[key]
	case m.seen[key] != nil:
		value = m.seen[key]
	case m.changed[key] == revision:
		e.Value = []byte("nonsense")
		return e
	default:
		return e
	}
	var err error
	if e.Value, err = registry.Encode(value); err != nil {
		t.Fatal(err)
	}
	return e
}

// keys are in order, or rapid could not repeat a failure.
func (m *machine) keys() []string { return slices.Sorted(maps.Keys(m.changed)) }

func (m *machine) forget(key string) {
	delete(m.instances, key)
	delete(m.drained, key)
	delete(m.seen, key)
	delete(m.changed, key)
}

// drain is an operator's word on a node.
func (m *machine) drain(t *rapid.T) {
	node := rapid.SampledFrom(modelNodes).Draw(t, "node")
	m.revision++
	key := m.layout.Drained(node)
	m.drained[key], m.changed[key] = &registry.Drained{Node: node}, m.revision
	m.h.Update([]registry.Entry{m.entry(t, key, m.revision)})
}

// see is an agent's note of a service.
func (m *machine) see(t *rapid.T) {
	s := &registry.Seen{
		App: rapid.SampledFrom(modelApps).Draw(t, "app"), Service: rapid.SampledFrom(modelServices).Draw(t, "service"),
		Since: map[string]time.Time{},
	}
	for _, ns := range rapid.SliceOfN(rapid.SampledFrom(modelNames), 0, 2).Draw(t, "namespaces") {
		s.Since[ns] = time.Time{}
	}
	m.revision++
	key := m.layout.Seen(s.App, s.Service)
	m.seen[key], m.changed[key] = s, m.revision
	m.h.Update([]registry.Entry{m.entry(t, key, m.revision)})
}

func (m *machine) put(t *rapid.T) {
	i := drawInstance(t)
	m.revision++
	key := m.layout.Instance(i.Node, i.ID)
	m.instances[key], m.changed[key] = i, m.revision
	m.h.Update([]registry.Entry{m.entry(t, key, m.revision)})
}

// spoil puts nonsense in the place of an instance, where one is or could be, or
// to a key that is of no kind.
func (m *machine) spoil(t *rapid.T) {
	i := drawInstance(t)
	key := rapid.SampledFrom([]string{m.layout.Instance(i.Node, i.ID), m.layout.Service(i.App, "web"), m.layout.Base() + "odd"}).Draw(t, "key")
	m.revision++
	delete(m.instances, key)
	m.changed[key] = m.revision
	m.h.Update([]registry.Entry{m.entry(t, key, m.revision)})
}

func (m *machine) drop(t *rapid.T) {
	if len(m.changed) == 0 {
		t.Skip("nothing to remove")
	}
	key := rapid.SampledFrom(m.keys()).Draw(t, "key")
	m.revision++
	m.forget(key)
	m.h.Update([]registry.Entry{m.entry(t, key, m.revision)})
}

// loseNode is what an ended lease does: all of a node goes in one revision.
func (m *machine) loseNode(t *rapid.T) {
	node := rapid.SampledFrom(modelNodes).Draw(t, "node")
	m.revision++
	var es []registry.Entry
	for _, key := range m.keys() {
		if strings.HasPrefix(key, m.layout.Instances(node)) {
			m.forget(key)
			es = append(es, m.entry(t, key, m.revision))
		}
	}
	m.h.Update(es)
}

// hiddenChanges happen while the watch is broken; the list that follows is all
// that the index ever hears of them.
func (m *machine) hiddenChanges(t *rapid.T) {
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		i := drawInstance(t)
		m.revision++
		key := m.layout.Instance(i.Node, i.ID)
		m.instances[key], m.changed[key] = i, m.revision
	}
	for _, key := range m.keys() {
		if rapid.IntRange(0, 5).Draw(t, "drop") == 0 {
			m.forget(key)
			m.revision++
		}
	}
	m.resync(t)
}

func (m *machine) resync(t *rapid.T) {
	// Entries get the list's revision: what the index already knows at an
	// older one it must take again. So it must with what it knows at just that one,
	// if that was of another history.
	m.revision++
	reset := rapid.Bool().Draw(t, "reset")
	if reset {
		m.revision = rapid.Int64Range(1, m.revision).Draw(t, "revision")
	}
	m.h.BeginList(m.revision, reset)
	for _, key := range m.keys() {
		m.changed[key] = m.revision
		m.h.List([]registry.Entry{m.entry(t, key, m.revision)})
	}
	m.h.EndList()
}

func (m *machine) check(t *rapid.T) {
	s := m.x.Snapshot()
	askers := []string{"127.0.0.1", "203.0.113.9"}
	for _, i := range m.instances {
		for _, n := range i.Networks {
			askers = append(askers, n.IPv4.String())
		}
	}
	asker := netip.MustParseAddr(rapid.SampledFrom(slices.Sorted(slices.Values(askers))).Draw(t, "asker"))
	for _, app := range modelNames {
		for _, service := range modelServices {
			want, got := m.resolve(app, service, asker), resolved(s, app, service, asker)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s.%s asked by %s (-want +got):\n%s", service, app, asker, diff)
			}
		}
		for _, service := range modelServices {
			if known := len(m.behind(app, service)) > 0; !known {
				want := None
				if m.wasSeen(app, service) {
					want = AService
				}
				if got := s.Lookup(service+"."+app, Stranger()).Kind; got != want {
					t.Fatalf("%s.%s, which has no instance, is of kind %d, want %d", service, app, got, want)
				}
			}
		}
		exists := m.holder(app) != "" || m.wasSeen(app, "")
		if got := s.Lookup(app, Stranger()).Kind == Empty; got != exists {
			t.Fatalf("app %s exists: %v, want %v", app, got, exists)
		}
	}
	if m.last != nil {
		m.checkChanges(t, s)
	}
	m.last = s
	for _, name := range m.names() {
		if err := agrees(s, name, s.Asker(asker)); err != nil {
			t.Fatalf("asked by %s: %v", asker, err)
		}
	}
	if s.Serial() < m.serial {
		t.Fatalf("the serial goes back from %d to %d", m.serial, s.Serial())
	}
	m.serial = s.Serial()
	if got, want := m.h.Digest(), m.digest(); got != want {
		t.Fatalf("the digest is not that of what is registered: %+v", got.Compare(&want))
	}
	if rapid.Bool().Draw(t, "keep") {
		m.kept = append(m.kept, kept{s, answers(s)})
	}
}

// checkChanges checks that whatever is told otherwise than before is told to
// have changed.
func (m *machine) checkChanges(t *rapid.T, s *Snapshot) {
	if s != m.last && s.Index() <= m.last.Index() {
		t.Fatalf("index %d after %d", s.Index(), m.last.Index())
	}
	changed, ok := s.Changed(m.last.Index())
	if !ok {
		return
	}
	for _, asker := range []string{"127.0.0.1", "203.0.113.9"} {
		for _, app := range modelNames {
			for _, service := range modelServices {
				was := resolved(m.last, app, service, netip.MustParseAddr(asker))
				is := resolved(s, app, service, netip.MustParseAddr(asker))
				sources := m.last.Sources(service + "." + app)
				told := slices.ContainsFunc(changed, func(c string) bool { return slices.Contains(sources, c) })
				if !slices.Equal(was, is) && !told {
					t.Fatalf("%s.%s was %q and is %q to %s: it depends on %q, changed are %q", service, app, was, is, asker, sources, changed)
				}
			}
		}
	}
}

// restart checks that an index that starts now, from nothing but a list, answers
// as the one that has followed all changes: so do all replicas.
func (m *machine) restart(t *rapid.T) {
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: m.options, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	feed := x.Feed()
	feed.BeginList(m.revision, true)
	for _, key := range m.keys() {
		feed.List([]registry.Entry{m.entry(t, key, m.revision)})
	}
	feed.EndList()
	if diff := cmp.Diff(answers(m.x.Snapshot()), answers(x.Snapshot())); diff != "" {
		t.Fatalf("an index that starts anew answers otherwise (-old +new):\n%s", diff)
	}
	if diff := cmp.Diff(m.x.Snapshot().Clashes(), x.Snapshot().Clashes()); diff != "" {
		t.Fatalf("an index that starts anew knows of other clashes (-old +new):\n%s", diff)
	}
}

// TestIndexAnswersAsTheModel is the index's specification: whatever happened
// before, every answer is what a look at everything would give.
func TestIndexAnswersAsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"put":      m.put,
			"spoil":    m.spoil,
			"drop":     m.drop,
			"drain":    m.drain,
			"see":      m.see,
			"loseNode": m.loseNode,
			"resync":   m.hiddenChanges,
			"":         m.check,
		})
		for _, k := range m.kept {
			if diff := cmp.Diff(k.said, answers(k.s)); diff != "" {
				t.Fatalf("a snapshot changed (-then +now):\n%s", diff)
			}
		}
		m.restart(t)
		for _, key := range m.keys() {
			m.forget(key)
		}
		m.resync(t)
		if b := m.x.builder; b.apps.size != 0 || b.addresses.size != 0 || b.size != 0 || len(b.invalid) != 0 || len(b.claims) != 0 || len(b.clashing) != 0 || b.displaced != nil ||
			b.seen.size != 0 || b.seenNames.size != 0 || b.hosts.size != 0 || len(b.drained) != 0 {
			t.Fatalf("an empty registry leaves %d apps, %d addresses, %d instances, %d claims, %d clashes, %d services that were seen, %d drained nodes",
				b.apps.size, b.addresses.size, b.size, len(b.claims), len(b.clashing), b.seen.size, len(b.drained))
		}
	})
}
