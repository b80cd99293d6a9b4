package index

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/rackdns/rackdns/internal/registry"
)

// keptChanges is how many changes a snapshot can tell of at least: those of a
// few seconds in a rack that is busy, of hours in most.
const keptChanges = 4096

// anyService is the first label of a change that may concern whatever is below
// an app's name: the name leads to another app now.
const anyService = "*"

// LabelNode is the last label of a change of a node itself, such as that of its
// addresses: node-1.@node.
const LabelNode = "@node"

// Below stands for all names that end in a label, where [Index.Await] is told what
// to wait for: services and resources of an app, resources of the rack ("resource"),
// nodes ([LabelNode]).
func Below(label string) string { return "." + label }

// above is the form of [Below] that a change is found by.
func (c *change) above() string { return c.name[max(strings.LastIndexByte(c.name, '.'), 0):] }

// change says that something may have changed at an index.
type change struct {
	index int64
	// name is relative to the zone: that of a service or a resource, "*." and a
	// name of an app, or that of a node and "."+LabelNode.
	name string
}

// history is what a snapshot knows of what changed when.
type history struct {
	// index grows from each snapshot to the next, and is the registry's revision
	// where that is enough for it.
	index int64
	// log holds the last changes in their order. It is only ever appended to, so
	// that snapshots share it.
	log []change
	// since is the index from which on the log is complete.
	since int64
}

// changes is what the builder knows of it.
type changes struct {
	history

	// touched are the names of the next snapshot; everything if all is true.
	touched map[string]struct{}
	all     bool
}

func newChanges() changes { return changes{touched: map[string]struct{}{}} }

// touch notes that what is told of a name may be another thing now.
func (c *changes) touch(name string) {
	if c.all {
		return
	}
	if len(c.touched) >= keptChanges {
		// A list of everything: nobody wants that one by one.
		c.all, c.touched = true, map[string]struct{}{}
		return
	}
	c.touched[name] = struct{}{}
}

// touchAll notes that everything may be another thing now.
func (c *changes) touchAll() { c.all = true }

// commit gives the changes since the last snapshot the index of the next one.
func (c *changes) commit(revision int64) {
	c.index = max(c.index+1, revision)
	if c.all {
		c.log, c.since, c.all = nil, c.index, false
		clear(c.touched)
		return
	}
	if len(c.log)+len(c.touched) > 2*keptChanges {
		gone := len(c.log) - keptChanges
		c.since = c.log[gone-1].index
		c.log = slices.Clone(c.log[gone:])
	}
	from := len(c.log)
	for name := range c.touched {
		c.log = append(c.log, change{c.index, name})
	}
	slices.SortFunc(c.log[from:], func(x, y change) int { return strings.Compare(x.name, y.name) })
	clear(c.touched)
}

// Index is the number of the picture. A later one of the same [Index] has a
// larger one, also over a registry of another history.
func (s *Snapshot) Index() int64 { return s.history.index }

// Changed returns which names changed after a picture with the index since: what
// is told of any other is as it was, to every client that is where it was. They
// are relative to the zone, in order: those of services (web.shop), of resources
// (db.resource.shop, cache.resource), *.shop where that name has come to lead to
// another app, and node-1.@node where a node itself did. It returns false if that is too long ago, or too much:
// then anything may have changed.
func (s *Snapshot) Changed(since int64) (names []string, ok bool) {
	if since < s.history.since {
		return nil, false
	}
	for _, c := range s.history.after(since) {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// Sources returns on which names, as [Snapshot.Changed] tells them, it depends
// what is told of a name, which is relative to the zone: web.shop for
// _http._tcp.web.shop, and where shop is the namespace of app orders, too,
// web.orders. They are others once any of them changed.
func (s *Snapshot) Sources(name string) []string {
	name = registry.FoldName(name)
	rest, app := cutLast(name)
	if app == labelResource {
		_, label := cutLast(rest)
		return []string{label + "." + labelResource}
	}
	above, label := cutLast(rest)
	if label == labelResource {
		_, resource := cutLast(above)
		label = resource + "." + labelResource
	}
	sources := []string{label + "." + app}
	if h := s.Holder(app); h != nil && h.Name != app {
		sources = append(sources, label+"."+h.Name)
	}
	return append(sources, anyService+"."+app)
}

// changed is whether any of the names may have, all names if there are none.
func (s *Snapshot) changed(since int64, names []string) bool {
	if len(names) == 0 {
		return s.history.index > since
	}
	if since < s.history.since {
		return true
	}
	return slices.ContainsFunc(s.history.after(since), func(c change) bool {
		return slices.Contains(names, c.name) || slices.Contains(names, c.above())
	})
}

func (h *history) after(since int64) []change {
	return h.log[sort.Search(len(h.log), func(n int) bool { return h.log[n].index > since }):]
}

// waiters are those who wait for a change, by name, and for any change by none. A change costs as much as there are
// waiters for what changed, however many others there are.
type waiters struct {
	mu     sync.Mutex
	byName map[string]map[*waiter]struct{}
}

type waiter struct {
	woken chan struct{}
	once  sync.Once
}

func (w *waiters) add(keys []string) *waiter {
	n := &waiter{woken: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byName == nil {
		w.byName = map[string]map[*waiter]struct{}{}
	}
	for _, k := range keys {
		if w.byName[k] == nil {
			w.byName[k] = map[*waiter]struct{}{}
		}
		w.byName[k][n] = struct{}{}
	}
	return n
}

func (w *waiters) remove(n *waiter, keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		if delete(w.byName[k], n); len(w.byName[k]) == 0 {
			delete(w.byName, k)
		}
	}
}

// wake wakes those who wait for any of the changes, everybody if ok is false.
func (w *waiters) wake(changes []change, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.byName) == 0 {
		return
	}
	wakeAll := func(those map[*waiter]struct{}) {
		for n := range those {
			n.once.Do(func() { close(n.woken) })
		}
	}
	if !ok {
		for _, those := range w.byName {
			wakeAll(those)
		}
		return
	}
	wakeAll(w.byName[""])
	for _, c := range changes {
		wakeAll(w.byName[c.name])
		wakeAll(w.byName[c.above()])
	}
}

// Await returns the picture as soon as any of the names, which are those of
// [Snapshot.Sources] or of [Below], may have changed after the index since (see [Snapshot.Changed]), which may be at once; without names,
// as soon as there is a picture after it. Before the first picture every index
// is in the future. When ctx ends it returns the picture that there is then, nil
// before the first, and the cause.
func (x *Index) Await(ctx context.Context, since int64, names ...string) (*Snapshot, error) {
	keys := names
	if len(keys) == 0 {
		keys = []string{""}
	}
	for {
		// In this order: what is published after the look wakes us.
		w := x.waiters.add(keys)
		s := x.Snapshot()
		if s != nil && s.changed(since, names) {
			x.waiters.remove(w, keys)
			return s, nil
		}
		select {
		case <-w.woken:
			x.waiters.remove(w, keys)
		case <-ctx.Done():
			x.waiters.remove(w, keys)
			return x.Snapshot(), context.Cause(ctx)
		}
	}
}

// ChangedAt returns the index at which any of the names, which are those of
// [Index.Await], changed last, as far as that is known: else one at which none of
// them was otherwise than now. It never goes back.
func (s *Snapshot) ChangedAt(names ...string) int64 {
	log := s.history.log
	if len(names) == 0 {
		return s.history.index
	}
	for n := len(log) - 1; n >= 0; n-- {
		if c := &log[n]; slices.Contains(names, c.name) || slices.Contains(names, c.above()) {
			return c.index
		}
	}
	return max(s.history.since, 1)
}
