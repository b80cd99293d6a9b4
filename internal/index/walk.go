package index

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// Feed returns the side of an index by which it is fed. It is for those who
// have entries and no registry; an index that was started feeds itself.
func (x *Index) Feed() registry.Handler { return (*handler)(x) }

// Names yields every name by which an app is found, its own and the namespaces
// that it holds, in order. A name that is one app's own and held by another
// comes with both: see [Snapshot.Displaced].
func (s *Snapshot) Names() iter.Seq2[string, *App] {
	return func(yield func(string, *App) bool) {
		all := slices.AppendSeq(make([]namedApp, 0, s.apps.size), s.apps.all())
		for name, holder := range s.displaced {
			if a, ok := s.apps.get(holder); ok {
				all = append(all, namedApp{name, a.value})
			}
		}
		slices.SortStableFunc(all, func(x, y namedApp) int { return strings.Compare(x.name, y.name) })
		for _, n := range all {
			if !yield(n.name, n.value) {
				return
			}
		}
	}
}

// Databases yields the app's resources by their names by type and group, in no
// order. A name that a service has is left out: the service has it.
func (a *App) Databases() iter.Seq2[string, *Resource] {
	return func(yield func(string, *Resource) bool) {
		for d := range a.databases.all() {
			if _, ok := a.services.get(d.name); !ok && !yield(d.name, d.value) {
				return
			}
		}
	}
}

// HiddenInstances yields the containers that nobody is told of, of all nodes and in
// no order.
func (s *Snapshot) HiddenInstances() iter.Seq[*Instance] {
	return func(yield func(*Instance) bool) {
		for p := range s.askers.all() {
			if !yield(p.value) {
				return
			}
		}
	}
}

// Addresses yields every address that Reverse knows of, in no order.
func (s *Snapshot) Addresses() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for p := range s.addresses.all() {
			if !yield(p.name) {
				return
			}
		}
	}
}
