package index

import (
	"maps"
	"slices"
	"strings"
)

// namespaces counts which apps claim which namespace besides their own name.
type namespaces struct {
	claims    map[string]map[string]int
	claimedBy map[string]map[string]bool
	clashing  map[string]Clash
	// list is clashing in order, nil if it has to be made again.
	list []Clash
}

func newNamespaces() namespaces {
	return namespaces{
		claims:    map[string]map[string]int{},
		claimedBy: map[string]map[string]bool{},
		clashing:  map[string]Clash{},
	}
}

// count adds n to the number of claims and reports whether the app began or
// ceased to claim the namespace.
func (s *namespaces) count(ns, app string, n int) bool {
	was := s.claims[ns][app]
	switch is := was + n; {
	case is <= 0:
		delete(s.claims[ns], app)
		delete(s.claimedBy[app], ns)
		if len(s.claims[ns]) == 0 {
			delete(s.claims, ns)
		}
		if len(s.claimedBy[app]) == 0 {
			delete(s.claimedBy, app)
		}
		return true
	case was == 0:
		if s.claims[ns] == nil {
			s.claims[ns] = map[string]int{}
		}
		if s.claimedBy[app] == nil {
			s.claimedBy[app] = map[string]bool{}
		}
		s.claims[ns][app] = is
		s.claimedBy[app][ns] = true
		return true
	default:
		s.claims[ns][app] = is
		return false
	}
}

// first returns the first app by name that claims the namespace, or "".
func (s *namespaces) first(ns string) string {
	first := ""
	for app := range s.claims[ns] {
		if first == "" || app < first {
			first = app
		}
	}
	return first
}

// losers returns the apps that claim the namespace in vain, by name.
func (s *namespaces) losers(ns, winner string) []string {
	var apps []string
	for app := range s.claims[ns] {
		if app != winner {
			apps = append(apps, app)
		}
	}
	slices.Sort(apps)
	return apps
}

// noteClash takes note of a namespace that may have become, or ceased to be,
// claimed by several apps, and logs the change.
func (b *builder) noteClash(ns string) {
	winner := b.winner(ns)
	losers := b.losers(ns, winner)
	was, known := b.clashing[ns]
	switch {
	case losers == nil && known:
		delete(b.clashing, ns)
		b.log.Info("a namespace has one app again", "namespace", ns, "app", winner)
	case losers == nil || known && was.Winner == winner && slices.Equal(was.Apps, losers):
		return
	default:
		b.clashing[ns] = Clash{Namespace: ns, Winner: winner, Apps: losers}
		b.log.Warn("several apps claim one namespace", "namespace", ns, "winner", winner, "others", losers)
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
